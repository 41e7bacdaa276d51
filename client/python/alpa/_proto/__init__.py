"""The messages and services of proto/*.proto. ../../generate.py writes the other modules of this folder.

These modules hold descriptors, not code that protoc generated. Generated code needs protobuf and gRPC of at least the
generator's version, and protobuf accepts it for only one more major version. Descriptors have no such limits.
"""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_POOL = descriptor_pool.DescriptorPool()  # not the default pool, in which other packages can define the same names


def define(names, serialized):
    """Adds the message classes and the service stubs of a serialized FileDescriptorProto to `names`, the globals of a
    module. For a service named Jobs, `JobsStub` is its stub class, and `Jobs` is {method name: Method}."""
    proto = descriptor_pb2.FileDescriptorProto.FromString(serialized)
    _POOL.AddSerializedFile(serialized)
    file = _POOL.FindFileByName(proto.name)
    for name, message in file.message_types_by_name.items():
        names[name] = message_factory.GetMessageClass(message)
    for service in proto.service:
        full_name = f"{proto.package}.{service.name}"
        descriptors = file.services_by_name[service.name].methods_by_name
        names[service.name] = {method.name: Method(full_name, method, descriptors[method.name])
                               for method in service.method}
        names[service.name + "Stub"] = _stub(service.name, names[service.name])


class Method:
    """A method of a service. `kind` says which sides stream messages, in the words of grpc, such as "unary_stream"."""

    def __init__(self, service, proto, descriptor):
        self.path = f"/{service}/{proto.name}"
        self.kind = "_".join("stream" if streams else "unary" for streams in (proto.client_streaming,
                                                                              proto.server_streaming))
        self.request = message_factory.GetMessageClass(descriptor.input_type)
        self.reply = message_factory.GetMessageClass(descriptor.output_type)


def _stub(name, methods):
    def connect(self, channel):
        for method_name, method in methods.items():
            make = getattr(channel, method.kind)
            setattr(self, method_name, make(method.path, request_serializer=method.request.SerializeToString,
                                            response_deserializer=method.reply.FromString))

    return type(name + "Stub", (), {"__init__": connect, "__doc__": f"Calls the methods of {name} on a channel."})
