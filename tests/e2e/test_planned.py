"""Tests plans that the planner chooses.

Local daemons run the plans, and state and aux equal single-device jax.jit up to rounding. Plans for other machines are
only verified and simulated.
"""

import json
import pathlib
import random
import re
import subprocess
import sys

import alpa
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import DEEP_NAMES, NAMES, OPTIMIZERS, case
from compare import Reference, run_ours
from daemons import run_alpa

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLUSTERS = ROOT / "examples" / "clusters"
BATCH, STEPS = 24, 4
# Each place holds the number of devices that a plan uses, and the workers that provide them.
PLACES = {
    "1": (1, ("one-0",)),
    "2_one_worker": (2, ("quad-0",)),
    "2_two_workers": (2, ("one-0", "one-1")),
    "4_one_worker": (4, ("quad-0",)),
    "8_two_workers": (8, ("quad-0", "quad-1")),
}
MODELS = [(name, optimizer) for name in (*NAMES, "vit_convolution", *DEEP_NAMES) for optimizer in OPTIMIZERS]
DEFAULT_SIZE = 8  # number of combinations of model, optimizer and place that run without --full
# SLOW describes slow devices with fast links. Even for a small model, computation takes longer than all overheads.
SLOW = """
[device.slow]
name = "slow"
kind = "cpu"
memory = "{memory}"
float32 = "1 GFLOP/s"
memory_bandwidth = "1 GB/s"
kernel_overhead = "100 ns"
program_overhead = "1 us"

[link.fast]
name = "fast"
bandwidth = "10 GB/s"
latency = "1 us"

[[host]]
name = "host"
device = "slow"
devices = {devices}
inside = "fast"
"""


def alpa_command(*arguments):
    """Runs `alpa` with these arguments. Returns the finished process, and fails the test if its exit code is not 0."""
    done = run_alpa(*arguments, timeout=590)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def pytest_generate_tests(metafunc):
    if "chosen" not in metafunc.fixturenames:
        return
    rows = [(*model, place) for model in MODELS for place in PLACES]
    if not metafunc.config.getoption("--full"):
        rows = sorted(random.Random(metafunc.config.getoption("--part-seed")).sample(rows, DEFAULT_SIZE))
    metafunc.parametrize("chosen", rows, ids=lambda c: "-".join(c))


def test_a_chosen_plan_equals_jit(wide, chosen, tmp_path):
    """Runs two plans of the planner: one for this machine, and one for a SLOW cluster."""
    name, optimizer, place = chosen
    devices, workers = PLACES[place]
    step, state, batches, reference = case(name, optimizer, BATCH, STEPS)
    job = alpa.save_job(tmp_path / "job", step, state, batches)
    machines = tmp_path / "slow.toml"
    machines.write_text(SLOW.format(memory="1 GiB", devices=devices))
    alpa_command("plan", "make", "--job", job, "--cluster", machines, "--devices", devices,
                 "--output", tmp_path / "plan.json")
    alpa_command("plan", "verify", tmp_path / "plan.json", "--job", job)
    for plan in (alpa.Auto(devices), alpa.load_plan(tmp_path / "plan.json")):
        with wide.parallelize(step, plan, workers=workers, timeout=120) as run:
            got = run_ours(run, state, batches, STEPS)
            print(run.plan)
            assert len(run.plan.device_ids) == devices
        reference.check(got)


def test_stages_of_one_pipeline_can_have_different_axes(wide, tmp_path):
    """The first layers have small weights and large activations. The last layers have large weights and small
    activations. The links are slow. The planner must choose a pipeline of two stages: the first splits the batch, and
    the second splits the weights."""

    def loss(params, batch):
        x = batch["x"]
        for w in params["narrow"]:
            x = jnp.tanh(x @ w)
        x = x.mean(axis=1)
        for w in params["wide"]:
            x = jnp.tanh(x @ w)
        return jnp.mean(jnp.square(x - batch["y"]))

    def step(params, batch):
        value, grads = jax.value_and_grad(loss)(params, batch)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), value

    rng = np.random.default_rng(0)
    normal = lambda *shape: (rng.normal(size=shape) / np.sqrt(shape[-2])).astype(np.float32)
    state = {"narrow": [normal(64, 64) for _ in range(4)], "wide": [normal(64, 512), normal(512, 512), normal(512, 64)]}
    batches = [{"x": normal(16, 128, 64), "y": normal(16, 64)} for _ in range(STEPS)]
    job = alpa.save_job(tmp_path / "job", step, state, batches)
    machines = tmp_path / "machines.toml"
    machines.write_text(SLOW.format(memory="1 GiB", devices=4).replace("10 GB/s", "2 MB/s"))
    alpa_command("plan", "--graph", job, "--cluster", machines, "--devices", 4, "--output", tmp_path / "plan.json")
    plan = alpa.load_plan(tmp_path / "plan.json")
    assert [list(mesh.axis_names) for mesh in plan.proto.meshes] == [["data"], ["tensor"]], plan.proto.origin
    with wide.parallelize(step, plan, workers=("quad-0",), timeout=120) as run:
        got = run_ours(run, state, batches, STEPS)
    Reference(step, state, batches, STEPS).check(got)


def test_less_memory_gives_slower_plans_until_none_fits(wide, tmp_path):
    """Plans for less and less memory, until no plan fits. Every plan must fit into its memory, and must not be faster
    than the plans for more memory. If no plan fits, the error must report the amount of memory that a plan needs."""
    step, state, batches, reference = case("gpt", "adamw", BATCH, STEPS)
    job = alpa.save_job(tmp_path / "job", step, state, batches)
    memory, seconds, plans = 1 << 30, 0.0, []
    while True:
        machines = tmp_path / "machines.toml"
        machines.write_text(SLOW.format(memory=f"{memory} B", devices=8))
        file = tmp_path / f"{memory}.json"
        done = run_alpa("plan", "make", "--job", job, "--cluster", machines, "--output", file, timeout=300)
        if done.returncode:
            break
        simulated = json.loads(alpa_command("simulate", file, "--job", job, "--cluster", machines, "-o", "json").stdout)
        assert simulated["peak_device_bytes"] <= memory
        assert simulated["step_seconds"] >= seconds * (1 - 1e-9)
        seconds = simulated["step_seconds"]
        if not plans or alpa.load_plan(file).proto != alpa.load_plan(plans[-1]).proto:
            plans.append(file)
        memory = min(memory // 2, simulated["peak_device_bytes"] - 1)
    reported = re.search(r"no plan fits.*needs ([0-9.]+) KiB", done.stderr)
    assert reported, done.stderr
    assert len(plans) >= 3, "the plans must depend on the memory"
    # The reported amount is correct: a plan fits into this memory.
    enough = int((float(reported[1]) + 0.1) * 2**10)
    machines.write_text(SLOW.format(memory=f"{enough} B", devices=8))
    alpa_command("plan", "make", "--job", job, "--cluster", machines, "--output", tmp_path / "enough.json")
    for file in (*plans[1:], tmp_path / "enough.json"):
        with wide.parallelize(step, alpa.load_plan(file), workers=("quad-0", "quad-1"), timeout=120) as run:
            got = run_ours(run, state, batches, STEPS)
            print(file.name, run.plan, sep="\n")
        reference.check(got)


def test_a_model_that_is_too_large_for_this_machine_can_be_planned(tmp_path):
    """Plans a GPT with 1.3 billion parameters for 8 A100 GPUs. The job directory holds only shapes. The plan passes the
    verifier and fits into memory. The simulated step takes at most 3 times the roofline bound."""
    job = tmp_path / "job"
    subprocess.run([sys.executable, ROOT / "examples" / "export_gpt.py", "gpt-1.3b", job], check=True,
                   capture_output=True, timeout=120)
    machines, plan = CLUSTERS / "a100-80gb-8.toml", tmp_path / "plan.json"
    made = alpa_command("plan", "make", "--job", job, "--cluster", machines, "--devices", 8, "--search-seconds", 60,
                        "--explain", "--output", plan)
    print(made.stderr)
    alpa_command("plan", "verify", plan, "--job", job)
    trace = tmp_path / "trace.json"
    done = alpa_command("simulate", plan, "--job", job, "--cluster", machines, "-o", "json", "--trace", trace)
    simulated = json.loads(done.stdout)
    assert simulated["peak_device_bytes"] <= 80 << 30
    ends = [event["ts"] + event["dur"] for event in json.loads(trace.read_text())["traceEvents"]]
    assert abs(max(ends) / 1e6 / simulated["step_seconds"] - 1) < 1e-3
    bound = float(re.search(r"([0-9.e+-]+) s .*the roofline bound", made.stderr)[1])
    assert bound <= simulated["step_seconds"] <= 3 * bound
    # The chosen plan is the fastest plan of the printed table that fits into memory.
    row = r"^ *([0-9.e+-]+) s(?: +[0-9.e+-]+ s){3} +[0-9.]+  (?!.*does not fit)data"
    fits = [float(s) for s in re.findall(row, made.stderr, re.M)]
    assert len(fits) > 5 and min(fits) == fits[0]
    assert abs(simulated["step_seconds"] / fits[0] - 1) < 1e-3
