"""Generates Python modules from the .proto files, in alpa/_proto/. Run it after a checkout, and when the files change:

    python client/python/generate.py

The script needs grpcio-tools, of any version. The modules do not depend on this version (alpa/_proto/__init__.py).
"""

import pathlib
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = HERE / "alpa" / "_proto"
FILES = ["graph", "inventory", "plan", "job_service", "tensor_service"]


def main():
    from google.protobuf import descriptor_pb2
    from grpc_tools import protoc

    with tempfile.TemporaryDirectory() as scratch:
        output = pathlib.Path(scratch, "descriptors")
        arguments = ["protoc", f"-I{ROOT}", f"--descriptor_set_out={output}"]
        code = protoc.main(arguments + [f"proto/{name}.proto" for name in FILES])
        if code != 0:
            return code
        files = descriptor_pb2.FileDescriptorSet.FromString(output.read_bytes()).file
    for old in set(TARGET.glob("*_pb2*.py")) - {_path(file.name) for file in files}:  # no longer used
        old.unlink()
    for file in files:
        _write_if_changed(_path(file.name), _module(file))
    return 0


def _path(name):
    """Returns the path of the module for a .proto file. For proto/graph.proto, it is alpa/_proto/graph_pb2.py."""
    return TARGET / f"{pathlib.PurePosixPath(name).stem}_pb2.py"


def _module(file):
    lines = [f'"""{file.name}, written by generate.py. Do not edit."""', "", "import alpa._proto"]
    lines += [f"import alpa._proto.{_path(name).stem}" for name in sorted(file.dependency)]
    data = file.SerializeToString(deterministic=True)
    lines += ["", "alpa._proto.define(globals(), ("]
    lines += [f"    {data[start:start + 64]!r}" for start in range(0, len(data), 64)]
    return "\n".join(lines) + "\n))\n"


def _write_if_changed(path, text):
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


if __name__ == "__main__":
    sys.exit(main())
