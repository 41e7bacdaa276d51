"""Tests plan files.

A run with the saved plan of another run gives the same bits as that run. An invalid plan is refused before anything
runs.
"""

import json

import alpa
import pytest
from cases import case
from compare import run_ours, same_bits
from daemons import run_alpa
from test_submit import DONE, NO_PLAN, REFUSED, USAGE, check_outputs, cli

BATCH, STEPS = 24, 4


@pytest.fixture(scope="module")
def saved(cluster, tmp_path_factory):
    """Runs a pipeline. Returns its plan file and the results of the run."""
    step, state, batches, reference = case("deep_mlp", "sgd", BATCH, STEPS)
    path = tmp_path_factory.mktemp("plans") / "plan.json"
    pins = alpa.Megatron(dp=2, pp=2, microbatches=4)
    with cluster.parallelize(step, pins, workers=("pair-0", "pair-1"), timeout=60) as run:
        got = run_ours(run, state, batches, STEPS)
        run.plan.save(path)
    reference.check(got)
    return path, got


@pytest.fixture
def job(tmp_path):
    step, state, batches, _ = case("deep_mlp", "sgd", BATCH, STEPS)
    return alpa.save_job(tmp_path / "job", step, state, batches, alpa.DataParallel(1))


def local(*arguments):
    """Runs `alpa` with an address at which no coordinator listens."""
    return run_alpa("--address", "127.0.0.1:9", *arguments, timeout=60)


def change(path, out, edit):
    """Applies `edit` to the plan in file `path`. Writes the result to file `out` and returns `out`."""
    plan = json.loads(path.read_text())
    edit(plan)
    out.write_text(json.dumps(plan))
    return out


def test_a_loaded_plan_gives_the_same_bits_on_other_devices(cluster, saved):
    path, first = saved
    step, state, batches, _ = case("deep_mlp", "sgd", BATCH, STEPS)
    plan = alpa.load_plan(path)
    assert plan.devices == 4 and plan.microbatches == 4
    with cluster.parallelize(step, plan, workers=("pair-0", "single-0", "single-1"), timeout=60) as run:
        second = run_ours(run, state, batches, STEPS)
        assert run.plan.proto.stage_cuts == plan.proto.stage_cuts
    assert same_bits(first, second)


def test_submit_and_run_accept_a_plan_file(cluster, saved, job, tmp_path):
    path, _ = saved
    _, _, _, reference = case("deep_mlp", "sgd", BATCH, STEPS)
    done = cli(cluster, "submit", job, "--steps", STEPS, "--plan", path, "--output", tmp_path / "out", "-o", "json")
    assert done.returncode == DONE and len(json.loads(done.stdout)["devices"]) == 4, done.stderr
    check_outputs(tmp_path / "out", reference)
    done = local("run", "--standalone", job, "--steps", STEPS, "--plan", path, "--output", tmp_path / "out")
    assert done.returncode == DONE and "runs on 4 devices" in done.stderr, done.stderr
    check_outputs(tmp_path / "out", reference)


def test_a_job_directory_can_hold_a_loaded_plan(cluster, saved, tmp_path):
    step, state, batches, reference = case("deep_mlp", "sgd", BATCH, STEPS)
    alpa.save_job(tmp_path / "job", step, state, batches, alpa.load_plan(saved[0]))
    done = cli(cluster, "submit", tmp_path / "job", "--steps", STEPS, "--output", tmp_path / "out")
    assert done.returncode == DONE and "4 devices, 4 microbatches" in done.stderr, done.stderr
    check_outputs(tmp_path / "out", reference)


def test_alpa_plan_makes_shows_verifies_and_lowers_without_a_coordinator(cluster, saved, job, tmp_path):
    path = tmp_path / "made.json"
    pins = ("--pipeline", 2, "--data-parallel", 2, "--microbatches", 4)
    made = local("plan", "make", "--job", job, *pins, "--output", path)
    assert made.returncode == DONE and not made.stdout and "2 stages under 1f1b" in made.stderr, made.stderr
    of_cluster = alpa.load_plan(saved[0])
    # `alpa plan make` does not know the machines here, so its plan has no predictions.
    for field in ("predicted_step_seconds", "predicted_peak_device_bytes"):
        assert getattr(of_cluster.proto, field) > 0
        of_cluster.proto.ClearField(field)
    assert alpa.load_plan(path) == of_cluster, "the coordinator and `alpa plan make` must make the same plan"
    assert json.loads(local("plan", "make", "--job", job, *pins).stdout) == json.loads(path.read_text())

    shown = local("plan", "show", path)
    assert shown.returncode == DONE and "stage 1 on mesh [data=2], devices 2 3" in shown.stdout
    assert "batch['x']" in local("plan", "show", path, "--job", job).stdout
    assert json.loads(local("plan", "show", path, "-o", "json").stdout) == json.loads(path.read_text())
    verified = local("plan", "verify", path, "--job", job)
    assert verified.returncode == DONE and "fits" in verified.stdout and not verified.stderr
    assert json.loads(local("plan", "verify", path, "--job", job, "-o", "json").stdout) == {
        "stages": 2, "devices": 4, "microbatches": 4}
    lowered = local("plan", "lower", path, "--job", job)
    assert lowered.returncode == DONE
    assert "program 0" in lowered.stdout and "edge 0" in lowered.stdout and "mesh 1 (2 devices)" in lowered.stdout


def test_the_exit_code_of_alpa_plan_names_the_kind_of_error(saved, job, tmp_path):
    path, _ = saved
    assert local("plan", "make", "--job", job, "--microbatches", 7).returncode == NO_PLAN
    for wrong in (("plan", "verify", path), ("plan", "show", tmp_path / "none.json"), ("plan",), ("plan", "shwo", path),
                  ("plan", "make", "--job", tmp_path), ("plan", "lower", path, "--job", job, "-o", "json"),
                  ("submit", job, "--steps", 1, "--plan", path, "--devices", 4)):
        done = local(*wrong)
        assert done.returncode == USAGE and not done.stdout, (wrong, done.returncode, done.stderr)
    for edit, word in ((lambda p: p["stage_cuts"].clear(), "0 stage cuts"),
                       (lambda p: p.update(version=2), "version 2")):
        done = local("plan", "verify", change(path, tmp_path / "bad.json", edit), "--job", job)
        assert done.returncode == REFUSED and word in done.stderr and not done.stdout


@pytest.mark.parametrize("edit,message", [
    (lambda p: p.update(stage_cuts=["1000000"]), "stage|cut"),
    (lambda p: p["meshes"][1]["devices"].__setitem__(0, 0), "device 0 is in two meshes"),
    (lambda p: p.update(microbatches="5"), "5 microbatches do not divide"),
    (lambda p: p.update(program_fingerprint="7"), "the plan is for program 0000000000000007"),
    (lambda p: p["stages"].append(p["stages"][0]), "3 stages, but 1 stage cuts"),
])
def test_invalid_plan_files_are_refused(cluster, saved, job, tmp_path, edit, message):
    path = change(saved[0], tmp_path / "bad.json", edit)
    step, state, batches, _ = case("deep_mlp", "sgd", BATCH, STEPS)
    with pytest.raises(alpa.PlanError, match=message) as e:
        cluster.parallelize(step, alpa.load_plan(path), workers=("pair-0", "pair-1"), timeout=60)(state, batches[0])
    assert e.value.reason == "BAD_PLAN"
    done = cli(cluster, "submit", job, "--steps", 1, "--plan", path)
    assert done.returncode == REFUSED and not done.stdout, done.stderr


def test_a_plan_for_another_program_is_refused(cluster, saved):
    step, state, batches, _ = case("mlp", "sgd")
    with pytest.raises(alpa.PlanError, match="the plan is for program .*, but this program is"):
        cluster.parallelize(step, alpa.load_plan(saved[0]), timeout=60)(state, batches[0])


def test_an_invalid_plan_is_refused_before_it_waits_for_devices(cluster, saved, tmp_path):
    step, state, batches, _ = case("deep_mlp", "sgd", BATCH, STEPS)
    bad = change(saved[0], tmp_path / "bad.json", lambda p: p.update(schedule="2f2b"))
    with pytest.raises(alpa.PlanError, match="2f2b"):
        cluster.parallelize(step, alpa.load_plan(bad), workers=("single-0",), timeout=60)(state, batches[0])
