"""Question: how fast does state move to and from a worker? Moves 64 MiB up and down over loopback.

    .venv/bin/python bench/e2e/transfer.py [--mib 64] [--rounds 7]

The benchmark fails if the fetched state differs from the uploaded state.
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
    return state, {"sum": batch["x"].sum()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    value = np.random.default_rng(0).standard_normal(args.mib * 2**18).astype(np.float32)
    batch = {"x": np.ones((4,), np.float32)}
    up, down = [], []
    with alpa.local(workers=1, devices_per_worker=1) as cluster:
        run = cluster.parallelize(step, plan=alpa.DataParallel(1))
        state, aux = run({"w": value}, batch)
        alpa.block_until_ready(aux)
        for _ in range(args.rounds):
            started = time.perf_counter()
            run.upload({"w": value})
            up.append(time.perf_counter() - started)
            state, aux = run({"w": value}, batch)
            alpa.block_until_ready(aux)
            started = time.perf_counter()
            back = alpa.fetch(state)["w"]
            down.append(time.perf_counter() - started)
            if not np.array_equal(back, value):
                sys.exit("the fetched state differs from the uploaded state")
        run.close()
    print(common.machine())
    gigabytes = value.nbytes / 1e9
    for name, seconds in (("upload", sorted(up)), ("fetch", sorted(down))):
        print(f"{name:7} {common.describe(seconds)}   {gigabytes / statistics.median(seconds):.2f} GB/s")


if __name__ == "__main__":
    main()
