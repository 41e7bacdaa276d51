"""A Run presents one job as a Python function: run(state, batch) -> (state, aux).

The first call traces the step, submits it, waits for a plan and for the workers, and uploads the state. Every call
uploads its batch, requests one step, and returns handles without waiting for the step. Several steps may be in flight.
After a failure, every use of the run or of its handles raises the first error.
"""

import collections
import logging
import threading
import weakref

import grpc
import jax
import numpy as np

from alpa import errors, handles, leaves, plan as plan_module, program as program_module, rpc, tensors
from alpa._proto import job_service_pb2 as pb

IN_FLIGHT = 8  # maximum number of steps in flight from run(state, batch); each step uses one batch slot
FIRST_SHARED_SLOT = IN_FLIGHT  # first batch slot of steps(), which uses this slot and all later slots
SLOTS = 1024  # number of batch slots of a job; the coordinator refuses more
METRICS_KEPT = 100_000  # maximum number of steps in Run.metrics; older steps are dropped

_FINAL = (pb.Job.SUCCEEDED, pb.Job.FAILED, pb.Job.STOPPED)
_log = logging.getLogger("alpa")


class Step:
    """One requested step. `scalars` is its result, or None until the step is done."""

    __slots__ = ("number", "generation", "scalars", "__weakref__")

    def __init__(self, number, generation):
        self.number = number
        self.generation = generation
        self.scalars = None  # {graph result: bytes}


class Run:
    """A step that runs on a cluster, made by Cluster.parallelize() or Cluster.jit(). Calls from several threads run one
    after the other."""

    def __init__(self, cluster, signature, pins, batch_dims, name, timeout, debug_callbacks="refuse"):
        self._cluster = cluster
        self._signature = signature
        self._pins = pins  # a function (resolved batch_dims, program) -> plan.Request
        self._batch_dims = batch_dims
        self._name = name or signature.title()
        self._timeout = timeout
        self._debug_callbacks = debug_callbacks
        self._program = None
        self._job = None
        self._link = None
        self._stream = None
        self._lock = threading.RLock()
        self._closed = False
        self._generation = 0  # incremented when the user replaces the state
        self._state_ready = False
        self._submitted = 0
        self._slot_step = {}  # {batch slot: last step that reads it}
        self._next_shared = FIRST_SHARED_SLOT

    # ---- the calls that users make ----

    def __call__(self, *args):
        """Requests one step. Returns the results of the step, with handles in place of arrays."""
        with self._lock:
            values = self._prepare(args)
            slot = self._submitted % IN_FLIGHT
            self._stream.wait_for(self._slot_step.get(slot, 0))
            self._put_batch(slot, values)
            step = self._submit(1, slot, 1)
            return self._results(step)

    def steps(self, state, batches, n):
        """Requests `n` steps in one message. Step i uses batches[i % len(batches)]. Returns the results of the last
        step; run.metrics has the scalars of all steps. Only for a run made by cluster.parallelize()."""
        batches = list(batches)
        if self._signature.names[:2] != ("state", "batch") or self._signature.outs is None:
            raise errors.InputError("steps() works only with step(state, batch) -> (state, aux)")
        if n < 1 or not batches:
            raise errors.InputError(f"steps() needs n >= 1 and at least one batch; got n={n}, {len(batches)} batches")
        batches = batches[:n]
        if len(batches) > SLOTS - FIRST_SHARED_SLOT:
            raise errors.InputError(f"steps() got {len(batches)} batches; at most {SLOTS - FIRST_SHARED_SLOT} fit on "
                                    "the workers")
        with self._lock:
            values = [self._prepare((state, batches[0]))]
            for batch in batches[1:]:
                values.append([None] * len(self._program.state_inputs()) + self._program.flatten_argument(1, batch))
            first = self._next_shared if self._next_shared + len(batches) <= SLOTS else FIRST_SHARED_SLOT
            self._next_shared = first + len(batches)
            for i, batch in enumerate(values):
                self._stream.wait_for(self._slot_step.get(first + i, 0))
                self._put_batch(first + i, batch)
            return self._results(self._submit(n, first, len(batches)))

    def upload(self, *state):
        """Uploads new state at once, without waiting for the next call. `state` is the state arguments of the step, in
        order. Returns these arguments with handles in place of arrays."""
        with self._lock:
            if self._program is None:
                raise errors.AlpaError("there is no job yet; the first call of the run uploads its state",
                                       "NOT_STARTED")
            self._stream.check()
            program = self._program
            numbers = program.signature.state_argnums
            if len(state) != len(numbers):
                raise errors.InputError(f"upload() takes {len(numbers)} state argument(s), but got {len(state)}")
            values = [None] * len(program.inputs)
            for number, tree in zip(numbers, state):
                values[program.first_leaf(number):program.first_leaf(number + 1)] = program.flatten_argument(
                    number, tree)
            self._settle_state(values)
            token = (self._generation, self._submitted)
            found = {i: handles.StateHandle(self, i, program.inputs[i].path, program.inputs[i].type, token)
                     for i in program.state_inputs()}
            trees = [program.unflatten_argument(number, [found[i] for i in range(program.first_leaf(number),
                                                                                 program.first_leaf(number + 1))])
                     for number in numbers]
            return trees[0] if len(trees) == 1 else tuple(trees)

    @property
    def plan(self):
        """The plan of the run, as a PlanView. Raises AlpaError before the first call."""
        if self._job is None:
            raise errors.AlpaError("there is no plan yet; call the run first", "NOT_STARTED")
        return plan_module.PlanView(self._job.plan, self._job.plan_text, self._job.devices)

    @property
    def job_id(self):
        return self._job.job_id if self._job is not None else None

    @property
    def metrics(self):
        """One dict per finished step. Its keys are "step" (from 1), "seconds", "device_bytes" (bytes in use on the
        fullest device), and the path of every scalar aux leaf."""
        return list(self._stream.metrics) if self._stream is not None else []

    @property
    def steps_submitted(self):
        return self._submitted

    def wait(self):
        """Waits until all requested steps are done. If one of them has failed, raises its error."""
        with self._lock:
            if self._stream is not None:
                self._stream.wait_for(self._submitted)

    def describe(self):
        """Returns the job as the coordinator sees it now."""
        if self._job is None:
            raise errors.AlpaError("there is no job yet; call the run first", "NOT_STARTED")
        return rpc.call(self._cluster._jobs.GetJob, pb.JobRequest(job_id=self._job.job_id),
                        f"asking for job {self.job_id}")

    def close(self):
        """Waits for the requested steps, ends the job and frees its devices. Handles of this run can no longer be
        fetched. May be called twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._stream is None:
                return
            failed = self._stream.failure is not None
            if not failed:
                try:
                    self._stream.wait_for(self._submitted)
                except errors.AlpaError:
                    failed = True
            self._end.detach()
            _end_job(self._cluster._jobs, self._job.job_id, self._stream, self._link, failed)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __repr__(self):
        return f"<alpa run of {self._name}, job {self.job_id}, {self._submitted} steps requested>"

    # ---- the parts of a call, internal to this class ----

    def _prepare(self, args):
        """Starts the job at the first call. If the state in `args` is not on the workers, uploads it. Returns the
        values of all input leaves."""
        if self._closed:
            raise errors.AlpaError(f"run of {self._name} is closed", "CLOSED")
        if self._program is None:
            program = program_module.trace(self._signature, args, self._debug_callbacks)
            request = self._pins(program_module.batch_dims(program, self._batch_dims), program)
            values = program.flatten_arguments(args)
            self._check_fresh(values, program)
            self._start(program, request)
        else:
            self._stream.check()
            values = self._program.flatten_arguments(args)
        self._settle_state(values)
        return values

    def _check_fresh(self, values, program):
        """Raises an error if `values` has a stale handle of another run. Call this before anything is submitted."""
        for leaf, value in zip(program.inputs, values):
            if isinstance(value, handles.Handle):
                value._run._check(value, leaf.path)

    def _start(self, program, request):
        self._job = self._cluster._submit(program, request, self._name, self._timeout)
        jobs = self._cluster._jobs
        doing = f"asking for the placement of job {self._job.job_id}"
        try:
            placement = tensors.Placement(rpc.call(jobs.GetPlacement, pb.JobRequest(job_id=self._job.job_id), doing))
        except errors.AlpaError:
            self._cluster._give_up(self._job.job_id)
            raise
        self._link = tensors.TensorLink(self._job.job_id, placement)
        scalars = {i: (leaf.path, leaf.type) for i, leaf in enumerate(program.outputs)
                   if leaf.kind == "aux" and leaf.type.shape == () and leaf.type.key_impl is None}
        self._stream = _StepStream(jobs, self._job.job_id, placement.epoch, scalars, self._link.abort)
        self._program = program
        self._cluster._runs.add(self)
        # Ends the job when nothing refers to this run any more. Each handle refers to the run that made it.
        self._end = weakref.finalize(self, _end_job, jobs, self._job.job_id, self._stream, self._link, False)

    def _settle_state(self, values):
        """Uploads the state leaves whose values are not on the workers yet."""
        now = (self._generation, self._submitted)
        upload = {}
        for i in self._program.state_inputs():
            value = values[i]
            if isinstance(value, handles.StateHandle) and value._run is self and value._leaf == i:
                if value._token != now:
                    raise self._stale(value, self._program.inputs[i].path)
                if self._state_ready:
                    continue
            upload[i] = value
        if not upload:
            return
        self._stream.wait_for(self._submitted)  # state may be written only while no step runs
        fetched = self._host_values(upload)
        if self._submitted or self._state_ready:
            self._generation += 1
        self._state_ready = False
        self._guard(lambda: self._link.put(tensors.STATE, self._submitted, fetched))
        self._state_ready = True

    def _host_values(self, chosen):
        """Converts {leaf: value} to {leaf: numpy array}. Fetches the handles among the values."""
        remote = [i for i, value in chosen.items() if isinstance(value, handles.Handle)]
        out = dict(zip(remote, handles.fetch_all([chosen[i] for i in remote])))
        out.update((i, value) for i, value in chosen.items() if i not in out)
        return {i: leaves.to_host(value, self._program.inputs[i].type) for i, value in out.items()}

    def _put_batch(self, slot, values):
        chosen = {i: values[i] for i in self._program.batch_inputs()}
        self._guard(lambda: self._link.put(tensors.BATCH, slot, self._host_values(chosen)))

    def _submit(self, count, slot, slots):
        first = self._submitted + 1
        last = self._submitted + count
        step = Step(last, self._generation)
        self._stream.send(first, count, slot, slots, step)
        self._submitted = last
        for i in range(slots):
            self._slot_step[slot + i] = last
        return step

    def _results(self, step):
        token = (step.generation, step.number)
        values = []
        for i, leaf in enumerate(self._program.outputs):
            if leaf.kind == "state":
                values.append(handles.StateHandle(self, leaf.state_input, leaf.path, leaf.type, token))
            else:
                values.append(handles.AuxHandle(self, i, leaf.path, leaf.type, step))
        return self._program.unflatten_results(values)

    # ---- checking and fetching handles ----

    def _stale(self, handle, path):
        generation, version = handle._token
        gone = (f"it was passed to step {version + 1}" if generation == self._generation and self._submitted > version
                else "other state was put in its place")
        return errors.StaleStateError(f"{path} is the state after step {version}, which is gone: {gone}; use the state "
                                      "that the last call returned, or call alpa.fetch() before the next step")

    def _check(self, handle, path):
        if self._closed:
            raise errors.StaleStateError(f"{path} belongs to a run of {self._name} that is closed; "
                                         "call alpa.fetch() before close()")
        self._stream.check()
        if isinstance(handle, handles.StateHandle) and handle._token != (self._generation, self._submitted):
            raise self._stale(handle, path)

    def _fetch(self, wanted):
        """Returns the arrays of handles of this run."""
        with self._lock:
            for handle in wanted:
                self._check(handle, handle.path)
            state = {h._leaf: h.leaf_type for h in wanted if isinstance(h, handles.StateHandle)}
            arrays = {}
            if state:
                self._stream.wait_for(self._submitted)
                found = self._guard(lambda: self._link.get(tensors.STATE, self._submitted, state))
                arrays.update(((None, leaf), array) for leaf, array in found.items())
            for handle in wanted:
                if isinstance(handle, handles.AuxHandle):
                    arrays[handle._token, handle._leaf] = self._fetch_aux(handle)
            return [arrays[None if isinstance(h, handles.StateHandle) else h._token, h._leaf] for h in wanted]

    def _fetch_aux(self, handle):
        step, leaf_type = handle._token, handle.leaf_type
        self._stream.wait_for(step.number)
        data = (step.scalars or {}).get(handle._leaf)
        if data is not None and len(data) == leaf_type.nbytes:
            return np.frombuffer(bytearray(data), leaf_type.dtype).reshape(leaf_type.shape)
        return self._guard(lambda: self._link.get(tensors.AUX, step.number, {handle._leaf: leaf_type}))[handle._leaf]

    def _guard(self, action):
        """Runs a transfer. If it fails because the job has failed, raises the error of the job."""
        try:
            return action()
        except errors.AlpaError:
            failure = self._stream.failure_soon()
            if failure is not None:
                raise failure from None
            raise


class _StepStream:
    """The RunSteps call of one job, and the step results that this process has received from it."""

    def __init__(self, jobs, job_id, epoch, scalars, on_failure):
        self.failure = None
        self._on_failure = on_failure  # called once, by the thread that reads results
        self.metrics = collections.deque(maxlen=METRICS_KEPT)
        self._jobs = jobs
        self._job_id = job_id
        self._epoch = epoch
        self._scalars = scalars
        self._waiting = weakref.WeakValueDictionary()  # {step number: Step}; only Steps to which a handle refers
        self._commands = collections.deque()
        self._changed = threading.Condition()
        self._done = 0
        self._closing = False
        self._call = jobs.RunSteps(self._outgoing())
        self._reader = threading.Thread(target=self._read, name=f"alpa-steps-{job_id}", daemon=True)
        self._reader.start()

    def send(self, first, count, slot, slots, step):
        command = pb.StepCommand(job_id=self._job_id, epoch=self._epoch, first_step=first, count=count,
                                 first_batch_slot=slot, batch_slots=slots)
        with self._changed:
            self._raise_failure()
            self._waiting[step.number] = step
            self._commands.append(command)
            self._changed.notify_all()

    def wait_for(self, step):
        """Waits until step number `step` is done. If the job fails before that, raises the failure."""
        with self._changed:
            while self._done < step:
                self._raise_failure()
                self._changed.wait()

    def check(self):
        with self._changed:
            self._raise_failure()

    def failure_soon(self):
        """Waits at most 2 s for the failure of the job. Returns the failure, or None if the job has not failed."""
        with self._changed:
            if self.failure is None:
                self._changed.wait_for(lambda: self.failure is not None, timeout=2.0)
            if self.failure is not None:
                return self.failure
        return self._describe_failure(None)

    def close(self):
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if threading.current_thread() is not self._reader:
            self._reader.join(timeout=5)
        self._call.cancel()

    def _raise_failure(self):
        if self.failure is not None:
            raise self.failure.with_traceback(None)

    def _outgoing(self):
        while True:
            with self._changed:
                while not self._commands and not self._closing and self.failure is None:
                    self._changed.wait()
                if not self._commands or self.failure is not None:
                    return
                command = self._commands.popleft()
            yield command

    def _read(self):
        error = None
        try:
            for result in self._call:
                self._take(result)
        except grpc.RpcError as e:
            error = e
        with self._changed:
            if self._closing:
                return
        failure = self._describe_failure(error) or errors.AlpaError(f"job {self._job_id}: the coordinator ended the "
                                                                    "stream of steps", "STREAM_ENDED")
        with self._changed:
            self.failure = failure
            self._changed.notify_all()
        self._on_failure()

    def _take(self, result):
        found = {s.output: s.data for s in result.scalars}
        record = {"step": result.step, "seconds": result.seconds, "device_bytes": result.device_bytes}
        for output, (path, leaf_type) in self._scalars.items():
            if len(found.get(output, b"")) == leaf_type.nbytes:
                record[path] = np.frombuffer(found[output], leaf_type.dtype)[0].item()
        with self._changed:
            step = self._waiting.pop(result.step, None)
            if step is not None:
                step.scalars = found
            self.metrics.append(record)
            self._done = max(self._done, result.step)
            self._changed.notify_all()

    def _describe_failure(self, error):
        """Returns the error of the job if the coordinator reports one, otherwise the error of the stream. Returns None
        if `error` is None and the job has not ended."""
        try:
            job = self._jobs.GetJob(pb.JobRequest(job_id=self._job_id), timeout=5.0)
        except (grpc.RpcError, ValueError):  # ValueError: the channel was closed
            job = None
        if job is not None and job.state in _FINAL:
            return job_failure(job)
        return errors.from_rpc(error, f"running job {self._job_id}") if error is not None else None


def _end_job(jobs, job_id, stream, link, failed):
    """Closes the stream and the connections of a run. If `failed`, stops the job; otherwise finishes the job."""
    stream.close()
    link.close()
    try:
        rpc.call(jobs.StopJob if failed else jobs.FinishJob, pb.JobRequest(job_id=job_id), f"ending job {job_id}",
                 timeout=10.0)
    except (errors.AlpaError, ValueError) as e:  # ValueError: the channel was closed
        _log.log(logging.DEBUG if failed else logging.WARNING, "%s", e)


def job_failure(job):
    """Returns the exception for a job in a final state."""
    state = pb.Job.State.Name(job.state)
    where = "".join(f" {word} {value}" for word, value in (("on worker", job.failed_worker), ("at", job.failed_op))
                    if value)
    message = f"job {job.job_id} {state}{where}: {job.reason or 'no reason given'}"
    planning = errors.from_reason(job.error_reason, message) if job.error_reason else None
    if (planning is not None and not isinstance(planning, errors.JobFailedError)
            and type(planning) is not errors.AlpaError):
        return planning
    return errors.JobFailedError(message, job.error_reason or state, pb.Job.Cause.Name(job.cause), job.failed_worker,
                                 job.failed_op)


def block_until_ready(tree):
    """Waits for the steps that compute the handles of a pytree, without fetching the values. Returns the pytree."""
    for value in jax.tree_util.tree_leaves(tree):
        if isinstance(value, handles.StateHandle):
            value._run.wait()
        elif isinstance(value, handles.AuxHandle):
            value._run._stream.wait_for(value._token.number)
    return tree
