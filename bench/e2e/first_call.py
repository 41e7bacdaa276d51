"""Question: how long does the first call of a step with many leaves take, compared with the first call of jax.jit?

    .venv/bin/python bench/e2e/first_call.py [--leaves 1000] [--program independent|layers] [--plan auto|data]

The state has `--leaves` small arrays. JAX's caches are cleared before each first call. The time includes tracing,
planning, compiling and uploading the state, up to the end of the first step.
"""

import argparse
import os
import pathlib
import sys
import time

os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import jax
import jax.numpy as jnp
import numpy as np

import alpa
import common


def sgd(loss, state, batch):
    value, gradients = jax.value_and_grad(loss)(state, batch["x"])
    return jax.tree_util.tree_map(lambda p, g: p - 0.1 * g, state, gradients), {"loss": value}


def independent(leaves):
    """Returns a step and a state. The loss is a sum with one term per leaf of the state."""
    def loss(state, x):
        return sum(jnp.mean((x * w) ** 2) for w in state.values())

    return lambda state, batch: sgd(loss, state, batch), {f"w{i}": np.ones(8, np.float32) for i in range(leaves)}


def layers(leaves):
    """Returns a step and a state. The step trains a residual network with one weight and one bias per layer."""
    def loss(state, x):
        for w, b in state:
            x = x + jnp.tanh(x @ w + b)
        return jnp.mean(x)

    state = [(np.full((8, 8), 1e-3, np.float32), np.zeros(8, np.float32)) for _ in range(leaves // 2)]
    return lambda state, batch: sgd(loss, state, batch), state


def seconds_of(call):
    jax.clear_caches()
    start = time.perf_counter()
    results = call()
    return time.perf_counter() - start, results


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leaves", type=int, default=1000)
    parser.add_argument("--program", choices=("independent", "layers"), default="independent")
    parser.add_argument("--plan", choices=("auto", "data"), default="auto")
    args = parser.parse_args()
    step, state = (independent if args.program == "independent" else layers)(args.leaves)
    batch = {"x": np.ones((8, 8), np.float32)}
    with alpa.local(workers=2, devices_per_worker=1) as cluster:
        run = cluster.parallelize(step, plan=alpa.DataParallel(2) if args.plan == "data" else None)

        def call():
            results = run(state, batch)
            run.wait()
            return results

        ours, got = seconds_of(call)
        again, _ = seconds_of(lambda: alpa.block_until_ready(run(got[0], batch)))
        theirs, expected = seconds_of(lambda: jax.block_until_ready(jax.jit(step)(state, batch)))
        loss = float(got[1]["loss"])
        run.close()
    if not np.isclose(loss, float(expected[1]["loss"]), rtol=1e-4):
        sys.exit(f"the loss is {loss}; jax.jit computes {float(expected[1]['loss'])}")
    print(common.machine())
    print(f"{args.leaves} leaves, {args.program}, plan {args.plan}")
    print(f"first call   {ours:6.2f} s")
    print(f"jax.jit      {theirs:6.2f} s, ratio {ours / theirs:.2f}")
    print(f"second call  {again:6.3f} s")


if __name__ == "__main__":
    main()
