"""Moves arrays directly between this process and the workers, without the coordinator.

A Placement says which workers hold which region of each leaf. A region is a box of the leaf. A TensorLink writes and
reads several regions at the same time.
"""

import concurrent.futures
import ctypes
import dataclasses
import functools
import itertools
import math
import os

import grpc
import numpy as np

from alpa import errors, rpc
from alpa._proto import tensor_service_pb2 as pb

CHUNK = 1 << 20  # bytes of data per message; the protocol allows at most 1 MiB
PIECE = 32 << 20  # maximum bytes of a piece; a larger region is cut into pieces that move at the same time
THREADS = 8  # number of calls at the same time
CALL_SECONDS = 600.0  # deadline of a call, which moves one piece

STATE, BATCH, AUX = 0, 1, 2  # LeafRef.Kind


@dataclasses.dataclass(frozen=True)
class Region:
    """A box of a leaf."""

    start: tuple
    size: tuple

    @property
    def slices(self):
        return tuple(slice(a, a + n) for a, n in zip(self.start, self.size))

    @property
    def empty(self):
        return 0 in self.size


def tile_of(dims, sharding, mesh, index):
    """Returns the tile of an array of shape `dims` that device number `index` of the mesh holds. Along a dimension
    that is split into `ways` tiles, a tile has ceil(length / ways) elements. The last tiles can be short or empty."""
    coordinates = np.unravel_index(index, tuple(mesh.shape)) if mesh.shape else ()
    start, size = [], []
    for d, length in enumerate(dims):
        ways, position = 1, 0
        for axis in sharding.dims[d].axes if d < len(sharding.dims) else ():
            ways *= mesh.shape[axis]
            position = position * mesh.shape[axis] + int(coordinates[axis])
        full = -(-length // ways)
        first = min(length, full * position)
        start.append(first)
        size.append(min(length, first + full) - first)
    return Region(tuple(start), tuple(size))


class Placement:
    """The placement of a job's leaves, from the coordinator's reply."""

    def __init__(self, proto):
        self.epoch = proto.epoch
        self.addresses = {w.worker: w.tensor_address for w in proto.workers}
        self._worker_of = {device: w.worker for w in proto.workers for device in w.devices}
        self._inputs = [self._holders(leaf, proto.meshes) for leaf in proto.inputs]
        self._outputs = [self._holders(leaf, proto.meshes) for leaf in proto.outputs]

    def input_holders(self, leaf):
        """Returns [(region, [workers])]: the regions of an input leaf, each with all workers that hold it."""
        return self._inputs[leaf]

    def output_holders(self, leaf):
        return self._outputs[leaf]

    def _holders(self, leaf, meshes):
        found = {}
        for placed in leaf.regions:
            mesh = meshes[placed.mesh]
            for index, device in enumerate(mesh.devices):
                tile = tile_of(placed.region.size, placed.sharding, mesh, index)
                region = Region(tuple(a + b for a, b in zip(placed.region.start, tile.start)), tile.size)
                workers = found.setdefault(region, [])
                worker = self._worker_of.get(device)
                if worker is None:
                    raise errors.AlpaError(f"the placement of {leaf.path} names device {device}, which no worker has",
                                           "INTERNAL")
                if worker not in workers:
                    workers.append(worker)
        return list(found.items())


class TensorLink:
    """Connections to the workers of one job."""

    def __init__(self, job_id, placement):
        _keep_message_memory()
        self._job_id = job_id
        self._placement = placement
        self._channels = {name: [rpc.channel(address, own_connection=True) for _ in range(2)]
                          for name, address in placement.addresses.items()}
        self._calls = {name: [_Calls(channel) for channel in channels] for name, channels in self._channels.items()}
        self._turn = itertools.count()
        self._pool = concurrent.futures.ThreadPoolExecutor(THREADS, thread_name_prefix="alpa-tensors")

    def abort(self):
        """Ends all transfers. The threads that wait for a transfer get an error. Call this function when the job has
        failed, because a frozen worker may not answer for a long time."""
        self._close_channels()

    def close(self):
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._close_channels()

    def _close_channels(self):
        for channels in self._channels.values():
            for channel in channels:
                channel.close()

    def put(self, kind, version, arrays):
        """Writes input leaves {leaf: numpy array} to all workers that hold them."""
        tasks = []
        for leaf, array in arrays.items():
            for region, workers in self._placement.input_holders(leaf):
                if region.empty:
                    continue
                for piece in _pieces(region, array.itemsize):
                    tasks += [(self._put_piece, worker, kind, leaf, version, piece, array) for worker in workers]
        self._run(tasks)

    def get(self, kind, version, leaf_types):
        """Reads the leaves {leaf: LeafType} and returns {leaf: numpy array}. For STATE, `leaf` is an input leaf; for
        AUX, it is an output leaf."""
        arrays = {leaf: np.empty(t.shape, t.dtype) for leaf, t in leaf_types.items()}
        tasks = []
        for leaf, array in arrays.items():
            holders = self._placement.output_holders(leaf) if kind == AUX else self._placement.input_holders(leaf)
            if not holders:
                raise errors.AlpaError(f"the coordinator's placement has no parts of leaf {leaf}", "INTERNAL")
            for region, workers in holders:
                if region.empty:
                    continue
                for i, piece in enumerate(_pieces(region, array.itemsize)):
                    tasks.append((self._get_piece, workers[i % len(workers)], kind, leaf, version, piece, array))
        self._run(tasks)
        return arrays

    def _run(self, tasks):
        """Runs all tasks. If a task fails, waits until every task has ended, so that no thread uses an array later, and
        raises the first error."""
        if len(tasks) == 1:
            function, *args = tasks[0]
            return function(*args)
        futures = [self._pool.submit(*task) for task in tasks]
        concurrent.futures.wait(futures)
        for future in futures:
            future.result()

    @staticmethod
    def _failure(error, doing):
        if isinstance(error, grpc.RpcError):
            return errors.from_rpc(error, doing)
        return errors.AlpaError(f"{doing}: the connection was closed", "ABORTED")  # a ValueError from grpc

    def _pick(self, worker):
        calls = self._calls[worker]
        return calls[next(self._turn) % len(calls)]

    def _ref(self, kind, leaf, version, region):
        return pb.LeafRef(job_id=self._job_id, epoch=self._placement.epoch, kind=kind, leaf=leaf, version=version,
                          region={"start": region.start, "size": region.size})

    def _put_piece(self, worker, kind, leaf, version, region, array):
        data = memoryview(np.ascontiguousarray(array[region.slices + (...,)]).reshape(-1).view(np.uint8))
        messages, calls = _put_messages(self._ref(kind, leaf, version, region), data), self._pick(worker)
        try:
            reply = (calls.put_one(next(messages), timeout=CALL_SECONDS) if len(data) <= CHUNK
                     else calls.put(messages, timeout=CALL_SECONDS))
        except (grpc.RpcError, ValueError) as e:
            raise self._failure(e, f"writing leaf {leaf} to worker {worker}") from None
        if reply.bytes != len(data):
            raise errors.AlpaError(f"worker {worker} took {reply.bytes} of {len(data)} bytes of leaf {leaf}",
                                   "INTERNAL")

    def _get_piece(self, worker, kind, leaf, version, region, array):
        target = array[region.slices + (...,)]
        direct = target.flags.c_contiguous
        buffer = target if direct else np.empty(region.size, array.dtype)
        flat = buffer.reshape(-1).view(np.uint8)
        position = 0
        try:
            for message in self._pick(worker).get(pb.GetRequest(ref=self._ref(kind, leaf, version, region)),
                                                  timeout=CALL_SECONDS):
                data = _data_of(message)
                end = position + len(data)
                if data and end <= flat.size:
                    flat[position:end] = np.frombuffer(data, np.uint8)
                position = end
        except (grpc.RpcError, ValueError) as e:
            raise self._failure(e, f"reading leaf {leaf} from worker {worker}") from None
        if position != flat.size:
            raise errors.AlpaError(f"worker {worker} sent {position} bytes for leaf {leaf}, which needs {flat.size}",
                                   "INTERNAL")
        if not direct:
            array[region.slices + (...,)] = buffer


@functools.cache
def _keep_message_memory():
    """Makes glibc keep freed memory for the next messages, which have about CHUNK bytes each. By default, glibc maps
    fresh pages for each message and unmaps them at once. That would take half of the time of a transfer. Does nothing
    if the user has set malloc options."""
    if any(name.startswith("MALLOC_") for name in os.environ) or "GLIBC_TUNABLES" in os.environ:
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # C libraries other than glibc may not have mallopt
        mallopt(-3, 4 << 20)  # M_MMAP_THRESHOLD
        mallopt(-1, 64 << 20)  # M_TRIM_THRESHOLD


class _Calls:
    """The calls of TensorService. They take and return serialized messages: this module encodes and decodes the data
    field itself, to save copies."""

    def __init__(self, channel):
        self.put = channel.stream_unary("/alpa.proto.TensorService/Put", request_serializer=lambda message: message,
                                        response_deserializer=pb.PutReply.FromString)
        # Put as a call with a single message. The worker sees no difference. Without a stream, gRPC starts no thread.
        self.put_one = channel.unary_unary("/alpa.proto.TensorService/Put", request_serializer=lambda message: message,
                                           response_deserializer=pb.PutReply.FromString)
        self.get = channel.unary_stream("/alpa.proto.TensorService/Get",
                                        request_serializer=pb.GetRequest.SerializeToString,
                                        response_deserializer=lambda message: message)


def _pieces(region, itemsize):
    """Cuts a large region into pieces, along the first dimension that is longer than 1. If the region is contiguous in
    the leaf, each piece is contiguous, too."""
    size = math.prod(region.size) * itemsize
    dim = next((d for d, n in enumerate(region.size) if n > 1), None)
    if size <= PIECE or dim is None:
        return [region]
    count = min(region.size[dim], -(-size // PIECE))
    bounds = [region.size[dim] * i // count for i in range(count + 1)]
    return [Region(_replace(region.start, dim, region.start[dim] + a), _replace(region.size, dim, b - a))
            for a, b in zip(bounds, bounds[1:])]


def _replace(values, index, value):
    return values[:index] + (value,) + values[index + 1:]


def _varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def _put_messages(ref, data):
    yield pb.PutChunk(ref=ref, data=bytes(data[:CHUNK])).SerializeToString()
    for start in range(CHUNK, len(data), CHUNK):
        chunk = data[start:start + CHUNK]
        yield b"".join((b"\x12", _varint(len(chunk)), chunk))


def _data_of(message):
    """Returns the data of a serialized GetChunk without a copy. This message has a single field, the data, as field
    number 1."""
    if not message:
        return b""
    if message[0] == 0x0A:
        length, shift, at = 0, 0, 1
        while True:
            byte = message[at]
            length |= (byte & 127) << shift
            at, shift = at + 1, shift + 7
            if byte < 128:
                break
        if at + length == len(message):
            return memoryview(message)[at:]
    return pb.GetChunk.FromString(message).data
