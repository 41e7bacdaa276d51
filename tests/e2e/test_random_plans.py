"""Tests random plans that daemons run from plan files. State and aux equal single-device jax.jit up to rounding."""

import itertools
import random
import subprocess

import alpa
import pytest
from alpa.local import find_binary
from cases import DEEP_NAMES, NAMES, OPTIMIZERS, case
from compare import run_ours

BATCH, STEPS, DEVICES = 24, 4, 8
WORKERS = ("quad-0", "quad-1")
PLANS_EACH = 5  # number of plans per model and optimizer with --full; without --full: 1
MODELS = list(itertools.product((*NAMES, *DEEP_NAMES), OPTIMIZERS))
DEFAULT_SIZE = 6  # number of pairs of a model and an optimizer that run without --full


def pytest_generate_tests(metafunc):
    if "drawn" not in metafunc.fixturenames:
        return
    chosen = [(*model, PLANS_EACH) for model in MODELS]
    if not metafunc.config.getoption("--full"):
        rng = random.Random(metafunc.config.getoption("--part-seed"))
        chosen = sorted((*model, 1) for model in rng.sample(MODELS, DEFAULT_SIZE))
    metafunc.parametrize("drawn", chosen, ids=lambda d: f"{d[0]}-{d[1]}-{d[2]}")


def draw(job, folder, count, seed):
    """Draws `count` random plans that the verifier accepts. Returns the plan files."""
    folder.mkdir()
    pins = f"random={count},seed={seed},devices={DEVICES},write={folder}"
    done = subprocess.run([find_binary("check_lowering"), job, pins], capture_output=True, text=True, timeout=120,
                          check=False)
    files = sorted(folder.iterdir())
    assert done.returncode == 0 and len(files) == count, done.stdout + done.stderr
    return files


def test_equals_jit(wide, drawn, tmp_path, request):
    name, optimizer, count = drawn
    step, state, batches, reference = case(name, optimizer, BATCH, STEPS)
    job = alpa.save_job(tmp_path / "job", step, state, batches)
    seed = request.config.getoption("--part-seed") + 1000 * MODELS.index((name, optimizer))
    for file in draw(job, tmp_path / "plans", count, seed):
        with wide.parallelize(step, alpa.load_plan(file), workers=WORKERS, timeout=120) as run:
            got = run_ours(run, state, batches, STEPS)
            print(file.name, run.plan, sep="\n")
        reference.check(got)
