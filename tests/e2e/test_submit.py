"""Tests the `alpa` command: its exit codes, its output, and its runs of job directories that the Python package
wrote."""

import contextlib
import functools
import json
import os
import pathlib
import pty
import re
import select
import signal
import subprocess
import threading
import time

import alpa
import cases
import jax.numpy as jnp
import numpy as np
import pytest
from alpa._proto import job_service_pb2 as pb
from alpa.local import find_binary
from compare import Trajectory, named_leaves
from daemons import run_alpa
from safetensors.numpy import load_file

DONE, FAILED, USAGE, UNREACHABLE, REFUSED, NOT_FOUND, TIMED_OUT, NO_PLAN, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 7, 130
ROOT = pathlib.Path(__file__).resolve().parents[2]


def command(cluster, *arguments):
    return [find_binary("alpa"), "--address", cluster.address, *map(str, arguments)]


def cli(cluster, *arguments, timeout=120):
    return run_alpa("--address", cluster.address, *arguments, timeout=timeout)


@contextlib.contextmanager
def running(cluster, *arguments):
    """Starts `alpa` with pipes as stdout and stderr. Yields the process, and kills it at the end if it still runs."""
    process = subprocess.Popen(command(cluster, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_for(process, pattern, timeout=60):
    """Reads stderr up to the first line that matches `pattern`. Returns the match. Fails the test if no line
    matches."""
    late = threading.Timer(timeout, process.kill)
    late.start()
    try:
        messages = ""
        for line in process.stderr:
            messages += line
            if match := re.search(pattern, line):
                return match
        pytest.fail(f"no line on stderr matches '{pattern}': {messages}")
    finally:
        late.cancel()


def state_of(cluster, job_id):
    return cluster._jobs.GetJob(pb.JobRequest(job_id=job_id)).state


def by_path(arrays, root):
    return {path.removeprefix(root): value for path, value in arrays.items()}


@functools.cache
def mlp():
    return cases.case("mlp", "sgd")


@pytest.fixture
def job(tmp_path):
    """Writes a job directory. Each step of this job takes about a millisecond."""
    step, state, batches, _ = mlp()
    return alpa.save_job(tmp_path / "job", step, state, batches, plan=alpa.DataParallel(1))


def chain(state, batch):
    """Returns a state that depends on the batches of all steps so far, and on their order."""
    state = state * 31 + jnp.sum(batch)
    return state, {"state": state}


def save_chain(path, count):
    batches = [np.array([7 * i, 3], np.int32) for i in range(count)]
    alpa.save_job(path, chain, np.int32(5), batches, devices=1)
    return batches


def chained(batches, steps):
    """Returns the state after each of `steps` steps of chain()."""
    state, out = 5, []
    for i in range(steps):
        state = (state * 31 + int(batches[i % len(batches)].sum())) % 2**32
        out.append(state - 2**32 * (state >= 2**31))
    return out


# ---- results of runs ----


@pytest.mark.parametrize("name,devices,k", [("gpt_dropout", 2, 2), ("mlp", 1, 4)])
def test_a_submitted_job_equals_jit(cluster, tmp_path, name, devices, k):
    step, state, batches, reference = cases.case(name, "adamw")
    alpa.save_job(tmp_path / "job", step, state, batches, plan=alpa.DataParallel(devices, microbatches=k))
    done = cli(cluster, "submit", tmp_path / "job", "--steps", cases.STEPS, "--output", tmp_path / "out")
    assert done.returncode == DONE, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, cases.STEPS + 1))
    last = by_path(load_file(tmp_path / "out" / "state.safetensors"), "state")
    aux = [{"['loss']": np.float32(line["aux['loss']"])} for line in lines]
    reference.check(Trajectory(named_leaves(state), last, aux))
    kept = load_file(tmp_path / "out" / "aux.safetensors")
    assert kept["aux['loss']"] == pytest.approx(lines[-1]["aux['loss']"], rel=1e-6)


def test_all_aux_of_the_last_step_is_written(cluster, tmp_path):
    step, state, batches, reference = mlp()
    alpa.save_job(tmp_path / "job", step, state, batches, plan=alpa.DataParallel(2))
    done = cli(cluster, "submit", tmp_path / "job", "--steps", cases.STEPS, "--output", tmp_path / "out")
    assert done.returncode == DONE, done.stderr
    check_outputs(tmp_path / "out", reference)


def check_outputs(out, reference):
    """Checks that folder `out` holds exactly the three output files, and that state and aux equal the reference."""
    kept = by_path(load_file(out / "aux.safetensors"), "aux")
    last = by_path(load_file(out / "state.safetensors"), "state")
    reference.check(Trajectory(reference.base.first, last, reference.base.aux[:-1] + [kept]))
    assert sorted(path.name for path in out.iterdir()) == ["aux.safetensors", "metrics.jsonl", "state.safetensors"]


def test_plan_flags_override_the_job_directory(cluster, tmp_path):
    step, state, batches, reference = mlp()
    alpa.save_job(tmp_path / "job", step, state, batches, plan=alpa.DataParallel(1))
    done = cli(cluster, "submit", tmp_path / "job", "--steps", cases.STEPS, "--output", tmp_path / "out", "-o", "json",
               "--data-parallel", 4, "--microbatches", 2, "--only-workers", "pair-0,pair-1")
    assert done.returncode == DONE, done.stderr
    assert len(json.loads(done.stdout)["devices"]) == 4 and "2 microbatches" in done.stderr
    check_outputs(tmp_path / "out", reference)


def test_batches_are_used_in_turn(cluster, tmp_path):
    batches = save_chain(tmp_path / "job", 5)
    done = cli(cluster, "submit", tmp_path / "job", "--steps", 23, "--output", tmp_path / "out")
    assert done.returncode == DONE, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert [line["aux['state']"] for line in lines] == chained(batches, 23)


def test_more_batches_than_the_workers_hold_are_sent_in_turn(cluster, tmp_path):
    batches = save_chain(tmp_path / "job", 1100)
    job_id = "windows"
    submit = ("submit", tmp_path / "job", "--steps", 2500, "--output", tmp_path / "out", "--job-id", job_id)
    refused = cli(cluster, *submit, "--detach")
    assert refused.returncode == USAGE and "1100" in refused.stderr
    with running(cluster, *submit) as process:
        wait_for(process, r"^step ")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert process.returncode == INTERRUPTED
    done = cli(cluster, *submit)
    assert done.returncode == DONE, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert [line["aux['state']"] for line in lines] == chained(batches, 2500)


def test_two_concurrent_submissions_equal_jit(cluster, tmp_path):
    step, state, batches, reference = mlp()
    alpa.save_job(tmp_path / "job", step, state, batches, plan=alpa.DataParallel(2))
    submit = ("submit", tmp_path / "job", "--steps", cases.STEPS, "--output")
    with running(cluster, *submit, tmp_path / "a") as a, running(cluster, *submit, tmp_path / "b") as b:
        for process in (a, b):
            _, messages = process.communicate(timeout=120)
            assert process.returncode == DONE, messages
    check_outputs(tmp_path / "a", reference)
    check_outputs(tmp_path / "b", reference)


def test_submit_reports_that_its_job_waits_for_devices(cluster, job, tmp_path):
    hold = cli(cluster, "submit", job, "--devices", 4, "--steps", 3, "--detach", "--job-id", "holds-most")
    assert hold.returncode == DONE and hold.stdout == "holds-most\n", hold.stderr
    with running(cluster, "submit", job, "--devices", 4, "--steps", 3, "--output", tmp_path / "out") as waiting:
        assert "2 free of 6" in wait_for(waiting, "PENDING.*device").string
        assert cli(cluster, "stop", "holds-most").returncode == DONE
        _, messages = waiting.communicate(timeout=60)
        assert waiting.returncode == DONE, messages


def standalone(job, tmp_path, *arguments):
    """Starts `alpa run --standalone`. Its daemons keep their files under tmp_path / "daemons"."""
    (tmp_path / "daemons").mkdir()
    return subprocess.Popen([find_binary("alpa"), "run", "--standalone", job, *map(str, arguments)], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env={**os.environ, "TMPDIR": str(tmp_path / "daemons")})


def daemons_of(tmp_path):
    """Returns the process ids of the daemons of standalone()."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            command_line = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
            if str(tmp_path / "daemons").encode() in command_line:
                found.append(int(entry.name))
    return found


def test_run_standalone_equals_jit_and_leaves_no_daemons(tmp_path):
    step, state, batches, reference = mlp()
    alpa.save_job(tmp_path / "job", step, state, batches, plan=alpa.DataParallel(4))
    process = standalone(tmp_path / "job", tmp_path, "--steps", cases.STEPS, "--output", tmp_path / "out",
                         "--workers", 2, "-o", "json")
    data, messages = process.communicate(timeout=120)
    assert process.returncode == DONE, messages
    assert json.loads(data)["state"] == "SUCCEEDED"
    check_outputs(tmp_path / "out", reference)
    assert not daemons_of(tmp_path) and not list((tmp_path / "daemons").iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda s: s.name)
def test_a_signal_ends_run_standalone_and_its_daemons(job, tmp_path, number):
    process = standalone(job, tmp_path, "--steps", 1_000_000)
    try:
        wait_for(process, r"^step ")
        assert len(daemons_of(tmp_path)) == 2
        process.send_signal(number)
        _, messages = process.communicate(timeout=30)
    finally:
        process.kill()
    if number != signal.SIGKILL:
        assert process.returncode == INTERRUPTED and "nothing is kept" in messages
        assert not daemons_of(tmp_path) and not list((tmp_path / "daemons").iterdir())
    deadline = time.monotonic() + 30  # after a SIGKILL of the command, the daemons end by themselves
    while daemons_of(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not daemons_of(tmp_path)


# ---- interrupting and re-attaching ----


def test_ctrl_c_leaves_the_job_running(cluster, job, tmp_path):
    uninterrupted = cli(cluster, "submit", job, "--steps", 2000, "--output", tmp_path / "uninterrupted")
    assert uninterrupted.returncode == DONE, uninterrupted.stderr
    with running(cluster, "submit", job, "--steps", 2000, "--output", tmp_path / "out") as process:
        wait_for(process, r"^step ")
        process.send_signal(signal.SIGINT)
        _, messages = process.communicate(timeout=30)
    assert process.returncode == INTERRUPTED
    again = re.search(r"re-attach: (alpa submit .*--job-id (\S+).*)", messages)
    assert again and "continues to step 2000" in messages, messages
    assert not list((tmp_path / "out").iterdir())
    assert state_of(cluster, again[2]) == pb.Job.RUNNING
    words = again[1].split()
    assert words[0] == "alpa"
    done = subprocess.run([find_binary("alpa"), *words[1:]], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == DONE, done.stderr
    assert state_of(cluster, again[2]) == pb.Job.SUCCEEDED
    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 2001))
    for name in ("state.safetensors", "aux.safetensors"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "uninterrupted" / name).read_bytes()


def test_submit_re_attaches_to_a_detached_job(cluster, tmp_path):
    step, state, batches, reference = mlp()
    alpa.save_job(tmp_path / "job", step, state, batches, plan=alpa.DataParallel(2))
    submit = ("submit", tmp_path / "job", "--steps", cases.STEPS, "--output", tmp_path / "out",
              "--job-id", "left-alone")
    left = cli(cluster, *submit, "--detach")
    assert left.returncode == DONE and left.stdout == "left-alone\n", left.stderr
    assert not list((tmp_path / "out").iterdir())
    done = cli(cluster, *submit)
    assert done.returncode == DONE, done.stderr
    check_outputs(tmp_path / "out", reference)
    gone = cli(cluster, *submit)
    assert gone.returncode == REFUSED and "another --job-id" in gone.stderr
    other = cli(cluster, "submit", tmp_path / "job", "--steps", cases.STEPS + 1, "--job-id", "left-alone")
    assert other.returncode == REFUSED and "another --job-id" in other.stderr


def test_a_closed_stdout_ends_submit_and_not_the_job(cluster, job):
    """`alpa submit -o jsonl | head -1` closes stdout after one line."""
    with running(cluster, "submit", job, "--steps", 100_000, "-o", "jsonl", "--job-id", "unread") as process:
        assert json.loads(process.stdout.readline())["step"] == 1
        process.stdout.close()
        messages = process.stderr.read()
        assert process.wait(timeout=30) == INTERRUPTED and "re-attach" in messages
    assert cli(cluster, "stop", "unread").returncode == DONE


def test_a_killed_submit_leaves_no_incomplete_output(cluster, job, tmp_path):
    submit = ("submit", job, "--steps", 100_000, "--output", tmp_path / "out", "--job-id", "killed")
    with running(cluster, *submit) as process:
        wait_for(process, r"^step ")
        process.kill()
    assert not [path for path in (tmp_path / "out").iterdir() if ".tmp." not in path.name]
    assert cli(cluster, "stop", "killed").returncode == DONE


# ---- exit codes ----


def test_damaged_and_missing_files_of_a_job_directory_are_named(cluster, tmp_path):
    step, state, batches, _ = mlp()
    job = alpa.save_job(tmp_path / "job", step, state, batches)

    def fails(word):
        """Checks that submit reports a usage error with `word`."""
        done = cli(cluster, "submit", job, "--steps", 2, "--output", tmp_path / "out")
        assert done.returncode == USAGE, (done.returncode, done.stderr)
        assert word in done.stderr, done.stderr

    program = (job / "program.hlo.pb").read_bytes()
    (job / "program.hlo.pb").write_bytes(program[:len(program) // 2])
    fails("program")
    (job / "program.hlo.pb").write_bytes(program)
    text = (job / "job.json").read_text()
    (job / "job.json").write_text(text[:-20])
    fails("job.json")
    (job / "job.json").write_text(text)
    state_file = (job / "state.safetensors").read_bytes()
    (job / "state.safetensors").write_bytes(state_file[:-8])
    fails("state.safetensors")
    (job / "state.safetensors").write_bytes(state_file)
    (job / "batch-00001.safetensors").unlink()
    fails("batch-00001")


@pytest.mark.parametrize("arguments,words", [
    (["no-such-command"], ["no-such-command", "alpa --help"]),
    (["sumbit", "job"], ["did you mean 'alpa submit'"]),
    (["submit"], ["DIR is missing", "alpa submit --help"]),
    (["submit", "/nowhere", "--steps", "1"], ["/nowhere is not a directory", "save_job"]),
    (["submit", "job", "--step", "1"], ["--step", "did you mean '--steps'"]),
    (["submit", "job", "--steps", "0"], ["--steps '0'", "expected 1 to"]),
    (["submit", "job", "--steps", "1", "--job-id", "Not Good"], ["--job-id 'Not Good'", "a-z, 0-9"]),
    (["run", "job", "--steps", "1"], ["--standalone", "alpa submit"]),
    (["list", "-o", "yaml"], ["'yaml'", "table, json, jsonl"]),
    (["list", "--state", "asleep"], ["'asleep'", "recovering"]),
    (["logs", "x", "-f", "-o", "json"], ["jsonl"]),
    (["completion", "csh"], ["bash, zsh, fish"]),
])
def test_a_usage_error_explains_the_mistake(cluster, arguments, words):
    done = cli(cluster, *arguments)
    assert done.returncode == USAGE and not done.stdout, (done.returncode, done.stderr)
    for word in words:
        assert word in done.stderr, done.stderr


def test_steps_must_be_specified(cluster, job):
    done = cli(cluster, "submit", job)
    assert done.returncode == USAGE and "--steps is missing" in done.stderr and "3 batches" in done.stderr


def test_an_unreachable_coordinator_is_reported(job):
    for arguments in (["list"], ["status", "x"], ["submit", str(job), "--steps", "1"], ["cluster"]):
        done = subprocess.run([find_binary("alpa"), "--address", "127.0.0.1:9", *arguments], capture_output=True,
                              text=True, timeout=60, check=False)
        assert done.returncode == UNREACHABLE and not done.stdout
        assert "127.0.0.1:9" in done.stderr and "alpa-coordinator --listen 127.0.0.1:9" in done.stderr


def test_the_environment_can_specify_the_address(cluster):
    done = subprocess.run([find_binary("alpa"), "cluster"], capture_output=True, text=True, timeout=60, check=False,
                          env={**os.environ, "ALPA_ADDRESS": cluster.address})
    assert done.returncode == DONE and "pair-0" in done.stdout


@pytest.mark.parametrize("name", ["status", "logs", "stop", "delete"])
def test_an_unknown_job_is_reported(cluster, name):
    done = cli(cluster, name, "no-such-job")
    assert done.returncode == NOT_FOUND and not done.stdout
    assert "no-such-job" in done.stderr and "alpa list" in done.stderr


def test_an_unsupported_program_is_refused(cluster, job):
    (job / "program.hlo.pb").write_bytes((ROOT / "graph/testdata/unsupported.pb").read_bytes())
    done = cli(cluster, "submit", job, "--steps", 1)
    assert done.returncode == REFUSED, done.stderr


def test_an_infeasible_plan_is_reported(cluster, job):
    done = cli(cluster, "submit", job, "--steps", 1, "--microbatches", 7)
    assert done.returncode == NO_PLAN and "7" in done.stderr and "alpa cluster" in done.stderr, done.stderr


def test_submit_fails_if_its_job_is_stopped(cluster, job, tmp_path):
    with running(cluster, "submit", job, "--steps", 1_000_000, "--job-id", "to-stop", "--output", tmp_path / "out",
                 "-o", "json") as process:
        wait_for(process, r"^step ")
        stopped = cli(cluster, "stop", "to-stop")
        assert stopped.returncode == DONE and "STOPPED" in stopped.stderr
        data, messages = process.communicate(timeout=30)
    assert process.returncode == FAILED and "was stopped" in messages
    assert json.loads(data)["state"] == "STOPPED"
    assert not list((tmp_path / "out").iterdir())
    assert cli(cluster, "status", "to-stop", "--wait").returncode == FAILED


def test_submit_fails_if_a_worker_dies(fresh_cluster, job, tmp_path):
    cluster = fresh_cluster({"a": 1, "b": 1})
    with running(cluster, "submit", job, "--steps", 1_000_000, "--output", tmp_path / "out", "--job-id", "unlucky",
                 "--data-parallel", 2) as process:
        wait_for(process, r"^step ")
        cluster._daemons.workers["b"].kill()
        _, messages = process.communicate(timeout=30)
    assert process.returncode == FAILED and "INFRASTRUCTURE" in messages and "worker b" in messages, messages
    assert not list((tmp_path / "out").iterdir())


def test_submit_and_status_wait_no_longer_than_their_timeout(cluster, job):
    waits = cli(cluster, "submit", job, "--steps", 1, "--devices", 100, "--timeout", 1, "--job-id", "too-large")
    assert waits.returncode == TIMED_OUT and "alpa stop too-large" in waits.stderr, waits.stderr
    status = cli(cluster, "status", "too-large", "--wait", "--timeout", 0.5)
    assert status.returncode == TIMED_OUT and "PENDING" in status.stderr
    assert cli(cluster, "stop", "too-large").returncode == DONE


# ---- showing jobs and the cluster ----


def test_list_status_logs_cluster_stop_and_delete_follow_a_job(cluster, job):
    def data(*arguments, form="json"):
        done = cli(cluster, *arguments, "-o", form)
        assert done.returncode == DONE, done.stderr
        return json.loads(done.stdout) if form == "json" else [json.loads(line) for line in done.stdout.splitlines()]

    left = data("submit", job, "--steps", 100_000, "--job-id", "looked-at", "--detach", "--name", "of many steps")
    assert left["job_id"] == "looked-at" and left["steps_done"] >= 1
    table = cli(cluster, "list").stdout
    row = next(line for line in table.splitlines() if line.startswith("looked-at"))
    assert "of many steps" in row and "RUNNING" in row and "/100000" in row and table.splitlines()[0].endswith("REASON")
    assert "looked-at" in [entry["job_id"] for entry in data("list")]
    assert "looked-at" in [entry["job_id"] for entry in data("list", "--state", "running", form="jsonl")]
    assert "looked-at" not in [entry["job_id"] for entry in data("list", "--state", "failed,stopped")]
    status = data("status", "looked-at")
    assert status["state"] == "RUNNING" and status["plan"]
    assert data("status", "looked-at")["steps_done"] >= status["steps_done"]
    assert "RUNNING" in cli(cluster, "status", "looked-at").stdout
    (device,) = status["devices"]
    owners = {d["id"]: d["job_id"] for w in data("cluster")["workers"] for d in w["devices"]}
    assert owners[device] == "looked-at" and len(owners) == 6
    assert {worker["name"] for worker in data("cluster", form="jsonl")} == {"pair-0", "pair-1", "single-0", "single-1"}
    assert re.search(r"pair-0 +up +\d", cli(cluster, "cluster").stdout)
    assert [event["kind"] for event in data("logs", "looked-at")][0] == "submitted"
    assert "submitted" in cli(cluster, "logs", "looked-at").stdout

    early = cli(cluster, "delete", "looked-at")
    assert early.returncode == REFUSED and "alpa stop" in early.stderr
    with running(cluster, "logs", "looked-at", "-f", "-o", "jsonl") as following:
        events = [json.loads(following.stdout.readline())]
        while events[-1]["kind"] != "steps":
            events.append(json.loads(following.stdout.readline()))
        assert events[-1]["total_steps"] == 100_000
        assert data("stop", "looked-at")["state"] == "STOPPED"
        rest, _ = following.communicate(timeout=30)
        assert following.returncode == DONE and json.loads(rest.splitlines()[-1])["kind"] == "stopped"
    again = cli(cluster, "stop", "looked-at")
    assert again.returncode == DONE and "had already ended" in again.stderr
    assert data("delete", "looked-at") == {"deleted": "looked-at"}
    assert cli(cluster, "status", "looked-at").returncode == NOT_FOUND


def test_list_and_status_show_a_python_run(cluster):
    step, state, batches, _ = mlp()
    with cluster.parallelize(step, devices=1, name="listed", timeout=60) as run:
        run(state, batches[0])
        run.wait()
        listed = cli(cluster, "list")
        assert listed.returncode == DONE and run.job_id in listed.stdout
        status = cli(cluster, "status", run.job_id)
        assert status.returncode == DONE and "RUNNING" in status.stdout


def test_ctrl_c_ends_logs_and_status_and_not_the_job(cluster, job):
    assert cli(cluster, "submit", job, "--steps", 1_000_000, "--job-id", "watched", "--detach").returncode == DONE
    for arguments in (("logs", "watched", "-f"), ("status", "watched", "--wait")):
        with running(cluster, *arguments) as process:
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=10)
            assert process.returncode == INTERRUPTED
    assert state_of(cluster, "watched") == pb.Job.RUNNING
    assert cli(cluster, "stop", "watched").returncode == DONE


# ---- stdout, stderr, help and completion ----


def test_data_goes_to_stdout_and_messages_to_stderr(cluster, job):
    done = cli(cluster, "submit", job, "--steps", 5, "-o", "jsonl")
    assert [json.loads(line)["step"] for line in done.stdout.splitlines()] == [1, 2, 3, 4, 5]
    assert "step 5/5" in done.stderr and "\r" not in done.stderr and "\033" not in done.stderr
    table = cli(cluster, "submit", job, "--steps", 5)
    assert table.returncode == DONE and table.stdout == ""


def on_terminal(arguments, **environment):
    """Runs a command with a terminal as its stderr. Returns the text on the terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=theirs,
                               env={**os.environ, "TERM": "xterm", **environment})
    os.close(theirs)
    messages = b""
    while select.select([ours], [], [], 60)[0]:
        try:
            messages += os.read(ours, 4096)
        except OSError:  # a terminal reports its end of file as an error
            break
    os.close(ours)
    process.wait(timeout=60)
    return messages.decode()


def test_a_terminal_shows_a_progress_bar_and_colours(cluster, job):
    submit = command(cluster, "submit", job, "--steps", 50)
    assert re.search(r"\r\033\[K\[#+\] step 50/50", on_terminal(submit))
    assert "\033" not in on_terminal(submit, TERM="dumb")
    wrong = command(cluster, "status", "no-such-job")
    assert "\033[31merror" in on_terminal(wrong)
    assert "\033" not in on_terminal(wrong, NO_COLOR="1")


@pytest.mark.parametrize("name", ["run", "submit", "status", "list", "logs", "stop", "delete", "plan show",
                                  "plan verify", "plan lower", "plan make", "cluster", "version", "completion"])
def test_help_starts_with_examples(name):
    for arguments in ([*name.split(), "--help"], ["help", *name.split()]):
        done = subprocess.run([find_binary("alpa"), *arguments], capture_output=True, text=True, timeout=10, check=True)
        assert done.stdout.splitlines()[2:3] == ["Examples:"] and f"alpa {name}" in done.stdout
    everything = subprocess.run([find_binary("alpa"), "--help"], capture_output=True, text=True, timeout=10, check=True)
    assert everything.stdout.splitlines()[2:3] == ["Examples:"] and f"\n  {name} " in everything.stdout


def test_version_needs_no_coordinator():
    def version(*arguments):
        return subprocess.run([find_binary("alpa"), *arguments], capture_output=True, text=True, timeout=10,
                              check=True).stdout

    assert re.fullmatch(r"alpa \d+\.\d+\.\d+\n", version("version"))
    assert version("--version") == version("version")
    assert json.loads(version("version", "-o", "json"))["version"] in version("version")


def test_bash_completes_commands_flags_and_values(tmp_path):
    script = subprocess.run([find_binary("alpa"), "completion", "bash"], capture_output=True, text=True, timeout=10,
                            check=True).stdout

    def completed(*words):
        line = " ".join(f"'{word}'" for word in words)
        program = (f"{script}\nCOMP_WORDS=({line})\nCOMP_CWORD={len(words) - 1}\n_alpa\n"
                   "printf '%s\\n' \"${COMPREPLY[@]}\"\n")
        done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.split()

    assert set(completed("alpa", "st")) == {"status", "stop"}
    assert completed("alpa", "--address", "x:1", "submit", "--detac") == ["--detach"]
    assert completed("alpa", "list", "-o", "jsonl") == ["jsonl"]
    assert completed("alpa", "completion", "f") == ["fish"]
    assert completed("alpa", "plan", "m") == ["make"]
    assert completed("alpa", "plan", "make", "--pipel") == ["--pipeline"]
