"""Trains a GPT across two workers. deploy/demo.sh runs this script."""

import argparse
import dataclasses
import os
import pathlib
import signal
import statistics
import sys
import time

os.environ.setdefault("JAX_PLATFORMS", "cpu")
ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "examples"), str(ROOT / "client" / "python")]

import jax
import numpy as np

import alpa
import models

# Long text files that every Debian system has.
DEFAULT_TEXTS = [pathlib.Path("/usr/share/common-licenses") / name
                 for name in ("GPL-3", "GPL-2", "LGPL-2.1", "GFDL-1.3", "MPL-2.0", "Apache-2.0")]
COMPARED_STEPS = 8  # number of first steps whose losses are compared with the losses of jax.jit
PINNED_STEPS, PINNED_MICROBATCHES = 6, 4  # numbers of steps and microbatches in try_pinned()


def parse():
    parser = argparse.ArgumentParser(
        description="Trains a byte-level GPT across two workers, and compares the losses with those of jax.jit.")
    parser.add_argument("--text", type=pathlib.Path, help="text to train on (default: the licences that Debian ships)")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--devices", type=int, default=0, choices=(0, 1, 2, 4),
                        help="exact number of devices (0: the planner chooses)")
    parser.add_argument("--microbatches", type=int, default=0,
                        help="exact number of microbatches (0: the planner chooses)")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--keep", action="store_true",
                        help="keep the daemons running until Ctrl-C, so that the status page stays available")
    args = parser.parse_args()
    if args.steps < 1:
        parser.error("--steps must be 1 or more")
    return args


def read_text(path):
    if path is not None:
        return path.read_bytes()
    return b"\n".join(p.read_bytes() for p in DEFAULT_TEXTS if p.exists())


def batches(text, args, count):
    data = np.frombuffer(text, np.uint8)
    if len(data) < args.length + 2:
        sys.exit(f"the text has {len(data)} bytes; at least {args.length + 2} are required")
    random = np.random.default_rng(0)
    for _ in range(count):
        starts = random.integers(0, len(data) - args.length - 1, args.batch)
        windows = data[starts[:, None] + np.arange(args.length + 1)].astype(np.int32)
        yield {"x": windows[:, :-1], "y": windows[:, 1:]}


def main():
    args = parse()
    text = read_text(args.text)
    config = models.Gpt(length=args.length, width=256, layers=8, heads=8)
    optimizer = models.adamw(peak=1e-3, warmup=10, steps=max(100, args.steps))
    step = models.train_step(models.gpt_loss(config), optimizer)
    params = models.init_gpt(config, jax.random.key(0))
    first_state = jax.device_get(models.start(params, optimizer))
    size = sum(x.size for x in jax.tree_util.tree_leaves(params))
    print(f"model: byte-level GPT, {size / 1e6:.1f} M parameters, batch {args.batch} x {args.length} bytes, "
          "AdamW, warm-up, clipping")
    print(f"text:  {len(text):,} bytes")

    cluster = alpa.local(workers=2, devices_per_worker=2)
    try:
        status = cluster.status_url
        print(f"cluster: 1 coordinator, 2 workers, 4 CPU devices; status page {status}")
        data = list(batches(text, args, args.steps))
        run = cluster.parallelize(step, alpa.Auto(args.devices, args.microbatches), name="demo")
        state, losses, begin = first_state, [], time.monotonic()
        for i, batch in enumerate(data, 1):
            state, aux = run(state, batch)
            losses.append(float(np.asarray(aux["loss"])))
            if i == 1:
                print(f"\n{run.plan}\nfirst step, with tracing, planning, compiling and upload: "
                      f"{time.monotonic() - begin:.1f} s\n")
            seconds = run.metrics[-1]["seconds"]
            if i <= 3 or i % 5 == 0 or i == args.steps:
                print(f"step {i:4d}  loss {losses[-1]:.4f}  {args.batch * args.length / seconds:8,.0f} tokens/s  "
                      f"{seconds * 1e3:7.0f} ms", flush=True)
        chosen = Measured.of("the planner's choice", run)
        run.close()
        pinned = try_pinned(cluster, step, first_state, data)
        print(f"\n{'plan':<28} {'step: predicted':>18} {'measured':>10}   "
              f"{'device memory: predicted':>24} {'measured':>10}")
        for row in (chosen, pinned):
            print(row)
        ok = compare(step, first_state, data[:COMPARED_STEPS], losses)
        if args.keep:
            print(f"\nthe daemons run until Ctrl-C; status page {status}")
            signal.pause()
    finally:
        cluster.close()
    sys.exit(0 if ok else 1)


@dataclasses.dataclass
class Measured:
    """Holds the plan of a run and its measured step time and memory. The plan includes the predicted values."""

    name: str
    plan: object
    seconds: float
    device_bytes: int

    @staticmethod
    def of(name, run):
        steps = run.metrics[1:] or run.metrics  # without the first step, which touches new memory and is slow
        return Measured(name, run.plan, statistics.median(s["seconds"] for s in steps), steps[-1]["device_bytes"])

    def __str__(self):
        predicted_seconds, predicted_bytes = self.plan.predicted_step_seconds, self.plan.predicted_device_bytes
        time_text = f"{predicted_seconds * 1e3:.0f} ms" if predicted_seconds else "-"
        memory_text = f"{predicted_bytes / 2**20:.1f} MiB" if predicted_bytes else "-"
        return (f"{self.name:<28} {time_text:>18} {self.seconds * 1e3:>7.0f} ms   "
                f"{memory_text:>24} {self.device_bytes / 2**20:>6.1f} MiB")


def try_pinned(cluster, step, state, data):
    """Runs steps under a pinned plan with 2 pipeline stages. Each stage runs on 2 data-parallel devices."""
    plan = alpa.Megatron(dp=2, pp=2, microbatches=PINNED_MICROBATCHES)
    with cluster.parallelize(step, plan, name="demo-pinned") as run:
        for batch in data[:PINNED_STEPS]:
            state, aux = run(state, batch)
            float(np.asarray(aux["loss"]))
        return Measured.of("2 stages x 2 data, pinned", run)


def compare(step, state, data, losses):
    """Runs the same steps with jax.jit on one device, and prints both losses of each step. Returns whether they agree.

    Rounding limits the agreement. To measure the effect of rounding, the steps run two more times, from states in which
    every float is changed by about one rounding error. The allowed difference depends on the resulting change of the
    loss.
    """
    jitted = jax.jit(step)
    random = np.random.default_rng(1)

    def moved(x):
        x = np.asarray(x)
        return x * (1 + 3e-7 * random.choice([-1, 1], x.shape)).astype(x.dtype) if x.dtype == np.float32 else x

    def losses_from(state):
        out = []
        for batch in data:
            state, aux = jitted(state, batch)
            out.append(float(aux["loss"]))
        return out

    reference = losses_from(state)
    nudged = [losses_from(jax.tree_util.tree_map(moved, state)) for _ in range(2)]
    print("\nstep      alpa   jax.jit  difference   allowed")
    ok = True
    for i, expected in enumerate(reference):
        spread = max(abs(n[i] - expected) for n in nudged)
        allowed = 10 * spread + 1e-4 * abs(expected)
        difference = abs(losses[i] - expected)
        ok = ok and difference <= allowed
        print(f"{i + 1:4d}  {losses[i]:8.5f}  {expected:8.5f}    {difference:.1e}   {allowed:.1e}"
              f"{'' if difference <= allowed else '   DIFFERS'}")
    print("the losses agree with single-device JAX" if ok else "THE LOSSES DIFFER FROM SINGLE-DEVICE JAX")
    return ok


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except alpa.AlpaError as error:
        sys.exit(f"demo: {error}")
