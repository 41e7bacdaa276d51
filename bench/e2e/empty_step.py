"""Question: how much time does the system add to a step? Runs an almost empty step over two workers.

    .venv/bin/python bench/e2e/empty_step.py [--steps 400]

The benchmark submits steps without waiting for earlier steps. The state counts the steps, so the benchmark detects a
lost or repeated step.
"""

import argparse
import os
import pathlib
import statistics
import sys
import time

os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import numpy as np

import alpa
import common


def step(state, batch):
    return {"count": state["count"] + 1}, {"sum": batch["x"].sum()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    with alpa.local(workers=args.workers, devices_per_worker=1) as cluster:
        run = cluster.parallelize(step, plan=alpa.DataParallel(args.workers))
        state = {"count": np.zeros((), np.int32)}
        batch = {"x": np.ones((8,), np.float32)}
        for _ in range(20):
            state, aux = run(state, batch)
        alpa.block_until_ready(aux)
        # The first measurement submits the steps one by one, up to the limit of steps in flight. The second measurement
        # submits all steps in one message.
        started = time.perf_counter()
        for _ in range(args.steps):
            state, aux = run(state, batch)
        alpa.block_until_ready(aux)
        one_by_one = (time.perf_counter() - started) / args.steps
        started = time.perf_counter()
        state, results = run.steps(state, [batch], args.steps)
        alpa.block_until_ready(state)
        at_once = (time.perf_counter() - started) / args.steps
        seconds = sorted(m["seconds"] for m in run.metrics[-args.steps:])
        count = int(alpa.fetch(state)["count"])
        run.close()
    if count != 20 + 2 * args.steps:
        sys.exit(f"the state counted {count} steps, but {20 + 2 * args.steps} steps ran")
    print(common.machine())
    print(f"run() one by one   {one_by_one * 1e3:.3f} ms per step")
    print(f"run.steps(n)       {at_once * 1e3:.3f} ms per step")
    print(f"step, from dispatch to last report: median {statistics.median(seconds) * 1e3:.3f} ms, "
          f"max {seconds[-1] * 1e3:.3f} ms")


if __name__ == "__main__":
    main()
