"""Tests data parallelism. State and aux equal single-device jax.jit up to rounding, and a rerun gives the same bits."""

import itertools
import random

import alpa
import pytest
from cases import LAYOUTS, NAMES, OPTIMIZERS, STEPS, case
from compare import run_ours, same_bits

KS = (1, 2, 4, 8)  # numbers of microbatches
MATRIX = list(itertools.product((*NAMES, "vit_convolution"), OPTIMIZERS, LAYOUTS, KS))
DEFAULT_SIZE = 26  # number of rows of the matrix that run without --full


def pytest_generate_tests(metafunc):
    if "shape" not in metafunc.fixturenames:
        return
    chosen = MATRIX
    if not metafunc.config.getoption("--full"):
        chosen = part_of_matrix(metafunc.config.getoption("--part-seed"))
    metafunc.parametrize("shape", chosen, ids=lambda s: f"{s[0]}-{s[1]}-{s[2]}-k{s[3]}")


def part_of_matrix(seed):
    """Returns a part of the matrix, which the seed selects. It contains each model of NAMES with both optimizers, and
    each layout with every k."""
    rng = random.Random(seed)
    plans = list(itertools.product(LAYOUTS, KS))
    rng.shuffle(plans)
    models = [(name, optimizer) for name in NAMES for optimizer in OPTIMIZERS] + [("vit_convolution", "sgd")]
    rows = [(*models[i % len(models)], *plans[i % len(plans)]) for i in range(DEFAULT_SIZE)]
    return sorted(set(rows), key=MATRIX.index)


def run_case(cluster, name, optimizer, layout, k, steps=STEPS):
    step, state, batches, reference = case(name, optimizer)
    workers, devices = LAYOUTS[layout]
    with cluster.parallelize(step, alpa.DataParallel(devices, microbatches=k), workers=workers, timeout=60) as run:
        got = run_ours(run, state, batches, steps)
        assert run.plan.microbatches == k and len(run.plan.device_ids) == devices
    return got, reference


def test_equals_jit(cluster, shape):
    got, reference = run_case(cluster, *shape)
    reference.check(got)


@pytest.mark.parametrize("name,layout,k", [("gpt_dropout", "data4_two_workers", 4), ("mlp", "data2_two_workers", 2),
                                           ("vit", "data2_one_worker", 1)])
def test_a_rerun_gives_the_same_bits(cluster, name, layout, k):
    first, reference = run_case(cluster, name, "adamw", layout, k)
    reference.check(first)
    second, _ = run_case(cluster, name, "adamw", layout, k)
    assert same_bits(first, second)
