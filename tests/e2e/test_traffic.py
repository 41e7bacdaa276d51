"""Tests that devices send the number of bytes that the formulas below give, plus at most a few bytes for scalars.

The workers count the bytes that they send.
"""

import json
import urllib.request

import alpa
import numpy as np
import pytest

WIDTH, LAYERS, BATCH = 64, 3, 32
PARAMETER_BYTES = LAYERS * WIDTH * WIDTH * 4


def step(state, batch):
    import jax
    import jax.numpy as jnp

    def loss(params):
        h = batch["x"]
        for w in params:
            h = jnp.tanh(h @ w)
        return jnp.mean((h - batch["y"]) ** 2)

    value, grads = jax.value_and_grad(loss)(state["params"])
    moments = [0.9 * m + 0.1 * g for m, g in zip(state["moments"], grads)]
    params = [w - 0.1 * m for w, m in zip(state["params"], moments)]
    return {"params": params, "moments": moments}, {"loss": value}


def start():
    rng = np.random.default_rng(0)

    def weights(scale):
        return [(rng.normal(size=(WIDTH, WIDTH)) * scale).astype(np.float32) for _ in range(LAYERS)]

    state = {"params": weights(0.1), "moments": weights(0.0)}
    batch = {name: rng.normal(size=(BATCH, WIDTH)).astype(np.float32) for name in "xy"}
    return state, batch


def sent_bytes(cluster, plan, workers, program=None):
    """Returns the number of bytes that all devices together send in one step. `program` is (step, state, batch)."""
    function, state, batch = program or (step, *start())
    with cluster.parallelize(function, plan, workers=workers, timeout=60) as run:
        for _ in range(2):
            state, aux = run(state, batch)
        float(alpa.fetch(aux)["loss"])
        with urllib.request.urlopen(f"{cluster.status_url}api/v1/jobs/{run.job_id}", timeout=10) as reply:
            return json.load(reply)["last_step_sent_bytes"]


# In one reduce-scatter of the gradients or one all-gather of the parameters, each of the n devices sends `(n - 1) / n`
# times PARAMETER_BYTES. All devices together send `(n - 1) * PARAMETER_BYTES`.
def zero1(n, k):
    return 2 * (n - 1) * PARAMETER_BYTES  # one reduce-scatter and one all-gather


def zero2(n, k):
    return (k + 1) * (n - 1) * PARAMETER_BYTES  # k reduce-scatters and one all-gather


def zero3(n, k):
    return 2 * k * (n - 1) * PARAMETER_BYTES  # k all-gathers and k reduce-scatters


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("n,workers", [(2, ("pair-0",)), (2, ("single-0", "single-1")), (4, ("pair-0", "pair-1"))])
@pytest.mark.parametrize("stage,formula", [(1, zero1), (2, zero2), (3, zero3)])
def test_zero_sends_the_bytes_of_its_formula(cluster, stage, formula, n, workers, k):
    sent = sent_bytes(cluster, alpa.Zero(stage, n, microbatches=k), workers)
    scalars = 64 * n * n  # maximum number of bytes for the all-reduce of the loss
    assert formula(n, k) <= sent <= formula(n, k) + scalars


@pytest.mark.parametrize("k", [1, 4])
def test_data_parallel_reduces_gradients_once_per_step(cluster, k):
    sent = sent_bytes(cluster, alpa.DataParallel(2, microbatches=k), ("pair-0",))
    assert 2 * PARAMETER_BYTES <= sent <= 2 * PARAMETER_BYTES + 256


CLASSES = 128  # a gradient of WIDTH x CLASSES is large enough for the ring algorithm (docs/collectives.md)


def training(loss_of, batch, classes):
    """Returns (step, state, batch): SGD on loss_of(w, batch), with a weight of shape (WIDTH, classes)."""
    def train(state, batch):
        import jax
        loss, grad = jax.value_and_grad(loss_of)(state["w"], batch)
        return {"w": state["w"] - 0.1 * grad}, {"loss": loss}

    rng = np.random.default_rng(1)
    return train, {"w": (rng.normal(size=(WIDTH, classes)) * 0.1).astype(np.float32)}, batch


def rows(seed, *shape):
    return np.random.default_rng(seed).normal(size=(*shape, WIDTH)).astype(np.float32)


def indexed_rows():
    """The usual cross entropy: the log-probabilities are indexed with the row numbers and the labels of all rows."""
    def loss(w, batch):
        import jax
        import jax.numpy as jnp
        logp = jax.nn.log_softmax(batch["x"] @ w)
        return -logp[jnp.arange(BATCH), batch["y"]].mean()

    return training(loss, {"x": rows(2, BATCH), "y": np.arange(BATCH, dtype=np.int32) % 10}, CLASSES)


def indexed_tokens():
    def loss(w, batch):
        import jax
        import jax.numpy as jnp
        logp = jax.nn.log_softmax(batch["x"] @ w)
        return -logp[jnp.arange(BATCH)[:, None], jnp.arange(4), batch["y"]].mean()

    labels = np.arange(4 * BATCH, dtype=np.int32).reshape(BATCH, 4) % 10
    return training(loss, {"x": rows(3, BATCH, 4), "y": labels}, CLASSES)


def two_views():
    """Two augmented views of each example go through the encoder as one batch."""
    def loss(w, batch):
        import jax.numpy as jnp
        z = jnp.tanh(jnp.concatenate([batch["a"], batch["b"]]) @ w)
        return ((z[:BATCH] - z[BATCH:]) ** 2).mean() + (z ** 2).mean()

    return training(loss, {"a": rows(4, BATCH), "b": rows(5, BATCH)}, CLASSES)


def depthwise_convolution():
    """One filter per channel. JAX computes the gradient of the filters with batch groups."""
    def loss(w, batch):
        import jax
        kernel = w.T.reshape(9, 9, 1, WIDTH)
        y = jax.lax.conv_general_dilated(batch["x"], kernel, (1, 1), "SAME", feature_group_count=WIDTH,
                                         dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return (y ** 2).mean()

    return training(loss, {"x": rows(6, BATCH, 10, 10)}, 81)


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("program", [indexed_rows, indexed_tokens, two_views, depthwise_convolution])
def test_a_step_that_splits_along_the_batch_sends_its_gradients_alone(cluster, program, k):
    n, made = 4, program()
    gradients = 2 * (n - 1) * made[1]["w"].nbytes  # one all-reduce
    sent = sent_bytes(cluster, alpa.DataParallel(n, microbatches=k), ("pair-0", "pair-1"), made)
    assert gradients <= sent <= 1.1 * gradients + 64 * n * n
