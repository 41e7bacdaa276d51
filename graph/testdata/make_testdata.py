"""Writes serialized HLO modules next to this file, with fixed inputs and the results that JAX computes from them.

    python graph/testdata/make_testdata.py

Each case writes three files. NAME.pb is an HloModuleProto that keeps unused arguments. It is lowered for TPU, because
that lowering is the simplest. NAME.in and NAME.out hold the concatenated bytes of all arguments and of all results.
The script needs jax. Run it to add a case or to follow a new JAX version, then review how the test results change.
"""

import os
import pathlib

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

HERE = pathlib.Path(__file__).parent
# Drop the directory from source positions, so that the files do not depend on the location of the source tree.
jax.config.update("jax_hlo_source_file_canonicalization_regex", ".*/")
RANDOM = np.random.RandomState(0)


def floats(*shape):
    return RANDOM.randn(*shape).astype(np.float32)


def ints(high, *shape):
    return RANDOM.randint(0, high, shape).astype(np.int32)


def gpt_loss(params, x, y, key):
    h = params["emb"][x] + params["pos"][None]
    q, k, v = [jnp.einsum("btd,dhk->bhtk", h, params[n]) for n in "qkv"]
    scores = jnp.einsum("bhtk,bhsk->bhts", q, k) / 2.0
    mask = jnp.tril(jnp.ones((x.shape[1],) * 2, bool))
    weights = jax.nn.softmax(jnp.where(mask, scores, -1e9), -1)
    weights = jnp.where(jax.random.bernoulli(key, 0.9, weights.shape), weights / 0.9, 0)
    h = h + jax.nn.gelu(jnp.einsum("bhts,bhsk,hkd->btd", weights, v, params["o"]))
    logits = h @ params["emb"].T
    picked = jnp.take_along_axis(logits, y[..., None], -1)[..., 0]
    return (jax.nn.logsumexp(logits, -1) - picked).mean()


def gpt_step(params, key, x, y):
    key, dropout = jax.random.split(key)
    loss, grads = jax.value_and_grad(gpt_loss)(params, x, y, dropout)
    norm = jnp.sqrt(sum(jnp.sum(g * g) for g in jax.tree.leaves(grads)))
    scale = jnp.minimum(1.0, 1.0 / (norm + 1e-6))
    return jax.tree.map(lambda p, g: p - 0.1 * scale * g, params, grads), key, loss


def case(name, function, *arguments):
    lowered = jax.jit(function, keep_unused=True).trace(*arguments).lower(lowering_platforms=("tpu",))
    (HERE / f"{name}.pb").write_bytes(lowered.compiler_ir("hlo").as_serialized_hlo_module_proto())
    results = jax.jit(function, keep_unused=True)(*arguments)
    for suffix, tree in (("in", arguments), ("out", results)):
        leaves = [np.ascontiguousarray(leaf) for leaf in jax.tree.leaves(tree)]
        (HERE / f"{name}.{suffix}").write_bytes(b"".join(leaf.tobytes() for leaf in leaves))


def main():
    params = {"emb": floats(11, 8), "pos": floats(4, 8), "o": floats(2, 4, 8)}
    params |= {n: floats(8, 2, 4) for n in "qkv"}
    case("gpt_step", gpt_step, params, np.array([1, 2], np.uint32), ints(11, 2, 4), ints(11, 2, 4))

    def scan_layers(w, x):
        return lax.scan(jax.checkpoint(lambda h, w: (jnp.tanh(h @ w), h.sum())), x, w)[0].sum()

    case("scan_grad", jax.grad(scan_layers), floats(3, 4, 4), floats(2, 4))
    case("nested_loops", lambda x: lax.fori_loop(0, 3, lambda i, v: lax.fori_loop(0, i, lambda j, u: u * 2 + j, v), x),
         floats(3))
    case("while_unknown", lambda x: lax.while_loop(lambda s: s[0].sum() < 20, lambda s: (s[0] + 1, s[1] + 1), (x, 0)),
         np.abs(floats(4)))
    case("conditional", lambda x, i: lax.switch(i, [lambda v: v, lambda v: v * 2, lambda v: v.sum() + v], x),
         floats(4), np.int32(2))
    case("sort_argmax", lambda x: (jnp.sort(x, -1), jnp.argsort(x, 0), jnp.argmax(x, -1), lax.top_k(x, 2)),
         floats(4, 6))
    case("gather_scatter",
         jax.grad(lambda t, i, v: (t[i] ** 2).sum() + (t.at[i].add(v) ** 2).sum(), (0, 2)), floats(7, 3), ints(7, 5),
         floats(5, 3))

    def pool(x):
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "SAME")

    def convolve(w, x):
        return lax.conv_general_dilated(x, w, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    case("conv_grad", jax.grad(lambda w, x: (pool(convolve(w, x)) ** 2).sum(), (0, 1)), floats(3, 3, 2, 3),
         floats(2, 6, 6, 2))
    # Import refuses this module by op name, so there is nothing to evaluate.
    lowered = jax.jit(lambda x: jnp.linalg.qr(jnp.sin(x))[1]).trace(floats(3, 3)).lower(lowering_platforms=("tpu",))
    (HERE / "unsupported.pb").write_bytes(lowered.compiler_ir("hlo").as_serialized_hlo_module_proto())


if __name__ == "__main__":
    main()
