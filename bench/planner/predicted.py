"""Question: how close are the planner's predictions to the measured times and memory, and does it choose good plans?

    .venv/bin/python bench/planner/predicted.py [--rounds 7] [--plans 50] [--seed 1000]

The first part runs each model under several plans on at most 2 devices. It compares the predicted step time and memory
with the measured values. The second part runs many random plans of one model on 4 devices and on 8 devices. These
devices share the cores of this machine. This part prints the rank correlation (Spearman) of predicted and measured
times. For the plan that the planner chooses, it prints the ratio of its measured time to that of the best measured
plan. Steps run one at a time. The measured time of a plan is the median time of its steps.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "examples"), str(ROOT / "client" / "python"), str(ROOT / "bench" / "e2e"),
                str(ROOT / "tests" / "e2e")]

import alpa
import common
import jax
import models
import numpy as np
import other_models
from alpa.local import find_binary

GPT = models.Gpt(length=64, width=128, heads=4, layers=4)
TRANSLATOR = models.Gpt(length=64, width=128, heads=4, layers=2)
MODELS = {
    "gpt": (GPT, models.init_gpt, models.gpt_loss),
    "scan_gpt": (GPT, other_models.init_scan_gpt, other_models.scan_gpt_loss),
    "bert": (models.Gpt(length=64, width=128, heads=4, layers=4, dropout=0.1), models.init_gpt, other_models.bert_loss),
    "translator": (TRANSLATOR, other_models.init_translator, other_models.translator_loss),
    "mlp": (models.Mlp(inputs=256, width=512, layers=6), models.init_mlp, models.mlp_loss),
    "vit": (models.Vit(size=32, width=128, layers=4), models.init_vit, models.vit_loss),
}
BATCH = 16
# Plans on at most two devices. Each device is on a separate worker.
PLANS = {
    "one device": alpa.DataParallel(1),
    "one device, k=4": alpa.DataParallel(1, microbatches=4),
    "data 2": alpa.DataParallel(2),
    "data 2, k=4": alpa.DataParallel(2, microbatches=4),
    "zero-2": alpa.Zero(2, 2),
    "tensor 2": alpa.Megatron(tp=2),
    "pipeline 2, k=4": alpa.Megatron(pp=2, microbatches=4),
    "the planner's": alpa.Auto(2),
}


def job_of(name):
    """Returns (step, state, batch) of a model."""
    config, init, loss = MODELS[name]
    key = jax.random.key(1) if getattr(config, "dropout", 0) else None
    optimizer = models.adamw()
    step = models.train_step(loss(config), optimizer)
    state = jax.device_get(models.start(init(config, jax.random.key(0)), optimizer, key))
    rng = np.random.default_rng(0)
    if isinstance(config, models.Gpt):
        tokens = rng.integers(0, 256, (BATCH, config.length + 1), dtype=np.int32)
        batch = {"x": tokens[:, :-1], "y": tokens[:, 1:]}
        if name == "translator":
            batch["source"] = tokens[:, :-1]
    elif isinstance(config, models.Mlp):
        batch = {"x": rng.normal(size=(8 * BATCH, config.inputs)).astype(np.float32),
                 "y": rng.normal(size=(8 * BATCH, config.outputs)).astype(np.float32)}
    else:
        batch = {"x": rng.normal(size=(BATCH, config.size, config.size, config.channels)).astype(np.float32),
                 "y": rng.integers(0, config.classes, BATCH, dtype=np.int32)}
    return step, state, batch


def measure(cluster, job, plan, rounds, workers=None):
    """Runs steps under a plan. Returns the predicted (seconds, bytes), the measured (seconds, bytes), and the plan."""
    step, state, batch = job
    with cluster.parallelize(step, plan, workers=workers, timeout=300) as run:
        for _ in range(rounds + 2):
            state, _ = run(state, batch)
            run.wait()
        predicted = (run.plan.predicted_step_seconds, run.plan.predicted_device_bytes)
        if predicted[0] is None:
            sys.exit("the plan has no prediction, because the workers did not measure their machine (--measure)")
        steps = run.metrics[2:]
        return predicted, (statistics.median(s["seconds"] for s in steps), steps[-1]["device_bytes"]), run.plan


def two_devices(rounds, names):
    errors = {"time": [], "memory": []}
    print(f"{'model':12} {'plan':18} {'predicted':>11} {'measured':>11} {'error':>7}   "
          f"{'predicted':>11} {'measured':>11} {'error':>7}")
    with alpa.local(workers=2, devices_per_worker=1, threads=1) as cluster:
        for name in names:
            job = job_of(name)
            for title, plan in PLANS.items():
                predicted, measured, _ = measure(cluster, job, plan, rounds)
                time, memory = (p / m - 1 for p, m in zip(predicted, measured))
                errors["time"].append(abs(time))
                errors["memory"].append(abs(memory))
                print(f"{name:12} {title:18} {predicted[0] * 1e3:8.2f} ms {measured[0] * 1e3:8.2f} ms {time:+7.0%}   "
                      f"{predicted[1] / 2**20:7.2f} MiB {measured[1] / 2**20:7.2f} MiB {memory:+7.1%}", flush=True)
    for what, values in errors.items():
        print(f"{what}: median error {statistics.median(values):.1%}, largest error {max(values):.1%}, "
              f"over {len(values)} plans")


def ranks(values):
    order = np.argsort(values, kind="stable")
    out = np.empty(len(values))
    out[order] = np.arange(len(values))
    return out


def random_plans(devices, count, rounds, name, seed):
    step, state, batch = job = job_of(name)
    predicted, measured = [], []
    with (tempfile.TemporaryDirectory() as folder,
          alpa.local(workers=2, devices_per_worker=devices // 2, threads=1) as cluster):
        alpa.save_job(f"{folder}/job", step, state, [batch])
        plans = pathlib.Path(folder, "plans")
        plans.mkdir()
        draw = f"random={count},seed={seed * devices},devices={devices},write={plans}"
        subprocess.run([find_binary("check_lowering"), f"{folder}/job", draw], check=True, stdout=subprocess.DEVNULL)
        _, chosen, plan = measure(cluster, job, alpa.Auto(), rounds)
        for file in sorted(plans.iterdir()):
            p, m, _ = measure(cluster, job, alpa.load_plan(file), rounds)
            predicted.append(p[0])
            measured.append(m[0])
            print(f"  {len(measured):3d} of {count}: predicted {p[0] * 1e3:9.1f} ms, measured {m[0] * 1e3:9.1f} ms",
                  file=sys.stderr, flush=True)
    spearman = np.corrcoef(ranks(predicted), ranks(measured))[0, 1]
    best = min(measured)
    print(f"{devices} devices, {name}: Spearman {spearman:.2f} over {len(measured)} random plans of {best * 1e3:.1f} "
          f"to {max(measured) * 1e3:.1f} ms; the planner's choice took {chosen[0] * 1e3:.1f} ms, "
          f"{chosen[0] / min(best, chosen[0]):.2f} x the best")
    print(f"  the planner's choice: {plan.proto.origin}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="measured steps per plan, after two warm-up steps")
    parser.add_argument("--plans", type=int, default=50,
                        help="number of random plans on 4 and on 8 devices; 0: skip this part")
    parser.add_argument("--seed", type=int, default=1000,
                        help="seed of the random plans, multiplied by the number of devices")
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS), metavar="MODEL",
                        help="models of the first part; an empty list skips this part")
    args = parser.parse_args()
    print(common.machine())
    if args.models:
        two_devices(args.rounds, args.models)
    for devices in (4, 8) if args.plans else ():
        random_plans(devices, args.plans, args.rounds, "gpt", args.seed)


if __name__ == "__main__":
    main()
