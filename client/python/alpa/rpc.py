"""Opens channels to the daemons and makes calls."""

import grpc

from alpa import errors

try:
    from alpa._proto import job_service_pb2, plan_pb2, tensor_service_pb2  # noqa: F401
except ImportError as e:
    if "_pb2" not in str(e):
        raise
    raise ImportError("the generated protocol files are missing: run `python client/python/generate.py` "
                      f"in the checkout ({e})") from e

CALL_SECONDS = 60.0  # deadline of short calls
UPLOAD_CHUNK = 1 << 20  # bytes per message; the protocol allows at most 1 MiB

_OPTIONS = [
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.enable_http_proxy", 0),
]


def channel(address, own_connection=False):
    """Returns a channel. If `own_connection`, other channels do not share its connection."""
    options = _OPTIONS + ([("grpc.use_local_subchannel_pool", 1)] if own_connection else [])
    return grpc.insecure_channel(address, options=options)


def call(method, request, doing, timeout=CALL_SECONDS, **kwargs):
    """Makes a call and returns the reply. If the call fails, raises an AlpaError whose message begins with `doing`."""
    try:
        return method(request, timeout=timeout, **kwargs)
    except grpc.RpcError as e:
        raise errors.from_rpc(e, doing) from None
