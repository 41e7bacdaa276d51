"""Tests programs that differ from a plain training step. Most of these programs must run correctly, and some must be
refused."""

import alpa
import cases
import jax
import jax.numpy as jnp
import models
import numpy as np
import optax
import pytest
from compare import Reference, named_leaves, run_ours, trajectory

LAYOUTS = cases.LAYOUTS


def start(cluster, step, layout, k, **pins):
    workers, devices = LAYOUTS[layout]
    return cluster.parallelize(step, alpa.DataParallel(devices, microbatches=k), workers=workers, timeout=60, **pins)


def check(cluster, step, state, batches, layout, k, steps=6, reference=None, sixteen_bit=False, **pins):
    reference = reference or Reference(step, state, batches, steps, sixteen_bit)
    with start(cluster, step, layout, k, **pins) as run:
        reference.check(run_ours(run, state, batches, steps))


@pytest.mark.parametrize("layout,k", [("one", 8), ("data2_two_workers", 4), ("data4_two_workers", 2)])
def test_a_masked_mean_can_be_split_at_any_k(cluster, layout, k):
    """The chunks have very different numbers of unmasked positions, so a mean of the chunks' means would be wrong."""
    batches = cases.batches_of("gpt")
    for i, batch in enumerate(batches):
        rows = np.linspace(0.02, 1, cases.BATCH)[:, None]
        batch["mask"] = (np.random.default_rng(i).random((cases.BATCH, cases.GPT.length)) < rows).astype(np.float32)
    for optimizer in cases.OPTIMIZERS:
        loss = models.gpt_masked_loss(cases.GPT)
        step, state = cases.training(loss, models.init_gpt(cases.GPT, jax.random.key(0)), optimizer)
        check(cluster, step, state, batches, layout, k, steps=4)


def batch_norm(groups=1):
    config = models.Mlp(batch_norm=True, norm_groups=groups)
    return cases.training(models.mlp_loss(config), models.init_mlp(config, jax.random.key(0)), "sgd")


def test_batch_normalisation_is_refused_if_k_is_pinned_above_1(cluster):
    step, state = batch_norm()
    with pytest.raises(alpa.AlpaError) as e:
        start(cluster, step, "one", 4)(state, cases.batches_of("mlp")[0])
    text = str(e.value)
    assert isinstance(e.value, (alpa.PlanError, alpa.ProgramError)), (type(e.value), text)
    assert "models.py" in text, f"the message must name the source location of the op: {text}"
    assert "local" in text, f"the message must propose local statistics: {text}"


@pytest.mark.parametrize("layout", ["one", "data2_two_workers", "data4_two_workers"])
def test_batch_normalisation_equals_jit_at_k_1(cluster, layout):
    step, state = batch_norm()
    check(cluster, step, state, cases.batches_of("mlp"), layout, 1)


@pytest.mark.parametrize("layout,k", [("one", 4), ("data2_two_workers", 2), ("data4_two_workers", 2)])
def test_batch_normalisation_equals_jit_with_local_statistics(cluster, layout, k):
    """Microbatch m is the m-th contiguous part of the batch. The statistics of a microbatch cover its rows on all
    devices."""
    step, state = batch_norm()
    grouped, _ = batch_norm(k)
    batches = cases.batches_of("mlp")
    reference = Reference(grouped, state, batches, 6)
    check(cluster, step, state, batches, layout, k, reference=reference, local_statistics=True)
    assert Reference(step, state, batches, 6).violations(reference.base), "local statistics must change the results"


@pytest.mark.parametrize("layout,k", [("one", 64), ("data2_two_workers", 32)])
def test_bf16_sums_over_64_chunks_are_accumulated_in_f32(cluster, layout, k):
    """The model computes in bf16 and has f32 parameters. The sums over 64 chunks must not be kept in bf16."""
    config = models.Gpt(length=16, width=32, heads=4, layers=1, dtype=jnp.bfloat16)
    batches = [cases.tokens(seed, batch=64) for seed in range(2)]
    for optimizer in cases.OPTIMIZERS:
        step, state = cases.training(models.gpt_loss(config), models.init_gpt(config, jax.random.key(0)), optimizer)
        check(cluster, step, state, batches, layout, k, steps=4, sixteen_bit=True)


@pytest.mark.parametrize("layout,k", [("one", 64), ("data2_one_worker", 8)])
def test_gradients_of_bf16_parameters_are_summed_in_f32(cluster, layout, k):
    """The gradient of a bf16 parameter is bf16 too. The gradient is rounded once, from the f32 sum over all chunks."""
    config = models.Mlp(dtype=jnp.bfloat16)
    params = cases.narrow(models.init_mlp(config, jax.random.key(0)))
    step, state = cases.training(models.mlp_loss(config), params, "sgd")
    batches = cases.batches_of("mlp", batch=512)
    check(cluster, step, state, batches, layout, k, steps=4, sixteen_bit=True)


@pytest.mark.parametrize("layout,k", [("data4_two_workers", 2), ("one", 4)])
def test_a_step_need_not_return_its_loss(cluster, layout, k):
    optimizer = models.adamw(3e-3, 3, 100)
    step = models.train_step(models.gpt_loss(cases.GPT), optimizer, report=False)
    state = models.start(models.init_gpt(cases.GPT, jax.random.key(0)), optimizer)
    check(cluster, step, state, cases.batches_of("gpt"), layout, k)


@pytest.mark.parametrize("layout,k", [("data2_two_workers", 2)])
def test_jit_runs_a_step_that_returns_loss_params_and_optimizer_state(cluster, layout, k):
    optimizer = models.adamw(3e-3, 3, 100)
    step = models.flat_step(models.gpt_loss(cases.GPT), optimizer)
    params = models.init_gpt(cases.GPT, jax.random.key(0))
    batches = cases.batches_of("gpt")

    def as_step(state, batch):
        loss, params, opt = step(*state, batch["x"], batch["y"])
        return (params, opt), {"loss": loss}

    state = (params, optimizer.init(params))
    reference = Reference(as_step, state, batches, 6)
    workers, devices = LAYOUTS[layout]
    plan = alpa.DataParallel(devices, microbatches=k)
    with cluster.jit(step, (0, 1), (1, 2), plan, workers=workers, timeout=60) as run:
        params, opt, auxes = *state, []
        for i in range(6):
            loss, params, opt = run(params, opt, batches[i % 3]["x"], batches[i % 3]["y"])
            auxes.append({"loss": alpa.fetch(loss)})
        reference.check(trajectory(state, alpa.fetch((params, opt)), auxes))


def test_training_continues_after_fetch_and_upload(cluster):
    step, state, batches, reference = cases.case("gpt_dropout", "adamw")
    first, auxes = state, []
    with start(cluster, step, "data2_two_workers", 2) as run:
        for i in range(5):
            state, aux = run(state, batches[i % 3])
            auxes.append(alpa.fetch(aux))
        state = alpa.fetch(state)
        for i in range(5, 8):
            state, aux = run(state, batches[i % 3])
            auxes.append(alpa.fetch(aux))
        state = alpa.fetch(state)
    with start(cluster, step, "data4_two_workers", 4) as run:  # continues on other devices
        for i in range(8, 10):
            state, aux = run(state, batches[i % 3])
            auxes.append(alpa.fetch(aux))
        reference.check(trajectory(first, alpa.fetch(state), auxes))


def test_many_steps_in_one_message_equal_jit(cluster):
    step, state, batches, reference = cases.case("mlp", "adamw")
    with start(cluster, step, "data2_two_workers", 2) as run:
        last, _ = run.steps(state, batches, cases.STEPS)
        got = named_leaves(alpa.fetch(last))
        losses = [m["aux['loss']"] for m in run.metrics]
    aux = [{"['loss']": np.float32(loss)} for loss in losses]
    reference.check(type(reference.base)(named_leaves(state), got, aux))


def test_pinned_batch_dimensions_equal_jit(cluster):
    step, state, batches, reference = cases.case("mlp", "sgd")
    for pins in (0, {"x": 0, "y": 0}):
        check(cluster, step, state, batches, "data2_one_worker", 2, cases.STEPS, reference, batch_dims=pins)


def test_the_batch_dimension_need_not_be_the_first(cluster):
    """The batches are time-major, (T, B). The seeds split dimension 1."""
    base, state = cases.training(models.gpt_loss(cases.GPT), models.init_gpt(cases.GPT, jax.random.key(0)), "sgd")

    def step(state, batch):
        return base(state, {"x": batch["x"].T, "y": batch["y"].T})

    batches = [{k: np.ascontiguousarray(v.T) for k, v in b.items()} for b in cases.batches_of("gpt")]
    for layout, k in (("data2_two_workers", 4), ("one", 2)):
        check(cluster, step, state, batches, layout, k, steps=3, batch_dims={"x": 1, "y": 1})
        check(cluster, step, state, batches, layout, k, steps=3)


def test_state_may_contain_legacy_keys_named_tuples_none_and_integers(cluster):
    """The state contains a raw uint32 key, a NamedTuple of optax, None, and a Python integer that counts the steps."""
    optimizer = optax.adam(1e-2)

    def step(state, batch):
        params, opt, key, (count, nothing) = state
        key, sub = jax.random.split(key)
        noise = 0.01 * jax.random.normal(sub, batch["x"].shape)
        loss, grads = jax.value_and_grad(lambda p: jnp.mean(((batch["x"] + noise) @ p["w"] - batch["y"]) ** 2))(params)
        updates, opt = optimizer.update(grads, opt)
        return (optax.apply_updates(params, updates), opt, key, (count + 1, nothing)), (loss, {"count": count})

    params = {"w": jnp.ones((cases.MLP.inputs, cases.MLP.outputs))}
    state = (params, optimizer.init(params), jax.random.PRNGKey(4), (0, None))
    check(cluster, step, state, cases.batches_of("mlp"), "data2_two_workers", 2)


def test_an_evaluation_step_may_return_its_state_unchanged(cluster):
    def step(state, batch):
        logits = models.gpt_logits(cases.GPT, state, batch["x"])
        return state, {"right": (logits.argmax(-1) == batch["y"]).sum(), "logits": logits}

    state = models.init_gpt(cases.GPT, jax.random.key(0))
    check(cluster, step, state, cases.batches_of("gpt"), "data2_two_workers", 2, steps=3)


def test_rows_that_the_devices_do_not_divide_run_correctly_or_are_refused(cluster):
    """With 30 rows on 4 devices, either the last tile is short, or the plan is refused. The result is never wrong."""
    step, state = cases.training(models.mlp_loss(cases.MLP), models.init_mlp(cases.MLP, jax.random.key(0)), "sgd")
    batches = cases.batches_of("mlp", batch=30)
    try:
        check(cluster, step, state, batches, "data4_two_workers", 1)
    except alpa.PlanError as e:
        assert "30" in str(e) and "4" in str(e)


def test_a_batch_of_scalars_runs_on_one_device(cluster):
    """A scalar has no dimension to split, so one device runs the whole step."""
    def step(state, batch):
        return state + batch["x"], {"double": 2 * state}

    check(cluster, step, np.float32(1.5), [{"x": np.float32(0.25)}], "one", 1)
