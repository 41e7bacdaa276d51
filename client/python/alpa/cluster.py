"""A connection to a cluster. Submits steps as jobs, and lists and stops jobs."""

import logging
import weakref

import grpc
import xxhash

from alpa import callbacks, errors, plan as plan_module, program as program_module, rpc, run as run_module
from alpa._proto import job_service_pb2 as pb
from alpa._proto import plan_pb2

_log = logging.getLogger("alpa")


def connect(address, timeout=10.0):
    """Connects to the cluster whose coordinator listens at `address` ("host:port"). Raises UnreachableError if the
    coordinator does not answer within `timeout` seconds."""
    return Cluster(address, timeout)


class Cluster:
    """A connection to a cluster, made by connect() or local(). close(), or the end of a `with` block, ends its runs."""

    def __init__(self, address, timeout=10.0, daemons=None):
        self.address = address
        self._daemons = daemons
        self._channel = rpc.channel(address)
        self._jobs = pb.JobServiceStub(self._channel)
        self._runs = weakref.WeakSet()
        try:
            self._jobs.GetCluster(pb.ClusterRequest(), timeout=timeout, wait_for_ready=True)
        except grpc.RpcError as e:
            self._channel.close()
            if e.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise errors.UnreachableError(
                    f"no coordinator answers at {address} within {timeout:g} s; start one with "
                    f"`alpa-coordinator --listen {address}`, or correct the address") from None
            raise errors.from_rpc(e, f"connecting to {address}") from None

    def parallelize(self, step, plan=None, *, batch_dims=None, local_statistics=False, devices=0, workers=(), name=None,
                    timeout=None, debug_callbacks="refuse"):
        """Returns a Run that runs `step(state, batch) -> (state, aux)` on this cluster. Call the Run like the step.

        plan: alpa.Auto() (default), alpa.DataParallel(n, microbatches=k), alpa.Megatron(dp, tp, pp),
            alpa.GPipe(stages), alpa.Zero(stage), or alpa.load_plan(path).
        batch_dims: the batch dimension of each batch leaf, as an int for all leaves, as a pytree of ints with the
            structure of the batch, or as {path: dimension}. By default, the coordinator finds these dimensions.
        local_statistics: whether each microbatch may use its own batch statistics, for example in batch normalisation.
        devices: the number of devices to use (0: all free devices).
        workers: names of workers; the run uses only devices of these workers.
        name: the display name of the job (default: the name of the step).
        timeout: seconds to wait for free devices and for planning (None: no limit).
        debug_callbacks: "refuse" or "drop". Only "drop" accepts a step with jax.debug.print or jax.debug.callback, and
            leaves these calls out with one warning. A step with other host callbacks is always refused.
        """
        signature = program_module.Signature.of_step(step)
        return self._run(signature, plan, batch_dims, local_statistics, devices, workers, name, timeout,
                         debug_callbacks)

    def jit(self, step, state_argnums, state_outs, plan=None, *, batch_dims=None, local_statistics=False, devices=0,
            workers=(), name=None, timeout=None, debug_callbacks="refuse"):
        """Like parallelize(), for a step with another signature. For step(params, opt, x, y) -> (loss, params, opt),
        pass state_argnums=(0, 1) and state_outs=(1, 2)."""
        signature = program_module.Signature.of_jit(step, state_argnums, state_outs)
        return self._run(signature, plan, batch_dims, local_statistics, devices, workers, name, timeout,
                         debug_callbacks)

    @property
    def status_url(self):
        """The URL of the coordinator's status page, or None if local() did not start this cluster."""
        return f"http://{self._daemons.http_address}/" if self._daemons is not None else None

    def describe(self):
        """Returns the workers and their devices as the coordinator sees them now."""
        return rpc.call(self._jobs.GetCluster, pb.ClusterRequest(), f"asking {self.address} for its workers")

    def jobs(self):
        """Returns all jobs that the coordinator knows."""
        return list(rpc.call(self._jobs.ListJobs, pb.ListJobsRequest(), f"asking {self.address} for its jobs").jobs)

    def stop(self, job_id):
        """Stops a job and returns it."""
        return rpc.call(self._jobs.StopJob, pb.JobRequest(job_id=job_id), f"stopping job {job_id}")

    def close(self):
        """Ends all runs. Stops the daemons if local() started them."""
        for run in list(self._runs):
            run.close()
        self._channel.close()
        if self._daemons is not None:
            self._daemons.stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __repr__(self):
        return f"<alpa cluster at {self.address}>"

    def _run(self, signature, plan, batch_dims, local_statistics, devices, workers, name, timeout, debug_callbacks):
        def pins(dims=(), program=None):
            return plan_module.request(plan, devices, workers, dims, local_statistics, program)

        pins()  # raises the error for a wrong pin now, not at the first call of the run
        callbacks.check_mode(debug_callbacks)
        return run_module.Run(self, signature, pins, batch_dims, name, timeout, debug_callbacks)

    def _submit(self, program, request, name, timeout):
        """Uploads the program, submits the job and waits until it runs. If the job does not start, raises an error that
        gives the cause."""
        digest = xxhash.xxh64_intdigest(program.module)
        self._upload(program.module, digest)
        message = pb.SubmitRequest(name=name, program_hash=digest, roles=roles_proto(program))
        request.fill(message.plan)
        job = rpc.call(self._jobs.Submit, message, f"submitting {name} to {self.address}", timeout=660.0)
        return self._wait_running(job, timeout)

    def _upload(self, module, digest):
        def chunks(start):
            for offset in range(start, len(module), rpc.UPLOAD_CHUNK):
                yield pb.ProgramChunk(hash=digest, total_size=len(module), offset=offset,
                                      data=module[offset:offset + rpc.UPLOAD_CHUNK])

        doing = f"uploading the program to {self.address}"
        known = rpc.call(self._jobs.QueryUpload, pb.QueryUploadRequest(hash=digest, total_size=len(module)), doing)
        if known.received < len(module):
            reply = rpc.call(self._jobs.UploadProgram, chunks(known.received), doing, timeout=600.0)
            if reply.received != len(module):
                raise errors.AlpaError(f"{doing}: {reply.received} of {len(module)} bytes arrived", "UPLOAD")

    def _wait_running(self, job, timeout):
        watch = self._jobs.WatchJob(pb.JobRequest(job_id=job.job_id), timeout=timeout)
        last_reason = ""
        try:
            for job in watch:
                if job.state == pb.Job.RUNNING:
                    return job
                if job.state in (pb.Job.FAILED, pb.Job.STOPPED, pb.Job.SUCCEEDED):
                    raise run_module.job_failure(job)
                if job.state == pb.Job.PENDING and job.reason and job.reason != last_reason:
                    last_reason = job.reason
                    _log.warning("job %s waits: %s", job.job_id, last_reason)
        except grpc.RpcError as e:
            self._give_up(job.job_id)
            if e.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                state = pb.Job.State.Name(job.state)
                raise errors.DeadlineError(
                    f"job {job.job_id} was still {state} after {timeout:g} s"
                    f"{': ' + last_reason if last_reason else ''}; the job was stopped") from None
            raise errors.from_rpc(e, f"waiting for job {job.job_id}") from None
        except KeyboardInterrupt:
            self._give_up(job.job_id)
            raise
        finally:
            watch.cancel()
        raise errors.AlpaError(f"the coordinator stopped reporting on job {job.job_id}", "STREAM_ENDED")

    def _give_up(self, job_id):
        try:
            self._jobs.StopJob(pb.JobRequest(job_id=job_id), timeout=5.0)
        except grpc.RpcError as e:
            _log.debug("could not stop job %s: %s", job_id, e)


def roles_proto(program):
    """Returns the role table of a program as a proto message."""
    roles = plan_pb2.Roles()
    for leaf in program.inputs:
        roles.inputs.add(kind=0 if leaf.kind == "state" else 1, path=leaf.path)
    for leaf in program.outputs:
        roles.outputs.add(kind=0 if leaf.kind == "state" else 1, path=leaf.path, state_input=leaf.state_input)
    return roles
