"""FakeCluster: a coordinator and workers inside the test process. They answer like real ones, but JAX runs each step on
one device. State leaves are replicated. Batch leaves are split along their first dimension over all devices of a job.

Hooks:
    step_gate    An Event. Steps wait until it is set.
    fail_step    The number of a step that fails.
    refuse       (code, reason, text): Submit fails with this error.
    plan_error   (error_reason, text): planning fails with this error.
    records      The calls so far, in order.
"""

import concurrent.futures
import threading
import time

import grpc
import jax
import numpy as np
import xxhash
from jax._src.interpreters import mlir
from jax._src.lib import xla_client
from jaxlib.mlir import ir

from alpa import tensors
from alpa._proto import job_service_pb2 as pb
from alpa._proto import tensor_service_pb2


class FakeCluster:
    def __init__(self, workers=2, devices_per_worker=2):
        self.step_gate = threading.Event()
        self.step_gate.set()
        self.fail_step = None
        self.refuse = None
        self.plan_error = None
        self.records = []
        self.programs = {}
        self.jobs = {}
        self.requests = {}
        self.lock = threading.Condition()
        self.devices_per_worker = devices_per_worker
        self.workers = [_Worker(self, f"worker-{i}", range(i * devices_per_worker, (i + 1) * devices_per_worker))
                        for i in range(workers)]
        self.server, self.address = _serve(pb.JobService, self)

    def stop(self):
        self.step_gate.set()
        self.server.stop(None)
        for worker in self.workers:
            worker.server.stop(None)

    # ---- JobService ----

    def QueryUpload(self, request, context):
        with self.lock:
            return pb.UploadReply(hash=request.hash, received=len(self.programs.get(request.hash, b"")))

    def UploadProgram(self, requests, context):
        for chunk in requests:
            with self.lock:
                have = self.programs.setdefault(chunk.hash, b"")
                assert chunk.offset == len(have) and len(chunk.data) <= 1 << 20
                self.programs[chunk.hash] = have + chunk.data
        whole = self.programs[chunk.hash]
        assert len(whole) == chunk.total_size and xxhash.xxh64_intdigest(whole) == chunk.hash
        return pb.UploadReply(hash=chunk.hash, received=len(whole))

    def Submit(self, request, context):
        self.records.append("submit")
        if self.refuse is not None:
            code, reason, text = self.refuse
            context.set_trailing_metadata((("alpa-reason", reason),))
            context.abort(code, text)
        with self.lock:
            job_id = f"job-{len(self.jobs) + 1}"
            self.requests[job_id] = request
            self.jobs[job_id] = _Job(self, job_id, request)
            return self.jobs[job_id].proto

    def GetJob(self, request, context):
        return self._job(request, context).proto

    def WatchJob(self, request, context):
        job = self._job(request, context)
        yield pb.Job(job_id=job.proto.job_id, state=pb.Job.PENDING, reason="needs 4 devices, 0 free")
        if self.plan_error is not None:
            job.end(pb.Job.FAILED, self.plan_error[1], self.plan_error[0], pb.Job.USER)
        else:
            job.proto.state = pb.Job.RUNNING
        yield job.proto

    def GetPlacement(self, request, context):
        return self._job(request, context).placement

    def RunSteps(self, requests, context):
        for command in requests:
            self.records.append(("run", command.first_step, command.count))
            job = self.jobs[command.job_id]
            for i in range(command.count):
                self.step_gate.wait()
                step = command.first_step + i
                if step == self.fail_step:
                    job.end(pb.Job.FAILED, "worker-1 died", "JOB_FAILED", pb.Job.INFRASTRUCTURE)
                    job.proto.failed_worker = "worker-1"
                    context.abort(grpc.StatusCode.ABORTED, "the job failed")
                if step != job.version + 1:
                    context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"step {step} is not next")
                begin = time.monotonic()
                scalars = job.run(command.first_batch_slot + i % command.batch_slots)
                yield pb.StepResult(step=step, seconds=time.monotonic() - begin, scalars=scalars)

    def FinishJob(self, request, context):
        job = self._job(request, context)
        job.end(pb.Job.SUCCEEDED, "", "", pb.Job.NONE)
        return job.proto

    def StopJob(self, request, context):
        job = self._job(request, context)
        job.end(pb.Job.STOPPED, "stopped by the user", "", pb.Job.NONE)
        return job.proto

    def ListJobs(self, request, context):
        return pb.ListJobsReply(jobs=[job.proto for job in self.jobs.values()])

    def GetCluster(self, request, context):
        return pb.ClusterReply(cluster_epoch=1, workers=[
            pb.WorkerState(name=w.name, tensor_address=w.address, up=True,
                           devices=[pb.DeviceState(id=d) for d in w.devices])
            for w in self.workers])

    def _job(self, request, context):
        if request.job_id not in self.jobs:
            context.set_trailing_metadata((("alpa-reason", "JOB_NOT_FOUND"),))
            context.abort(grpc.StatusCode.NOT_FOUND, f"no job {request.job_id}")
        return self.jobs[request.job_id]


def _serve(methods, servicer):
    """Starts a server for those methods of a service that `servicer` has. Returns the server and its address."""
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(16))
    for name, method in methods.items():
        if hasattr(servicer, name):
            handler = getattr(grpc, method.kind + "_rpc_method_handler")(
                getattr(servicer, name), request_deserializer=method.request.FromString,
                response_serializer=method.reply.SerializeToString)
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
                method.path.split("/")[1], {name: handler}),))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    return server, address


class _Job:
    """A job's program, placement and state."""

    def __init__(self, cluster, job_id, request):
        self.roles = request.roles
        self.version = 0
        self.aux = {}
        self.memory = {}  # {(worker, kind, leaf, slot): (array, mask of the written elements)}
        computation = xla_client.XlaComputation(cluster.programs[request.program_hash])
        shape = computation.program_shape()
        self.inputs = [(s.dimensions(), np.dtype(s.numpy_dtype())) for s in shape.parameter_shapes()]
        results = shape.result_shape()
        self.outputs = results.tuple_shapes() if results.is_tuple() else [results]
        module = xla_client._xla.mlir.xla_computation_to_mlir_module(computation)
        cpu = jax.devices("cpu")[0]
        if hasattr(cpu.client, "compile_and_load"):
            devices = xla_client._xla.DeviceList((cpu,))
            self._execute = cpu.client.compile_and_load(module, devices, xla_client.CompileOptions())
        else:  # JAX before 0.6
            self._execute = cpu.client.compile(_without_layouts(module), xla_client.CompileOptions())
        assert len(self.roles.inputs) == len(self.inputs) and len(self.roles.outputs) == len(self.outputs)
        devices = request.plan.devices or sum(len(w.devices) for w in cluster.workers)
        self.proto = pb.Job(job_id=job_id, name=request.name, epoch=1, devices=range(devices),
                            plan_text="a fake plan\n")
        self.proto.plan.microbatches = request.plan.microbatches or 1
        self.placement = self._place(cluster, devices)

    def end(self, state, reason, error_reason, cause):
        if self.proto.state in (pb.Job.SUCCEEDED, pb.Job.FAILED, pb.Job.STOPPED):
            return
        self.proto.state, self.proto.reason, self.proto.error_reason = state, reason, error_reason
        self.proto.cause = cause

    def run(self, slot):
        values = []
        for i, role in enumerate(self.roles.inputs):
            state = role.kind == 0
            values.append(self._gather(tensors.STATE if state else tensors.BATCH, i, 0 if state else slot))
        results = self._execute.execute_sharded([jax.numpy.asarray(v) for v in values])
        arrays = [np.asarray(x[0]) for x in results.disassemble_into_single_device_arrays()]
        self.version += 1
        scalars, aux = [], {}
        for i, (role, array) in enumerate(zip(self.roles.outputs, arrays)):
            if role.kind == 0:
                for key, (_, written) in list(self.memory.items()):
                    if key[1:3] == (tensors.STATE, role.state_input):
                        self.memory[key] = (array.copy(), written)
            else:
                aux[i] = array
                if array.nbytes <= 1024:
                    scalars.append(pb.ScalarAux(output=i, data=array.tobytes()))
        self.aux[self.version] = aux
        self.aux.pop(self.version - 16, None)
        return scalars

    def _gather(self, kind, leaf, slot):
        dims, dtype = self.inputs[leaf]
        out = np.zeros(dims, dtype)
        for region, workers in tensors.Placement(self.placement).input_holders(leaf):
            for worker in workers if not region.empty else ():
                array, written = self.memory[worker, kind, leaf, slot]
                assert written[region.slices].all(), f"{self.roles.inputs[leaf].path} is incomplete on {worker}"
                out[region.slices] = array[region.slices]
        return out

    def _place(self, cluster, devices):
        placement = pb.Placement(job_id=self.proto.job_id, epoch=1)
        placement.meshes.add(shape=[devices], axis_names=["data"], devices=range(devices))
        for (dims, dtype), role in zip(self.inputs, self.roles.inputs):
            leaf = placement.inputs.add(path=role.path)
            region = leaf.regions.add(mesh=0, region={"start": [0] * len(dims), "size": dims})
            if role.kind == 1 and dims:
                region.sharding.dims.add(axes=[0])
            placement.input_is_state.append(role.kind == 0)
        for shape, role in zip(self.outputs, self.roles.outputs):
            leaf = placement.outputs.add(path=role.path)
            dims = shape.dimensions()
            if role.kind == 1:
                leaf.regions.add(mesh=0, region={"start": [0] * len(dims), "size": dims})
        for worker in cluster.workers:
            mine = [d for d in worker.devices if d < devices]
            if mine:
                placement.workers.add(worker=worker.name, tensor_address=worker.address, devices=mine)
        return placement


def _without_layouts(text):
    """Returns a module without the layouts of its parameters and results. The CPU client of JAX 0.4.35 crashes if it
    gets the layout of a tuple."""
    with mlir.make_ir_context():
        module = ir.Module.parse(text)
        attributes = module.operation.attributes
        for name in [a.name for a in attributes if a.name.startswith("mhlo.xla_entry_computation")]:
            del attributes[name]
        return mlir.module_to_string(module)


class _Worker:
    def __init__(self, cluster, name, devices):
        self.cluster, self.name, self.devices = cluster, name, list(devices)
        self.server, self.address = _serve(tensor_service_pb2.TensorService, self)

    def Put(self, requests, context):
        chunks = list(requests)
        assert all(len(c.data) <= 1 << 20 for c in chunks)
        ref, data = chunks[0].ref, b"".join(c.data for c in chunks)
        job = self.cluster.jobs[ref.job_id]
        dims, dtype = job.inputs[ref.leaf]
        if ref.kind == tensors.STATE and ref.version != job.version:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"version {ref.version}, present {job.version}")
        slot = ref.version if ref.kind == tensors.BATCH else 0
        region = tensors.Region(tuple(ref.region.start), tuple(ref.region.size))
        with self.cluster.lock:
            key = (self.name, ref.kind, ref.leaf, slot)
            array, written = job.memory.setdefault(key, (np.zeros(dims, dtype), np.zeros(dims, bool)))
            array[region.slices] = np.frombuffer(data, dtype).reshape(region.size)
            written[region.slices] = True
        self.cluster.records.append(("put", ref.kind, self.name, ref.leaf, len(data)))
        return tensor_service_pb2.PutReply(bytes=len(data))

    def Get(self, request, context):
        ref = request.ref
        job = self.cluster.jobs[ref.job_id]
        if ref.kind == tensors.AUX:
            if ref.version not in job.aux:
                context.set_trailing_metadata((("alpa-reason", "STALE_STATE"),))
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"aux of step {ref.version} is no longer kept")
            array = job.aux[ref.version][ref.leaf]
        else:
            if ref.version != job.version:
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"version {ref.version}, present {job.version}")
            array = job.memory[self.name, tensors.STATE, ref.leaf, 0][0]
        region = tensors.Region(tuple(ref.region.start), tuple(ref.region.size))
        data = np.ascontiguousarray(array[region.slices]).tobytes()
        for start in range(0, len(data), 1 << 20):
            yield tensor_service_pb2.GetChunk(data=data[start:start + (1 << 20)])
