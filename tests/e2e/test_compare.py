"""Tests compare.py: it must accept the results of a correctly split step, and reject those of each lowering bug.

The bugs are written in JAX. A step splits the batch by hand, over 2 devices and 2 microbatches, and makes one mistake.
The end-to-end tests run every plan shape with AdamW after clipping, and with plain SGD in a step that returns the
gradients as aux. It is therefore enough if the comparison rejects a bug under one of the two optimizers.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compare import Reference, run_ours

STEPS, DEVICES, K, BATCH, WIDTH = 10, 2, 2, 32, 24
PARTS = DEVICES * K
OPTIMIZER = optax.chain(optax.clip_by_global_norm(1.0),
                        optax.adamw(optax.warmup_cosine_decay_schedule(0.0, 1e-2, 3, 100), weight_decay=0.1))


def model(params, x, y, keep):
    """Returns the loss of each row."""
    h = jnp.where(keep, jax.nn.gelu(x @ params["w1"] + params["b1"]) / 0.9, 0)
    return ((h @ params["w2"] + params["b2"] - y) ** 2).mean(1)


def start():
    rng = np.random.default_rng(0)
    params = {"w1": rng.normal(size=(8, WIDTH)) * 0.5, "b1": np.zeros(WIDTH), "w2": rng.normal(size=(WIDTH, 4)) * 0.3,
              "b2": np.zeros(4)}
    params = jax.tree_util.tree_map(lambda x: jnp.asarray(x, jnp.float32), params)
    return {"params": params, "opt": OPTIMIZER.init(params), "key": jax.random.key(3), "old": params}


@functools.cache
def batches():
    rng = np.random.default_rng(1)
    return [{"x": rng.normal(size=(BATCH, 8)).astype(np.float32), "y": rng.normal(size=(BATCH, 4)).astype(np.float32)}
            for _ in range(3)]


def part(array, i):
    return array[i * BATCH // PARTS:(i + 1) * BATCH // PARTS]


def make_step(adam, bug=None):
    """Returns a step.

    If `bug` is None, the step is not split. If `bug` is "none", the split is correct. Otherwise, the split has the bug
    that `bug` names.
    """

    def step(state, batch):
        key, sub = jax.random.split(state["key"])
        keep = jax.random.bernoulli(sub, 0.9, (BATCH, WIDTH))
        params, opt = state["params"], state["opt"]
        if bug is None:
            loss, grads = jax.value_and_grad(lambda p: model(p, batch["x"], batch["y"], keep).mean())(params)
        else:
            loss, grads = split_gradients(bug, state, batch, keep)
        if bug == "bias correction off by one":
            opt = (opt[0], (opt[1][0]._replace(count=opt[1][0].count + 1), *opt[1][1:]))
        if adam:
            updates, opt = OPTIMIZER.update(grads, opt, params)
        else:
            updates = jax.tree_util.tree_map(lambda g: -0.1 * g, grads)
        if bug == "missing update":
            updates = dict(updates, b2=jnp.zeros_like(updates["b2"]))
        if bug == "update applied twice":
            updates = jax.tree_util.tree_map(lambda u: 2 * u, updates)
        if bug == "bias correction off by one":
            opt = (opt[0], (opt[1][0]._replace(count=opt[1][0].count - 1), *opt[1][1:]))
        new = {"params": optax.apply_updates(params, updates), "opt": opt, "key": key, "old": params}
        if bug == "random key not advanced":
            new["key"] = state["key"]
        return new, {"loss": loss} if adam else {"loss": loss, "grads": grads}

    return step


def split_gradients(bug, state, batch, keep):
    """Returns (loss, gradients), computed from PARTS parts of the batch. Part `d * K + m` is microbatch `m` of device
    `d`."""
    x, y = batch["x"], batch["y"]
    found = []
    for i in range(PARTS):
        params = state["old"] if bug == "stale weight" and i >= DEVICES else state["params"]
        xi, yi, ki = part(x, i), part(y, i), part(keep, i)
        if bug == "swapped shards":
            yi = part(y, (i + K) % PARTS)
        if bug == "wrong slice" and i == 1:
            first = BATCH // PARTS - 1
            xi, yi = x[first:first + BATCH // PARTS], y[first:first + BATCH // PARTS]
        if bug == "dropout mask not sliced":
            ki = part(keep, 0)
        found.append(jax.value_and_grad(lambda p: model(p, xi, yi, ki).mean())(params))
    weights = np.full(PARTS, 1 / PARTS)
    if bug == "lost mean":
        weights *= K
    if bug == "dropped all-reduce":
        weights[:] = [1 / K] * K + [0] * (PARTS - K)
    if bug == "skipped microbatch":
        weights[-1] = 0
    if bug == "replica counted twice":
        weights[:K] *= 2
    if bug == "gradient four times too large":
        weights *= 4
    if bug == "sum in bf16":
        narrow = lambda g: g.astype(jnp.bfloat16)  # noqa: E731
    else:
        narrow = lambda g: g  # noqa: E731
    grads = jax.tree_util.tree_map(lambda *gs: sum(narrow(g * w) for g, w in zip(gs, weights)).astype(jnp.float32),
                                   *[g for _, g in found])
    loss = sum(value for value, _ in found) / PARTS
    if bug == "loss of one device":
        loss = sum(value for value, _ in found[:K]) / K
    if bug == "loss not averaged":
        loss = sum(value for value, _ in found) / K
    if bug == "one leaf not reduced":
        grads["b1"] = sum(g["b1"] for _, g in found[:K]) / PARTS
    return loss, grads


BUGS = ["lost mean", "dropped all-reduce", "skipped microbatch", "replica counted twice", "stale weight",
        "swapped shards", "missing update", "wrong slice", "gradient four times too large", "dropout mask not sliced",
        "bias correction off by one", "loss of one device", "loss not averaged", "update applied twice",
        "random key not advanced", "sum in bf16", "one leaf not reduced"]


@functools.cache
def reference(adam):
    return Reference(make_step(adam), start(), batches(), STEPS)


def violations(adam, bug):
    return reference(adam).violations(run_ours(jax.jit(make_step(adam, bug)), start(), batches(), STEPS))


@pytest.mark.parametrize("adam", [True, False], ids=["adamw", "sgd"])
def test_accepts_the_correct_split(adam):
    assert not violations(adam, "none")


@pytest.mark.parametrize("bug", BUGS)
def test_rejects_the_bug(bug):
    assert violations(False, bug) or violations(True, bug)


def test_clipping_hides_a_gradient_that_is_too_large_and_plain_sgd_shows_it():
    assert not violations(True, "gradient four times too large")
    assert violations(False, "gradient four times too large")


def test_rejects_nan_and_missing_steps():
    good = run_ours(jax.jit(make_step(False)), start(), batches(), STEPS)
    assert not reference(False).violations(good)
    good.aux[4]["['loss']"] = np.float32(np.nan)
    assert [v.what for v in reference(False).violations(good)] == ["aux of step 5, ['loss']"]
    good.aux.pop()
    assert any("steps have aux" in v.what for v in reference(False).violations(good))
