"""Writes the job directory of a large GPT's training step.

The directory holds shapes and no values, so a small machine can plan a model that does not fit into its memory:

    python examples/export_gpt.py gpt-1.3b --batch 1024 job
    alpa plan make --job job --cluster examples/clusters/a100-80gb-8.toml --explain --output plan.json
"""

import argparse

import jax
import jax.numpy as jnp

import alpa
import models

# {name: (width, layers, heads)}, as in the Alpa paper. All models have a vocabulary of 51200, and sequences of 1024
# tokens.
SIZES = {
    "gpt-350m": (1024, 24, 16), "gpt-760m": (1536, 24, 16), "gpt-1.3b": (2048, 24, 32), "gpt-2.6b": (2560, 32, 32),
    "gpt-6.7b": (4096, 32, 32), "gpt-15b": (5120, 48, 40), "gpt-39b": (8192, 48, 64),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("directory")
    parser.add_argument("--batch", type=int, default=1024, help="number of sequences per step")
    parser.add_argument("--dtype", default="bfloat16", help="type of the computation; parameters stay float32")
    args = parser.parse_args()

    width, layers, heads = SIZES[args.size]
    config = models.Gpt(vocabulary=51200, length=1024, width=width, heads=heads, layers=layers,
                        dtype=jnp.dtype(args.dtype))
    optimizer = models.adamw()
    state = jax.eval_shape(lambda: models.start(models.init_gpt(config, jax.random.key(0)), optimizer))
    step = models.train_step(models.gpt_loss(config), optimizer)
    tokens = jax.ShapeDtypeStruct((args.batch, config.length), jnp.int32)
    batch = {"x": tokens, "y": tokens}
    print(alpa.save_job(args.directory, step, state, [batch], name=args.size))


if __name__ == "__main__":
    main()
