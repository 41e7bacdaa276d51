"""Question: how long is a training step of the demo's GPT on one device, compared with jax.jit on the same cores?

    .venv/bin/python bench/e2e/step_time.py [--steps 2] [--rounds 5]

Alpa and jax.jit run the same step from the same state on the same batch. The benchmark fails if the losses differ.
"""

import argparse
import os
import pathlib
import statistics
import sys

os.environ.setdefault("JAX_PLATFORMS", "cpu")
ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "examples"), str(ROOT / "bench" / "e2e")]

import jax
import numpy as np

import alpa
import common
import models


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2, help="steps per measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()

    config = models.Gpt(length=128, width=256, layers=8)
    step = models.train_step(models.gpt_loss(config), models.adamw(steps=1000))
    state = models.start(models.init_gpt(config, jax.random.key(0)), models.adamw(steps=1000))
    tokens = np.random.default_rng(0).integers(0, 256, (8, 129), dtype=np.int32)
    batch = {"x": tokens[:, :-1], "y": tokens[:, 1:]}
    jitted = jax.jit(step)
    reference = {"state": jax.device_put(state)}
    losses = {"jax": [], "alpa": []}

    def run_jax():
        for _ in range(args.steps):
            reference["state"], aux = jitted(reference["state"], batch)
        losses["jax"].append(float(jax.block_until_ready(aux)["loss"]))

    with alpa.local(workers=args.workers, devices_per_worker=args.devices // args.workers) as cluster:
        run = cluster.parallelize(step, plan=alpa.DataParallel(args.devices))
        ours = {"state": state}

        def run_alpa():
            for _ in range(args.steps):
                ours["state"], aux = run(ours["state"], batch)
            losses["alpa"].append(float(np.asarray(alpa.fetch(aux)["loss"])))

        times = common.interleave({"jax.jit": run_jax, "alpa": run_alpa}, args.rounds)
        run.close()

    if not np.allclose(losses["jax"], losses["alpa"], rtol=2e-3):
        sys.exit(f"losses differ: jax {losses['jax']}, alpa {losses['alpa']}")
    print(common.machine())
    for name, seconds in times.items():
        print(f"{name:8} {common.describe([s / args.steps for s in seconds])} per step")
    ratio = statistics.median(times["alpa"]) / statistics.median(times["jax.jit"])
    print(f"alpa / jax.jit = {ratio:.2f}  ({args.devices} device(s), {args.workers} worker(s))")


if __name__ == "__main__":
    main()
