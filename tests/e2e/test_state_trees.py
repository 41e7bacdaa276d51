"""State and batch of many kinds of pytrees on real workers: keys, Python scalars, functions, empty leaves, and a
thousand small leaves. The results equal those of jax.jit."""

from typing import Any, NamedTuple

import alpa
import jax
import jax.numpy as jnp
import numpy as np
import pytest


class Point(NamedTuple):
    x: Any
    y: Any


def step(state, batch):
    key, sub = jax.random.split(state["key"])
    noise = jax.random.normal(sub, (3,)) + jax.random.uniform(batch["key"])
    w = state["point"].x + noise + batch["x"].mean() * batch["scale"]
    new = {"key": key, "point": Point(w, None), "count": state["count"] + 1, "empty": state["empty"] * 2,
           "half": state["half"] * batch["scale"], "flag": state["flag"]}
    return new, {"loss": (w ** 2).sum(), "empty": state["empty"], "keys": jax.random.split(sub, 2)}


STATE = {"key": jax.random.key(1), "point": Point(jnp.ones(3), None), "count": 0, "empty": np.zeros((0, 4), np.float32),
         "half": jnp.ones(3, jnp.bfloat16), "flag": True}
BATCH = {"x": np.arange(24, dtype=np.float32).reshape(8, 3), "key": jax.random.key(2), "scale": 0.5}


def plain(tree):
    return jax.tree_util.tree_map(
        lambda x: np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x), tree)


def assert_same(got, expected):
    got, expected = (jax.tree_util.tree_flatten(plain(tree)) for tree in (got, expected))
    assert got[1] == expected[1]
    for x, y in zip(got[0], expected[0]):
        assert x.dtype == y.dtype and x.shape == y.shape
        np.testing.assert_allclose(x.astype(np.float64), y.astype(np.float64), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("plan", [None, alpa.DataParallel(2), alpa.DataParallel(1, microbatches=2)],
                         ids=["auto", "data", "microbatches"])
def test_a_state_of_many_kinds_of_leaves_equals_jit(cluster, plan):
    jitted = jax.jit(step)
    with cluster.parallelize(step, plan, devices=0 if plan else 2) as run:
        state, expected = STATE, STATE
        for _ in range(2):
            state, aux = run(state, BATCH)
            expected, expected_aux = jitted(expected, BATCH)
        assert_same(alpa.fetch((state, aux)), (expected, expected_aux))


def test_a_function_among_the_leaves_is_kept(cluster):
    def train(state, batch):
        w, activation = state
        return (w + activation(batch["x"]).mean(), activation), {"sum": w.sum()}

    state = (np.ones(3, np.float32), jax.nn.relu)
    with cluster.parallelize(train, alpa.DataParallel(2)) as run:
        got, _ = run(state, {"x": BATCH["x"]})
        got = alpa.fetch(got)
    assert got[1] is jax.nn.relu
    np.testing.assert_allclose(got[0], 1 + BATCH["x"].mean(), rtol=1e-6)


def test_a_thousand_leaves_are_put_and_fetched(cluster):
    state = {f"w{i}": np.full(4, i, np.float32) for i in range(1000)}
    with cluster.parallelize(lambda s, b: ({k: v + b["x"].mean() for k, v in s.items()}, None),
                             alpa.DataParallel(2)) as run:
        got = alpa.fetch(run(state, {"x": np.ones((8, 3), np.float32)})[0])
    for i in range(1000):
        np.testing.assert_array_equal(got[f"w{i}"], np.full(4, i + 1, np.float32))
