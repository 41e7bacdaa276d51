"""A cluster, as seen by a program that uses it."""

import logging
import weakref

import grpc
import xxhash

from alpa import errors, plan as plan_module, program as program_module, rpc, run as run_module
from alpa._proto import job_service_pb2 as pb
from alpa._proto import job_service_pb2_grpc, plan_pb2

_log = logging.getLogger("alpa")


def connect(address, timeout=10.0):
    """The cluster whose coordinator listens at "host:port". UnreachableError if it does not answer in `timeout` s."""
    return Cluster(address, timeout)


class Cluster:
    """Made by connect() or local(). close() ends its runs; `with` does so by itself."""

    def __init__(self, address, timeout=10.0, daemons=None):
        self.address = address
        self._daemons = daemons
        self._channel = rpc.channel(address)
        self._jobs = job_service_pb2_grpc.JobServiceStub(self._channel)
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
                    timeout=None):
        """Runs `step(state, batch) -> (state, aux)` on this cluster; returns a Run, called like the step.

        plan: alpa.Auto() (default), alpa.DataParallel(n, microbatches=k), alpa.Megatron(dp, tp, pp), alpa.GPipe(stages),
        alpa.Zero(stage), or alpa.load_plan(path). batch_dims: which dimension of each batch leaf is the batch's (an int for
        all, a pytree like the batch, or {path: dim}); found by itself if not given. local_statistics: batch statistics (as
        of batch normalisation) may be each microbatch's own. devices: how many to use (0: all that are free); workers:
        only devices of these. timeout: seconds to wait for free devices and for planning; None: no limit.
        """
        signature = program_module.Signature.of_step(step)
        return self._run(signature, plan, batch_dims, local_statistics, devices, workers, name, timeout)

    def jit(self, step, state_argnums, state_outs, plan=None, *, batch_dims=None, local_statistics=False, devices=0,
            workers=(), name=None, timeout=None):
        """The same for a step of another form: state_argnums=(0, 1), state_outs=(1, 2) for
        step(params, opt, x, y) -> (loss, params, opt)."""
        signature = program_module.Signature.of_jit(step, state_argnums, state_outs)
        return self._run(signature, plan, batch_dims, local_statistics, devices, workers, name, timeout)

    @property
    def status_url(self):
        """The coordinator's status page, where this cluster was started by local(); None otherwise."""
        return f"http://{self._daemons.http_address}/" if self._daemons is not None else None

    def describe(self):
        """Workers and devices as the coordinator sees them now."""
        return rpc.call(self._jobs.GetCluster, pb.ClusterRequest(), f"asking {self.address} for its workers")

    def jobs(self):
        """All jobs that the coordinator knows."""
        return list(rpc.call(self._jobs.ListJobs, pb.ListJobsRequest(), f"asking {self.address} for its jobs").jobs)

    def stop(self, job_id):
        """Stops a job."""
        return rpc.call(self._jobs.StopJob, pb.JobRequest(job_id=job_id), f"stopping job {job_id}")

    def close(self):
        """Ends all runs; stops the daemons if local() started them."""
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

    def _run(self, signature, plan, batch_dims, local_statistics, devices, workers, name, timeout):
        def pins(dims=(), program=None):
            return plan_module.request(plan, devices, workers, dims, local_statistics, program)

        pins()  # a wrong pin shows here, not at the first call
        return run_module.Run(self, signature, pins, batch_dims, name, timeout)

    def _submit(self, program, request, name, timeout):
        """Uploads and submits; waits until the job runs. Raises what stopped it otherwise."""
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
        said = ""
        try:
            for job in watch:
                if job.state == pb.Job.RUNNING:
                    return job
                if job.state in (pb.Job.FAILED, pb.Job.STOPPED, pb.Job.SUCCEEDED):
                    raise run_module.job_failure(job)
                if job.state == pb.Job.PENDING and job.reason and job.reason != said:
                    said = job.reason
                    _log.warning("job %s waits: %s", job.job_id, said)
        except grpc.RpcError as e:
            self._give_up(job.job_id)
            if e.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                state = pb.Job.State.Name(job.state)
                raise errors.DeadlineError(f"job {job.job_id} was still {state} after {timeout:g} s"
                                           f"{': ' + said if said else ''}; it was stopped") from None
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
    """The role table of a program, as it is sent."""
    roles = plan_pb2.Roles()
    for leaf in program.inputs:
        roles.inputs.add(kind=0 if leaf.kind == "state" else 1, path=leaf.path)
    for leaf in program.outputs:
        roles.outputs.add(kind=0 if leaf.kind == "state" else 1, path=leaf.path, state_input=leaf.state_input)
    return roles
