"""Tests pipelines: under every plan and schedule, state and aux equal single-device jax.jit up to rounding."""

import itertools
import json
import random

import alpa
import pytest
from cases import DEEP_NAMES, OPTIMIZERS, case
from compare import run_ours, same_bits, trajectory
from test_submit import check_outputs, cli

BATCH, STEPS = 48, 4
ONES, QUAD, BOTH = ("one-0", "one-1"), ("quad-0",), ("quad-0", "quad-1")

# Each entry holds workers, and a function that returns the pins for k microbatches and schedule s.
PLANS = {
    "pipeline2": (ONES, lambda k, s: alpa.Megatron(pp=2, microbatches=k, schedule=s)),
    "pipeline4": (QUAD, lambda k, s: alpa.Megatron(pp=4, microbatches=k, schedule=s)),
    "data2_pipeline2": (QUAD, lambda k, s: alpa.Megatron(dp=2, pp=2, microbatches=k, schedule=s)),
    "tensor2_pipeline2_sequence":
        (QUAD, lambda k, s: alpa.Megatron(tp=2, pp=2, sequence=True, microbatches=k, schedule=s)),
    "tensor2_pipeline2": (QUAD, lambda k, s: alpa.Megatron(tp=2, pp=2, microbatches=k, schedule=s)),
    "data2_tensor2_pipeline2": (BOTH, lambda k, s: alpa.Megatron(2, 2, 2, microbatches=k, schedule=s)),
    "remat_pipeline2": (ONES, lambda k, s: alpa.Megatron(pp=2, remat="layer", microbatches=k, schedule=s)),
    "data2_tensor2_pipeline2_remat":
        (BOTH, lambda k, s: alpa.Megatron(2, 2, 2, remat="layer", microbatches=k, schedule=s)),
    "data2_pipeline4": (BOTH, lambda k, s: alpa.Megatron(dp=2, pp=4, microbatches=k, schedule=s)),
    "zero1_pipeline2": (QUAD, lambda k, s: alpa.Zero(1, 4, pp=2, microbatches=k, schedule=s)),
    "zero2_pipeline2": (QUAD, lambda k, s: alpa.Zero(2, 4, pp=2, microbatches=k, schedule=s)),
    "zero3_pipeline2": (QUAD, lambda k, s: alpa.Zero(3, 4, pp=2, microbatches=k, schedule=s)),
    "zero3_tensor2_pipeline2": (BOTH, lambda k, s: alpa.Zero(3, 8, tp=2, pp=2, microbatches=k, schedule=s)),
    "unequal1_3": (QUAD, lambda k, s: alpa.Megatron(pp=2, stage_devices=(1, 3), microbatches=k, schedule=s)),
    "unequal2_4_tensor2":
        (BOTH, lambda k, s: alpa.Megatron(tp=2, pp=2, stage_devices=(2, 4), microbatches=k, schedule=s)),
    "remat_data2": (QUAD, lambda k, s: alpa.Megatron(dp=2, microbatches=k, remat="layer")),
    "remat_zero3_pipeline2": (QUAD, lambda k, s: alpa.Zero(3, 4, pp=2, microbatches=k, schedule=s, remat="layer")),
    "interleaved2": (ONES, lambda k, s: alpa.Megatron(pp=2, interleave=2, microbatches=k, schedule=s)),
    "data2_interleaved2": (QUAD, lambda k, s: alpa.Megatron(dp=2, pp=2, interleave=2, microbatches=k, schedule=s)),
}
SCHEDULES = ("1f1b", "gpipe", "zero-bubble")
KS = (1, 4, 8)  # numbers of microbatches
DEFAULT_SIZE = 17  # number of rows of the matrix that run without --full


def matrix():
    """Returns every combination of model, optimizer, plan and k. BERT with SGD has a row for every schedule.
    Each other combination has one row, and these rows use the schedules in turn."""
    rows = []
    models = enumerate(itertools.product(DEEP_NAMES, OPTIMIZERS))
    for (m, model), (p, plan), (q, k) in itertools.product(models, enumerate(PLANS), enumerate(KS)):
        schedules = SCHEDULES if model == ("bert", "sgd") else (SCHEDULES[(m + p + q) % 3],)
        rows += [(*model, plan, schedule, k) for schedule in schedules]
    return rows


def pytest_generate_tests(metafunc):
    if "shape" not in metafunc.fixturenames:
        return
    chosen = matrix()
    if not metafunc.config.getoption("--full"):
        chosen = part_of_matrix(metafunc.config.getoption("--part-seed"))
    metafunc.parametrize("shape", chosen, ids=lambda s: f"{s[0]}-{s[1]}-{s[2]}-{s[3]}-k{s[4]}")


def part_of_matrix(seed):
    """Returns a part of the matrix, which the seed selects. It has few rows with k = 1.

    It contains every model with both optimizers, every schedule, and DEFAULT_SIZE different plans.
    """
    rng = random.Random(seed)
    models = [(name, optimizer) for name in DEEP_NAMES for optimizer in OPTIMIZERS]
    plans = list(PLANS)
    rng.shuffle(models)
    rng.shuffle(plans)
    rows = [(*models[i % len(models)], plans[i % len(plans)], SCHEDULES[i % len(SCHEDULES)], rng.choice((1, 4, 4, 8)))
            for i in range(DEFAULT_SIZE)]
    return sorted(set(rows))


def run_case(cluster, name, optimizer, plan, schedule, k):
    step, state, batches, reference = case(name, optimizer, BATCH, STEPS)
    workers, make = PLANS[plan]
    with cluster.parallelize(step, make(k, schedule), workers=workers, timeout=120) as run:
        got = run_ours(run, state, batches, STEPS)
        text = str(run.plan)
        stages = len(run.plan.proto.stages)
        assert run.plan.proto.schedule == (schedule if stages > 1 else "none") and run.plan.microbatches == k
        assert ("remat" in text) == ("remat" in plan)
    return got, reference, text


def test_equals_jit(wide, shape):
    got, reference, text = run_case(wide, *shape)
    print(text)
    reference.check(got)


@pytest.mark.parametrize("plan,schedule", [("data2_tensor2_pipeline2", "1f1b"), ("data2_interleaved2", "zero-bubble")])
def test_a_rerun_gives_the_same_bits(wide, plan, schedule):
    first, reference, _ = run_case(wide, "bert", "adamw", plan, schedule, 4)
    reference.check(first)
    second, _, _ = run_case(wide, "bert", "adamw", plan, schedule, 4)
    assert same_bits(first, second)


def test_all_schedules_give_the_same_bits(wide):
    """Every schedule processes the microbatches of a stage in the same order, so all sums have the same bits."""
    runs = [run_case(wide, "deep_mlp", "sgd", "pipeline4", schedule, 4)[0] for schedule in SCHEDULES]
    assert same_bits(runs[0], runs[1]) and same_bits(runs[0], runs[2])


def test_state_moves_from_one_pipeline_to_another(wide):
    """Each run has another plan and continues from the fetched state of the previous run."""
    step, state, batches, reference = case("deep_gpt", "adamw", BATCH, STEPS)
    auxes, first = [], state
    for name in ("unequal1_3", "zero3_pipeline2", "interleaved2"):
        workers, make = PLANS[name]
        with wide.parallelize(step, make(4, "1f1b"), workers=workers, timeout=120) as run:
            for _ in range(2 if name == "interleaved2" else 1):
                state, aux = run(state, batches[len(auxes) % len(batches)])
                auxes.append(alpa.fetch(aux))
            state = alpa.fetch(state)
    reference.check(trajectory(first, state, auxes))


def test_every_stage_holds_only_its_own_layers(wide):
    """In a pipeline of four stages, each device holds about a quarter of the state, and no leaf is on two meshes."""
    step, state, batches, _ = case("deep_mlp", "adamw", BATCH, STEPS)
    workers, make = PLANS["pipeline4"]
    with wide.parallelize(step, make(4, "1f1b"), workers=workers, timeout=120) as run:
        run(state, batches[0])
        stages = run.plan.proto.stages
        sizes = [leaf.type.nbytes for leaf in run._program.inputs]
        mine = [sum(n for n, s in zip(sizes, stage.input_shardings) if s.present) for stage in stages]
    assert len(stages) == 4 and sum(mine) == sum(sizes) and max(mine) < 0.45 * sum(sizes), mine


def test_specs_decide_how_the_named_weights_are_split(wide):
    specs = {"['params']['head']": ("tensor",), "['params']['blocks'][0]['up']['w']": ()}
    step, state, batches, reference = case("deep_gpt_untied", "adamw", BATCH, STEPS)
    plan = alpa.Megatron(tp=2, pp=2, microbatches=4, specs=specs)
    with wide.parallelize(step, plan, workers=QUAD, timeout=120) as run:
        reference.check(run_ours(run, state, batches, STEPS))
        numbers = {leaf.path: i for i, leaf in enumerate(run._program.inputs)}
        cuts = {cut.leaf: cut.dim for cut in run.plan.proto.stages[0].axes[-1].cuts}
    assert cuts[numbers["state['params']['head']"]] == 0
    assert cuts[numbers["state['params']['blocks'][0]['up']['w']"]] == -1


@pytest.mark.parametrize("make,message", [
    (lambda: alpa.Megatron(pp=2, microbatches=7), "batch"),
    (lambda: alpa.Megatron(pp=2, stage_devices=(1, 3), microbatches=24), "batch"),
    (lambda: alpa.Megatron(pp=8), "8 devices.*they have 4"),
])
def test_pipelines_that_do_not_fit_the_batch_or_the_devices_are_refused(wide, make, message):
    step, state, batches, _ = case("deep_mlp", "sgd", BATCH, STEPS)
    with pytest.raises(alpa.AlpaError, match=message):
        with wide.parallelize(step, make(), workers=QUAD, timeout=2) as run:
            run(state, batches[0])


def test_submit_flags_override_the_pipeline_of_a_job_directory(wide, tmp_path):
    """save_job() pins a pipeline. Flags of `alpa submit` override these pins."""
    step, state, batches, reference = case("deep_mlp", "sgd", BATCH, STEPS)
    alpa.save_job(tmp_path / "job", step, state, batches, alpa.GPipe(2, 4, interleave=2))
    other = ("--schedule", "1f1b", "--stage-devices", "1,3", "--interleave", "1")
    for flags, devices, word in (((), 2, "4 stages under gpipe"), (other, 4, "2 stages under 1f1b")):
        done = cli(wide, "submit", tmp_path / "job", "--steps", STEPS, "--output", tmp_path / "out", "-o", "json",
                   *flags)
        assert done.returncode == 0, done.stderr
        job = json.loads(done.stdout)
        assert len(job["devices"]) == devices and word in cli(wide, "status", job["job_id"]).stdout
        check_outputs(tmp_path / "out", reference)
