"""Tests that results equal those of jax.jit for awkward values: integers that wrap, 16-bit overflow, 0 and infinity.

A rule that holds only for real numbers would give other results here. Each case once gave a wrong result because of
such a rule.
"""

import alpa
import jax
import jax.numpy as jnp
import numpy as np
import pytest

PLANS = {"data2": alpa.DataParallel(2), "microbatches2": alpa.DataParallel(1, microbatches=2)}


def counter(aux_of):
    """Returns a step whose aux is computed by `aux_of(state, batch)`."""
    def step(state, batch):
        return {**state, "steps": state["steps"] + 1}, aux_of(state, batch)

    return step


def case(aux_of, batch, **state):
    return counter(aux_of), {"steps": np.float32(0), **state}, batch


CASES = {
    "difference_of_unsigned_sums": case(
        lambda s, b: {"y": (jnp.sum(b["p"]) - jnp.sum(b["n"])).astype(jnp.float32)},
        {"p": np.array([100, 0], np.uint32), "n": np.array([0, 50], np.uint32)}),
    "f16_product_that_overflows": case(
        lambda s, b: {"y": (b["a"].T @ b["c"]).astype(jnp.float32)},
        {"a": np.full((64, 4), 40, np.float16), "c": np.full((64, 4), 40, np.float16)}),
    "sum_divided_by_zero": case(lambda s, b: {"y": jnp.sum(b["x"]) / s["n"]},
                                {"x": np.array([5, -3], np.float32)}, n=np.float32(0)),
    "sum_times_infinity_in_the_state": case(lambda s, b: {"y": jnp.sum(b["x"]) * s["n"]},
                                            {"x": np.array([5, -3], np.float32)}, n=np.float32(np.inf)),
    "sum_times_a_constant_infinity": case(lambda s, b: {"y": jnp.sum(b["x"]) * np.float32(np.inf)},
                                          {"x": np.array([5, 0], np.float32)}),
    "narrow_integer_sum_that_wraps": case(lambda s, b: {"y": jnp.sum(b["x"], dtype=jnp.int8).astype(jnp.int32)},
                                          {"x": np.array([100, 100], np.int8)}),
    "minimum_of_64_bit_integers": case(lambda s, b: {"y": jnp.min(b["x"])}, {"x": np.array([7, 5], np.int32)}),
}


def bits(tree):
    return [np.asarray(leaf).tolist() for leaf in jax.tree_util.tree_leaves(tree)]


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("name", CASES)
def test_an_awkward_value_gives_the_result_of_jit(cluster, name, plan):
    step, state, batch = CASES[name]
    expected = jax.jit(step)(state, batch)
    with cluster.parallelize(step, PLANS[plan], workers=("pair-0",), timeout=60) as run:
        got = run(state, batch)
        assert bits((alpa.fetch(got[0]), alpa.fetch(got[1]))) == bits(expected)


WIDTH = 16


def loss_scaling_step(state, batch):
    """Trains in f16 with a dynamic loss scale: a step whose gradients overflow changes nothing but the scale."""
    def loss(params):
        h = batch["x"].astype(jnp.float16)
        for w in params:
            h = jnp.tanh(h @ w.astype(jnp.float16))
        return jnp.mean((h.astype(jnp.float32) - batch["y"]) ** 2)

    value, grads = jax.value_and_grad(lambda p: loss(p) * state["scale"])(state["params"])
    finite = jnp.all(jnp.array([jnp.all(jnp.isfinite(g)) for g in grads]))
    params = [jnp.where(finite, w - 0.05 * g / state["scale"], w) for w, g in zip(state["params"], grads)]
    scale = jnp.where(finite, state["scale"] * 2, state["scale"] / 2)
    return {"params": params, "scale": scale}, {"loss": value / state["scale"], "skipped": ~finite}


@pytest.mark.parametrize("plan", [alpa.DataParallel(2), alpa.DataParallel(1, microbatches=4),
                                  alpa.DataParallel(2, microbatches=2), alpa.Zero(3, 2)])
def test_f16_loss_scaling_skips_the_steps_that_jit_skips(cluster, plan):
    rng = np.random.default_rng(0)
    state = {"params": [(rng.normal(size=(WIDTH, WIDTH)) * 0.2).astype(np.float32) for _ in range(2)],
             "scale": np.float32(2 ** 16)}
    # Each example alone has small gradients. Their sums overflow f16 if the scale is large.
    batches = [{"x": np.ones((32, WIDTH), np.float32) * rng.uniform(0.5, 4), "y": np.full((32, WIDTH), -3, np.float32)}
               for _ in range(12)]
    steps = len(batches)
    expected_state, skipped, reference = state, [], jax.jit(loss_scaling_step)
    for batch in batches:
        expected_state, aux = reference(expected_state, batch)
        skipped.append(bool(aux["skipped"]))
    assert 0 < sum(skipped) < steps, "the test needs skipped steps and steps that are not skipped"
    with cluster.parallelize(loss_scaling_step, plan, workers=("pair-0",), timeout=60) as run:
        got, ours = state, []
        for batch in batches:
            got, aux = run(got, batch)
            ours.append(bool(np.asarray(alpa.fetch(aux)["skipped"])))
        got = alpa.fetch(got)
    assert ours == skipped
    assert float(got["scale"]) == float(expected_state["scale"])
    for mine, theirs in zip(got["params"], expected_state["params"]):
        np.testing.assert_allclose(mine, theirs, rtol=2e-2, atol=2e-3)
