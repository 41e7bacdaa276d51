"""Tests tensor parallelism and ZeRO: state and aux equal single-device jax.jit up to rounding."""

import itertools
import random

import alpa
import pytest
from cases import DEEP_NAMES, NAMES, OPTIMIZERS, STEPS, case
from compare import run_ours, same_bits, trajectory

PLANS = {
    "tensor2": (("pair-0",), lambda k: alpa.Megatron(tp=2, microbatches=k)),
    "tensor2_two_workers": (("single-0", "single-1"), lambda k: alpa.Megatron(tp=2, microbatches=k)),
    "tensor2_sequence": (("pair-0",), lambda k: alpa.Megatron(tp=2, sequence=True, microbatches=k)),
    "data2_remat": (("pair-0",), lambda k: alpa.Megatron(dp=2, remat="layer", microbatches=k)),
    "tensor4": (("pair-0", "pair-1"), lambda k: alpa.Megatron(tp=4, microbatches=k)),
    "data2_tensor2": (("pair-0", "pair-1"), lambda k: alpa.Megatron(dp=2, tp=2, microbatches=k)),
    "zero1": (("pair-0",), lambda k: alpa.Zero(1, 2, microbatches=k)),
    "zero2": (("single-0", "single-1"), lambda k: alpa.Zero(2, 2, microbatches=k)),
    "zero3": (("pair-0", "pair-1"), lambda k: alpa.Zero(3, 4, microbatches=k)),
    "zero1_4": (("pair-0", "pair-1"), lambda k: alpa.Zero(1, 4, microbatches=k)),
    "zero2_4": (("pair-0", "pair-1"), lambda k: alpa.Zero(2, 4, microbatches=k)),
    "zero3_2": (("pair-0",), lambda k: alpa.Zero(3, 2, microbatches=k)),
    "zero3_tensor2": (("pair-0", "pair-1"), lambda k: alpa.Zero(3, 4, microbatches=k, tp=2)),
}
KS = (1, 4, 8)  # numbers of microbatches
DEEP_STEPS = 4  # number of steps in a run of a deep model
DEFAULT_SIZE = 18  # number of rows of the matrix that run without --full


def matrix():
    """Returns every combination of model, optimizer and plan. A small model has a row for every k, and a deep model has
    a row for one k."""
    rows = list(itertools.product((*NAMES, "vit_convolution"), OPTIMIZERS, PLANS, KS))
    deep = enumerate(itertools.product(DEEP_NAMES, OPTIMIZERS))
    for (m, model), (p, plan) in itertools.product(deep, enumerate(PLANS)):
        rows.append((*model, plan, KS[(m + p) % len(KS)]))
    return rows


def pytest_generate_tests(metafunc):
    if "shape" not in metafunc.fixturenames:
        return
    chosen = matrix()
    if not metafunc.config.getoption("--full"):
        chosen = part_of_matrix(metafunc.config.getoption("--part-seed"))
    metafunc.parametrize("shape", chosen, ids=lambda s: f"{s[0]}-{s[1]}-{s[2]}-k{s[3]}")


def part_of_matrix(seed):
    """Returns a part of the matrix, which the seed selects. It contains every model except vit_convolution, and every
    plan."""
    rng = random.Random(seed)
    plans, models = list(PLANS), [(name, i) for i, name in enumerate((*NAMES, *DEEP_NAMES))]
    rng.shuffle(plans)
    rng.shuffle(models)
    rows = []
    for i in range(DEFAULT_SIZE):
        name, number = models[i % len(models)]
        rows.append((name, OPTIMIZERS[(seed + number) % 2], plans[i % len(plans)], rng.choice(KS)))
    return sorted(set(rows))


def run_case(cluster, name, optimizer, plan, k):
    steps = DEEP_STEPS if name in DEEP_NAMES else STEPS
    step, state, batches, reference = case(name, optimizer, steps=steps)
    workers, make = PLANS[plan]
    with cluster.parallelize(step, make(k), workers=workers, timeout=60) as run:
        got = run_ours(run, state, batches, steps)
        text = str(run.plan)
    return got, reference, text


def test_equals_jit(cluster, shape):
    got, reference, text = run_case(cluster, *shape)
    print(text)
    reference.check(got)


@pytest.mark.parametrize("plan,k", [("data2_tensor2", 4), ("zero3", 1)])
def test_a_rerun_gives_the_same_bits(cluster, plan, k):
    first, reference, _ = run_case(cluster, "gpt_dropout", "adamw", plan, k)
    reference.check(first)
    second, _, _ = run_case(cluster, "gpt_dropout", "adamw", plan, k)
    assert same_bits(first, second)


def test_state_moves_from_one_sharding_to_another(cluster):
    """Each run has another plan and continues from the fetched state of the previous run."""
    step, state, batches, reference = case("gpt", "adamw")
    auxes, first = [], state
    for name in ("zero3", "tensor2", "data2_tensor2"):
        workers, make = PLANS[name]
        steps = STEPS - len(auxes) if name == "data2_tensor2" else 3
        with cluster.parallelize(step, make(1), workers=workers, timeout=60) as run:
            for _ in range(steps):
                state, aux = run(state, batches[len(auxes) % len(batches)])
                auxes.append(alpa.fetch(aux))
            state = alpa.fetch(state)
    reference.check(trajectory(first, state, auxes))


def test_every_device_holds_only_a_part_of_the_state(cluster):
    """With ZeRO-3 on four devices, each device holds about a quarter of the state. With tensor parallelism on two
    devices, each device holds about half of the state."""
    step, state, batches, _ = case("gpt", "adamw")
    for plan, most in (("zero3", 0.35), ("tensor2", 0.65)):
        workers, make = PLANS[plan]
        with cluster.parallelize(step, make(1), workers=workers, timeout=60) as run:
            run(state, batches[0])
            proto = run.plan.proto
            shardings = proto.stages[0].input_shardings
            mesh = proto.meshes[0]
            total = per_device = 0
            for leaf, sharding in zip(run._program.inputs, shardings):
                if leaf.kind != "state":
                    continue
                ways = 1
                for dim in sharding.sharding.dims:
                    for axis in dim.axes:
                        ways *= mesh.shape[axis]
                total += leaf.type.nbytes
                per_device += leaf.type.nbytes / ways
        assert per_device <= most * total, (plan, per_device, total)


@pytest.mark.parametrize("plan,word", [(lambda: alpa.Megatron(dp=3, tp=2), "devices"), (lambda: alpa.Zero(4), "stage"),
                                       (lambda: alpa.Megatron(tp=0), "tp")])
def test_invalid_arguments_and_too_many_devices_are_refused(cluster, plan, word):
    step, state, batches, _ = case("mlp", "sgd")
    with pytest.raises(alpa.AlpaError, match=word):
        with cluster.parallelize(step, plan(), workers=("pair-0", "pair-1"), timeout=5) as run:
            run(state, batches[0])
