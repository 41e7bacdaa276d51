"""Trains a byte-level GPT on a text file.

    python examples/train_gpt.py --text README.md                  # starts daemons on this machine
    python examples/train_gpt.py --text README.md --address HOST:PORT --steps 200
"""

import argparse
import pathlib
import sys
import time

import jax
import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "client" / "python")]

import alpa  # noqa: E402
import models  # noqa: E402


def batches_of(text, batch, length, seed=0):
    """Yields batches without end. A batch has random windows of the text. y is x shifted by one byte."""
    data = np.frombuffer(text, np.uint8)
    if len(data) < length + 2:
        sys.exit(f"the text has {len(data)} bytes; at least {length + 2} are required")
    rng = np.random.default_rng(seed)
    while True:
        windows = data[rng.integers(0, len(data) - length - 1, batch)[:, None] + np.arange(length + 1)].astype(np.int32)
        yield {"x": windows[:, :-1], "y": windows[:, 1:]}


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=pathlib.Path, required=True)
    parser.add_argument("--address", help="address of a running coordinator (default: start daemons on this machine)")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--devices", type=int, default=0, help="number of devices (0: all free devices)")
    parser.add_argument("--microbatches", type=int, default=1)
    return parser.parse_args()


def main():
    args = parse()
    config = models.Gpt(length=args.length, width=args.width, layers=args.layers, dropout=args.dropout)
    optimizer = models.adamw(steps=max(args.steps, 20))
    step = models.train_step(models.gpt_loss(config), optimizer)
    params = models.init_gpt(config, jax.random.key(0))
    state = models.start(params, optimizer, jax.random.key(1) if args.dropout else None)
    print(f"{sum(x.size for x in jax.tree_util.tree_leaves(params)):,} parameters")

    batches = batches_of(args.text.read_bytes(), args.batch, args.length)
    with alpa.connect(args.address) if args.address else alpa.local() as cluster:
        run = cluster.parallelize(step, alpa.DataParallel(args.devices, microbatches=args.microbatches))
        begin = time.monotonic()
        for i in range(1, args.steps + 1):
            state, aux = run(state, next(batches))
            if i == 1:
                print(run.plan)
            if i == 1 or i % 10 == 0:
                loss, seconds = float(aux["loss"]), run.metrics[-1]["seconds"]
                print(f"step {i:5d}  loss {loss:.4f}  {args.batch * args.length / seconds:,.0f} tokens/s  "
                      f"{seconds * 1e3:.0f} ms")
        state = alpa.fetch(state)
        print(f"{args.steps} steps in {time.monotonic() - begin:.1f} s")


if __name__ == "__main__":
    main()
