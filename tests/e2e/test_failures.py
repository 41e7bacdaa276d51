"""Tests that each failure is reported clearly and in time, and that it harms no other job."""

import os
import signal
import sys
import threading
import time

import alpa
import cases
import grpc
import jax
import jax.numpy as jnp
import models
import numpy as np
import pytest
import xxhash
from alpa import cluster as cluster_module
from alpa import program as program_module
from alpa._proto import job_service_pb2 as pb
from alpa._proto import tensor_service_pb2
from alpa.local import find_binary
from compare import run_ours

LEASE_SECONDS = 10.0  # the coordinator counts a worker as lost after this silence
LIMIT = LEASE_SECONDS + 10.0  # seconds within which a failure must be reported


def small():
    step, state, batches, _ = cases.case("mlp", "sgd")
    return step, state, batches


def still_works(cluster):
    """Checks that the cluster runs a job correctly. Returns whether all daemons of the cluster are running."""
    step, state, batches, reference = cases.case("mlp", "sgd")
    with cluster.parallelize(step, alpa.DataParallel(1), timeout=60) as run:
        reference.check(run_ours(run, state, batches, cases.STEPS))
    return all(p.poll() is None for p in (cluster._daemons.coordinator, *cluster._daemons.workers.values()))


# ---- invalid programs and requests, sent without the checks of the Python package ----


def send_program(cluster, module):
    cluster._upload(module, xxhash.xxh64_intdigest(module))
    return xxhash.xxh64_intdigest(module)


def traced():
    step, state, batches = small()
    return program_module.trace(program_module.Signature.of_step(step), (state, batches[0]))


def submit(cluster, module, roles, timeout=30, **plan):
    """Submits a job that the coordinator must refuse. Raises the AlpaError of the refusal, or fails the test if the job
    runs."""
    request = pb.SubmitRequest(name="bad", program_hash=send_program(cluster, module), roles=roles,
                               plan=pb.PlanRequest(devices=1, **plan))
    job = None
    try:
        job = cluster._jobs.Submit(request, timeout=30)
        cluster._wait_running(job, timeout)
    except grpc.RpcError as e:
        raise alpa.errors.from_rpc(e, "submitting") from None
    finally:
        if job is not None:
            cluster._give_up(job.job_id)
    pytest.fail("the coordinator accepted and started the job, but must refuse it")


@pytest.mark.parametrize("cut", [0.0, 0.1, 0.5, 0.9, 0.999], ids=lambda c: f"first {c:.1%}")
def test_a_truncated_program_is_refused(cluster, cut):
    program = traced()
    module = program.module[:max(1, int(len(program.module) * cut))]
    with pytest.raises(alpa.AlpaError) as e:
        submit(cluster, module, cluster_module.roles_proto(program))
    assert e.value.reason == "BAD_PROGRAM", (e.value.reason, str(e.value))


def test_a_corrupt_program_is_refused_or_harmless(cluster):
    program = traced()
    rng = np.random.default_rng(0)
    for _ in range(12):
        module = bytearray(program.module)
        for at in rng.integers(0, len(module), 8):
            module[at] ^= 1 << rng.integers(0, 8)
        try:
            submit(cluster, bytes(module), cluster_module.roles_proto(program))
        except alpa.AlpaError as e:
            assert e.reason not in ("INTERNAL", "UNKNOWN"), str(e)
        except pytest.fail.Exception:
            pass  # the damage did not make the program invalid
    assert still_works(cluster)


@pytest.mark.parametrize("damage,word", [
    (lambda roles: roles.inputs.pop(), "input"),
    (lambda roles: roles.outputs.pop(), "output"),
    (lambda roles: setattr(roles.outputs[0], "state_input", 10_000), "10000"),
    (lambda roles: setattr(roles.outputs[0], "state_input", 1), "shape|replaced"),
    (lambda roles: setattr(roles.inputs[1], "path", roles.inputs[0].path), "two inputs"),
])
def test_wrong_role_tables_are_refused(cluster, damage, word):
    program = traced()
    roles = cluster_module.roles_proto(program)
    damage(roles)
    with pytest.raises(alpa.AlpaError, match=f"(?i){word}"):
        submit(cluster, program.module, roles)


@pytest.mark.parametrize("plan,word", [
    ({"data_parallel": 3}, "3"), ({"microbatches": 7}, "7"), ({"microbatches": -1}, "-1|micro"),
    ({"microbatches": 2, "batch_dims": [{"leaf": 999, "dim": 0}]}, "999"),
    ({"microbatches": 2, "batch_dims": [{"leaf": 8, "dim": 9}]}, "9"),
    ({"workers": ["nobody"]}, "nobody"),
])
def test_plan_requests_that_do_not_fit_the_program_or_the_cluster_are_refused(cluster, plan, word):
    program = traced()
    with pytest.raises(alpa.AlpaError, match=word):
        submit(cluster, program.module, cluster_module.roles_proto(program), timeout=5, **plan)


def test_an_unknown_program_is_refused(cluster):
    program = traced()
    request = pb.SubmitRequest(name="x", program_hash=12345, roles=cluster_module.roles_proto(program))
    with pytest.raises(alpa.ProgramError, match="not been uploaded"):
        cluster._wait_running(cluster._jobs.Submit(request, timeout=10), 10)


def test_an_unsupported_op_is_refused_with_its_name_and_source_location(cluster):
    def spectral(state, batch):
        return state + jnp.abs(jnp.fft.fft(batch["x"])).sum(), None

    with pytest.raises(alpa.UnsupportedOpError, match="(?s)fft.*test_failures.py"):
        cluster.parallelize(spectral, devices=1, timeout=60)(np.float32(0), {"x": np.ones((4, 8), np.float32)})


def test_a_request_for_more_devices_than_exist_is_reported(cluster):
    step, state, batches = small()
    with pytest.raises(alpa.AlpaError) as e:
        cluster.parallelize(step, alpa.DataParallel(64), timeout=3)(state, batches[0])
    assert "64" in str(e.value), str(e.value)


# ---- misuse of a running job ----


def test_invalid_puts_are_refused_and_the_job_continues(cluster):
    step, state, batches, reference = cases.case("mlp", "sgd")
    with cluster.parallelize(step, alpa.DataParallel(2, microbatches=2), workers=["pair-0"], timeout=60) as run:
        handles, _ = run(state, batches[0])
        run.wait()
        calls = next(iter(run._link._calls.values()))[0]
        ref = run._link._ref

        def put(ref_, data):
            chunk = tensor_service_pb2.PutChunk(ref=ref_, data=data).SerializeToString()
            with pytest.raises(grpc.RpcError) as e:
                calls.put(iter([chunk]), timeout=10)
            assert e.value.code() not in (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL,
                                          grpc.StatusCode.DEADLINE_EXCEEDED), e.value.details()
            return e.value.details()

        from alpa.tensors import BATCH, STATE, Region
        leaf = run._program.batch_inputs()[0]
        full = Region((0, 0), (32, 16))
        put(ref(BATCH, leaf, 0, full), b"short")
        put(ref(BATCH, leaf, 5000, full), bytes(32 * 16 * 4))
        put(ref(BATCH, 999, 0, full), bytes(32 * 16 * 4))
        put(ref(BATCH, leaf, 0, Region((0, 0), (64, 16))), bytes(64 * 16 * 4))
        put(ref(BATCH, leaf, 0, Region((-1, 0), (32, 16))), bytes(32 * 16 * 4))
        put(ref(BATCH, leaf, 0, Region((0,), (32,))), bytes(32 * 4))
        old = ref(BATCH, leaf, 0, full)
        old.epoch += 7
        put(old, bytes(32 * 16 * 4))
        nobody = ref(BATCH, leaf, 0, full)
        nobody.job_id = "nobody"
        put(nobody, bytes(32 * 16 * 4))
        assert "7" in put(ref(STATE, 0, 7, Region((0,), (1,))), bytes(4))
        with pytest.raises(grpc.RpcError):
            list(calls.get(tensor_service_pb2.GetRequest(ref=ref(STATE, 0, 0, Region((0,), (1,)))), timeout=10))

        auxes = []
        for i in range(1, cases.STEPS):
            handles, aux = run(handles, batches[i % 3])
            auxes.append(alpa.fetch(aux))
        want = reference.base.aux[-1]["['loss']"]
        assert abs(float(auxes[-1]["loss"]) - want) <= 1e-4 * abs(want)


def test_a_step_that_is_not_next_is_refused(cluster):
    step, state, batches = small()
    run = cluster.parallelize(step, alpa.DataParallel(1), timeout=60)
    state, _ = run(state, batches[0])
    run.wait()
    epoch = run._stream._epoch
    for first, wrong_epoch in ((5, 0), (1, 0), (2, 9)):
        command = pb.StepCommand(job_id=run.job_id, epoch=epoch + wrong_epoch, first_step=first, count=1, batch_slots=1)
        with pytest.raises(grpc.RpcError):
            list(cluster._jobs.RunSteps(iter([command]), timeout=20))
    state, aux = run(state, batches[1])
    assert np.isfinite(float(aux["loss"]))
    run.close()


def test_a_stale_handle_is_refused(cluster):
    step, state, batches = small()
    with cluster.parallelize(step, alpa.DataParallel(2), workers=["pair-0"], timeout=60) as run:
        first, _ = run(state, batches[0])
        run(first, batches[1])
        with pytest.raises(alpa.StaleStateError, match="gone"):
            alpa.fetch(first)


def test_an_unreachable_coordinator_is_reported_in_time():
    begin = time.monotonic()
    with pytest.raises(alpa.UnreachableError, match="127.0.0.1:9"):
        alpa.connect("127.0.0.1:9", timeout=2)
    assert time.monotonic() - begin < 5


# ---- several jobs on one cluster ----


def test_two_concurrent_jobs_equal_jit(cluster):
    found, errors = {}, []

    def train(name, worker):
        try:
            step, state, batches, reference = cases.case(name, "adamw")
            with cluster.parallelize(step, alpa.DataParallel(2, microbatches=2), workers=[worker], timeout=60) as run:
                found[name] = run_ours(run, state, batches, cases.STEPS)
                reference.check(found[name])
        except Exception as e:
            errors.append(e)

    cases.case("gpt", "adamw"), cases.case("mlp", "adamw")
    threads = [threading.Thread(target=train, args=pair) for pair in (("gpt", "pair-0"), ("mlp", "pair-1"))]
    [t.start() for t in threads]
    [t.join(120) for t in threads]
    assert not errors and len(found) == 2, errors


def test_a_job_waits_for_devices_and_then_runs(cluster):
    step, state, batches = small()
    first = cluster.parallelize(step, alpa.DataParallel(2), workers=["pair-0"], timeout=60)
    first(state, batches[0])
    out = []
    second = cluster.parallelize(step, alpa.DataParallel(2), workers=["pair-0"], name="waits", timeout=60)
    thread = threading.Thread(target=lambda: out.append(float(second(state, batches[0])[1]["loss"])))
    thread.start()
    deadline = time.monotonic() + 10
    waiting = []
    while not waiting and time.monotonic() < deadline:
        waiting = [j for j in cluster.jobs() if j.name == "waits" and j.state == pb.Job.PENDING and j.reason]
        time.sleep(0.05)
    assert waiting, [(j.name, j.state, j.reason) for j in cluster.jobs()][-3:]
    assert "2" in waiting[0].reason
    first.close()
    thread.join(30)
    assert len(out) == 1
    second.close()


@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
def test_a_lost_worker_fails_its_job_in_time_and_no_other_job(fresh_cluster, signal_):
    cluster = fresh_cluster({"one": 1, "two": 1, "other": 1})
    step, state, batches, reference = cases.case("mlp", "sgd")
    doomed = cluster.parallelize(step, alpa.DataParallel(2), workers=["one", "two"], timeout=60)
    safe = cluster.parallelize(step, alpa.DataParallel(1), workers=["other"], timeout=60)
    doomed_state, _ = doomed(state, batches[0])
    doomed.wait()
    safe_state, _ = safe(state, batches[0])
    victim = cluster._daemons.workers["two"]
    os.kill(victim.pid, signal_)
    begin = time.monotonic()
    try:
        with pytest.raises(alpa.JobFailedError) as e:
            while time.monotonic() < begin + LIMIT:
                doomed_state, aux = doomed(doomed_state, batches[1])
                alpa.fetch(aux["loss"])
        assert time.monotonic() - begin < LIMIT
        assert e.value.cause == "INFRASTRUCTURE" and e.value.worker == "two", str(e.value)
        with pytest.raises(alpa.JobFailedError):
            alpa.fetch(doomed_state)
        assert doomed.describe().state == pb.Job.FAILED
        for i in range(1, 4):
            safe_state, aux = safe(safe_state, batches[i % 3])
            assert abs(float(aux["loss"]) - reference.base.aux[i]["['loss']"]) < 1e-4
        up = {w.name: w.up for w in cluster.describe().workers}
        assert up["one"] and up["other"] and not up.get("two", False)
        # Worker "one" is free again and works.
        with cluster.parallelize(step, alpa.DataParallel(1), workers=["one"], timeout=60) as again:
            _, aux = again(state, batches[0])
            assert abs(float(aux["loss"]) - reference.base.aux[0]["['loss']"]) < 1e-4
    finally:
        os.kill(victim.pid, signal.SIGCONT) if victim.poll() is None else None


def test_a_worker_that_dies_during_a_step_fails_its_job(fresh_cluster):
    cluster = fresh_cluster({"one": 1, "two": 1})
    config = models.Gpt(length=64, width=128, layers=4)
    step, state = cases.training(models.gpt_loss(config), models.init_gpt(config, jax.random.key(0)), "sgd")
    batch = cases.tokens(0, 64, 32)
    run = cluster.parallelize(step, alpa.DataParallel(2), timeout=60)
    state, aux = run(state, batch)
    alpa.fetch(aux["loss"])
    state, aux = run.steps(state, [batch], 50)
    time.sleep(0.5)
    cluster._daemons.workers["one"].kill()
    begin = time.monotonic()
    with pytest.raises(alpa.JobFailedError) as e:
        alpa.fetch(aux["loss"])
    assert time.monotonic() - begin < LIMIT and e.value.worker == "one", str(e.value)


def test_the_death_of_the_coordinator_is_reported_in_time(fresh_cluster):
    cluster = fresh_cluster({"one": 1})
    step, state, batches = small()
    run = cluster.parallelize(step, timeout=60)
    state, _ = run(state, batches[0])
    run.wait()
    cluster._daemons.coordinator.kill()
    begin = time.monotonic()
    with pytest.raises(alpa.AlpaError):
        for i in range(100):
            state, aux = run(state, batches[0])
            alpa.fetch(aux["loss"])
    assert time.monotonic() - begin < LIMIT


def test_a_killed_coordinator_restarts_with_everything_that_it_acknowledged(fresh_cluster):
    cluster = fresh_cluster({"one": 1, "two": 1})
    daemons = cluster._daemons
    step, state, batches, reference = cases.case("mlp", "sgd")
    with cluster.parallelize(step, alpa.DataParallel(1), workers=["one"], timeout=60) as run:
        finished_state, _ = run(state, batches[0])
        run.wait()
        finished = run.job_id
    doomed = cluster.parallelize(step, alpa.DataParallel(2), timeout=60)
    doomed_state, _ = doomed(state, batches[0])
    doomed.steps(doomed_state, batches, 200_000)  # the coordinator is killed during these steps
    program = traced()
    request = pb.SubmitRequest(job_id="waits", program_hash=send_program(cluster, program.module),
                               roles=cluster_module.roles_proto(program), plan=pb.PlanRequest(devices=1))
    assert cluster._jobs.Submit(request, timeout=10).state == pb.Job.PENDING
    while not doomed.metrics or doomed.metrics[-1]["step"] < 20:
        time.sleep(0.01)
    epoch = cluster.describe().cluster_epoch
    daemons.coordinator.kill()
    daemons.coordinator.wait()
    begin = time.monotonic()
    with pytest.raises(alpa.AlpaError):
        while time.monotonic() < begin + LIMIT:
            doomed.wait()

    restart_coordinator(daemons)
    again = cluster_module.Cluster(daemons.address, 30)
    try:
        jobs = {job.job_id: job for job in again.jobs()}
        assert list(jobs) == [finished, doomed.job_id, "waits"]
        assert jobs[finished].state == pb.Job.SUCCEEDED
        failed = jobs[doomed.job_id]
        assert failed.state == pb.Job.FAILED and failed.cause == pb.Job.INFRASTRUCTURE
        assert "restarted" in failed.reason and failed.error_reason == "JOB_FAILED"
        daemons.wait_for_workers(again, 2)  # the workers reconnect by themselves
        assert again.describe().cluster_epoch > epoch
        # The waiting job gets devices without a new request. A second submission with the same id returns this job.
        assert again._wait_running(again._jobs.Submit(request, timeout=10), 30).state == pb.Job.RUNNING
        again.stop("waits")
        with again.parallelize(step, alpa.DataParallel(2), timeout=60) as run:
            reference.check(run_ours(run, state, batches, cases.STEPS))
    finally:
        again._channel.close()


# ---- planners that crash or hang ----

# The socket to the coordinator is descriptor 3. The script looks for the job's id at the start of the task that the
# coordinator sends. The task stays in the socket.
PLANNER = """#!{python} -SE
import os, signal, socket, sys
task = socket.socket(fileno=os.dup(3)).recv(4096, socket.MSG_PEEK)
if b"crashes" in task:
    os.kill(os.getpid(), signal.SIGSEGV)
if b"hangs" in task:  # the planner waits for a task that never comes
    open("{pids}", "a").write(str(os.getpid()) + "\\n")
    os.set_inheritable(os.dup(3), True)
    ours, theirs = socket.socketpair()
    ours.set_inheritable(True)
    os.dup2(theirs.fileno(), 3)
os.execv("{planner}", ["{planner}", *sys.argv[1:]])
"""


@pytest.fixture
def bad_planner(tmp_path):
    """Returns the path of a planner that crashes for the job "crashes" and hangs for the job "hangs". Also returns a
    function that returns the ids of all planner processes that have hung, including those that have ended."""
    path, pids = tmp_path / "planner", tmp_path / "pids"
    pids.touch()
    path.write_text(PLANNER.format(python=sys.executable, planner=find_binary("alpa-planner"), pids=pids))
    path.chmod(0o755)
    return str(path), lambda: [int(pid) for pid in pids.read_text().split()]


def submit_as(cluster, job_id):
    program = traced()
    return cluster._jobs.Submit(pb.SubmitRequest(
        job_id=job_id, program_hash=send_program(cluster, program.module), roles=cluster_module.roles_proto(program),
        plan=pb.PlanRequest(devices=1)), timeout=10)


def wait_until(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def restart_coordinator(daemons, *flags):
    daemons.coordinator, _ = daemons._start(
        "alpa-coordinator", "coordinator",
        ["--listen", daemons.address, "--http", "127.0.0.1:0", "--data-dir", str(daemons.directory / "coordinator"),
         *flags])


def is_running(pid):
    """Returns whether the process runs. A zombie, which only waits for its parent to read its exit code, does not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_program_whose_planning_crashes_fails_its_job_alone(fresh_cluster, bad_planner):
    planner, _ = bad_planner
    cluster = fresh_cluster({"one": 1, "two": 1}, "--planner", planner)
    step, state, batches, reference = cases.case("mlp", "sgd")

    def check_crashed(jobs):
        job = {job.job_id: job for job in jobs}["crashes"]
        assert (job.state, job.cause, job.error_reason) == (pb.Job.FAILED, pb.Job.PLATFORM, "INTERNAL"), job
        assert "signal 11" in job.reason and "report it" in job.reason

    with cluster.parallelize(step, alpa.DataParallel(1), timeout=60) as run:
        submit_as(cluster, "crashes")
        reference.check(run_ours(run, state, batches, cases.STEPS))
    wait_until(lambda: cluster._jobs.GetJob(pb.JobRequest(job_id="crashes"), timeout=10).state >= pb.Job.SUCCEEDED)
    check_crashed(cluster.jobs())

    daemons = cluster._daemons
    daemons.coordinator.kill()
    daemons.coordinator.wait()
    restart_coordinator(daemons, "--planner", planner)
    again = cluster_module.Cluster(daemons.address, 30)
    try:
        daemons.wait_for_workers(again, 2)
        with again.parallelize(step, alpa.DataParallel(2), timeout=60) as run:
            reference.check(run_ours(run, state, batches, cases.STEPS))
        check_crashed(again.jobs())
        events = [event.kind for event in again._jobs.GetEvents(pb.JobRequest(job_id="crashes"), timeout=10)]
        assert events == ["submitted", "planning", "failed"]
    finally:
        again._channel.close()


def test_stopping_a_job_ends_its_planning(fresh_cluster, bad_planner):
    planner, pids = bad_planner
    cluster = fresh_cluster({"one": 1}, "--planner", planner)
    submit_as(cluster, "hangs")
    wait_until(pids)
    assert is_running(pids()[0])
    cluster.stop("hangs")
    wait_until(lambda: not is_running(pids()[0]), 2)
    assert still_works(cluster)


def test_planning_that_the_end_of_the_coordinator_interrupts_is_not_repeated_for_ever(fresh_cluster, bad_planner):
    planner, pids = bad_planner
    cluster = fresh_cluster({"one": 1}, "--planner", planner)
    daemons = cluster._daemons
    submit_as(cluster, "hangs")
    # The first shutdown is orderly: it does not wait for the plan, and does not count as an interruption.
    for life, end in enumerate([signal.SIGTERM, signal.SIGKILL, signal.SIGKILL, signal.SIGKILL]):
        wait_until(lambda: len(pids()) == life + 1)
        begin = time.monotonic()
        daemons.coordinator.send_signal(end)
        daemons.coordinator.wait(10)
        assert time.monotonic() - begin < 5
        wait_until(lambda: not is_running(pids()[-1]), 10)  # the planner dies with the coordinator
        restart_coordinator(daemons, "--planner", planner)
    again = cluster_module.Cluster(daemons.address, 30)
    try:
        daemons.wait_for_workers(again, 1)
        job, = again.jobs()
        assert (job.state, job.cause, job.error_reason) == (pb.Job.FAILED, pb.Job.PLATFORM, "INTERNAL"), job
        assert "interrupted 3 times" in job.reason
        assert len(pids()) == 4
    finally:
        again._channel.close()


def test_sigterm_drains_the_coordinator(fresh_cluster):
    cluster = fresh_cluster({"one": 1}, "--drain-timeout", "2")
    begin = time.monotonic()
    cluster._daemons.coordinator.send_signal(signal.SIGTERM)
    assert cluster._daemons.coordinator.wait(10) == 0
    assert time.monotonic() - begin < 8


def test_the_shared_cluster_still_works_after_these_failures(cluster):
    assert still_works(cluster)
