"""`alpa submit DIR`: what the command line makes of a job directory that the Python package wrote."""

import json
import subprocess

import alpa
import cases
import numpy as np
import pytest
from alpa.local import find_binary
from compare import Trajectory, named_leaves
from safetensors.numpy import load_file


def cli(cluster, *arguments, timeout=120):
    command = [find_binary("alpa"), "--address", cluster.address, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


def by_path(arrays, root):
    return {path.removeprefix(root): value for path, value in arrays.items()}


@pytest.mark.parametrize("name,devices,k", [("gpt_dropout", 2, 2), ("mlp", 1, 4)])
def test_a_submitted_job_equals_jit(cluster, tmp_path, name, devices, k):
    step, state, batches, reference = cases.case(name, "adamw")
    alpa.save_job(tmp_path / "job", step, state, batches, plan=alpa.DataParallel(devices, microbatches=k))
    done = cli(cluster, "submit", tmp_path / "job", "--steps", cases.STEPS, "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, cases.STEPS + 1))
    last = by_path(load_file(tmp_path / "out" / "state.safetensors"), "state")
    aux = [{"['loss']": np.float32(line["aux['loss']"])} for line in lines]
    reference.check(Trajectory(named_leaves(state), last, aux))
    kept = load_file(tmp_path / "out" / "aux.safetensors")
    assert kept["aux['loss']"] == pytest.approx(lines[-1]["aux['loss']"], rel=1e-6)


def test_all_aux_of_the_last_step_is_written(cluster, tmp_path):
    step, state, batches, reference = cases.case("mlp", "sgd")
    alpa.save_job(tmp_path / "job", step, state, batches, plan=alpa.DataParallel(2))
    done = cli(cluster, "submit", tmp_path / "job", "--steps", cases.STEPS, "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    kept = by_path(load_file(tmp_path / "out" / "aux.safetensors"), "aux")
    got = Trajectory(reference.base.first, by_path(load_file(tmp_path / "out" / "state.safetensors"), "state"),
                     reference.base.aux[:-1] + [kept])
    reference.check(got)


def test_bad_job_directories(cluster, tmp_path):
    step, state, batches, _ = cases.case("mlp", "sgd")
    job = alpa.save_job(tmp_path / "job", step, state, batches)

    def fails(word):
        done = cli(cluster, "submit", job, "--steps", 2, "--output", tmp_path / "out")
        assert done.returncode in (2, 4), (done.returncode, done.stderr)
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


def test_exit_codes(cluster, tmp_path):
    assert cli(cluster, "status", "no-such-job").returncode == 5
    assert cli(cluster, "no-such-command").returncode == 2
    unreachable = subprocess.run([find_binary("alpa"), "--address", "127.0.0.1:9", "list"], capture_output=True, text=True,
                                 timeout=60, check=False)
    assert unreachable.returncode == 3 and "127.0.0.1:9" in unreachable.stderr


def test_list_and_cluster_and_status(cluster):
    step, state, batches, _ = cases.case("mlp", "sgd")
    with cluster.parallelize(step, devices=1, name="listed", timeout=60) as run:
        run(state, batches[0])
        run.wait()
        listed = cli(cluster, "list")
        assert listed.returncode == 0 and run.job_id in listed.stdout
        assert "pair-0" in cli(cluster, "cluster").stdout
        status = cli(cluster, "status", run.job_id)
        assert status.returncode == 0 and "RUNNING" in status.stdout
