"""Tests of alpa.Run against FakeCluster, from the user's side."""

import threading
from typing import NamedTuple

import alpa
import grpc
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

OPTIMIZER = optax.adam(1e-2)


def loss_of(params, x, y):
    return jnp.mean((x @ params["w"] + params["b"] - y) ** 2)


def step(state, batch):
    key, _ = jax.random.split(state["key"])
    loss, grads = jax.value_and_grad(loss_of)(state["params"], batch["x"], batch["y"])
    updates, opt = OPTIMIZER.update(grads, state["opt"], state["params"])
    params = optax.apply_updates(state["params"], updates)
    return ({"params": params, "opt": opt, "key": key, "count": state["count"] + 1, "none": None},
            {"loss": loss, "g": grads})


def start():
    params = {"w": jnp.ones((4, 300)), "b": jnp.zeros((300,), jnp.float32)}
    return {"params": params, "opt": OPTIMIZER.init(params), "key": jax.random.key(7), "count": 0, "none": None}


def batch_of(seed, size=8):
    rng = np.random.default_rng(seed)
    return {"x": rng.normal(size=(size, 4)).astype(np.float32), "y": rng.normal(size=(size, 300)).astype(np.float32)}


def assert_same(a, b):
    a, b = jax.tree_util.tree_flatten(a), jax.tree_util.tree_flatten(b)
    assert a[1] == b[1]
    for x, y in zip(a[0], b[0]):
        if jnp.issubdtype(y.dtype if hasattr(y, "dtype") else type(y), jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), rtol=1e-5, atol=1e-7)


def reference(state, batches):
    jitted = jax.jit(step)
    for batch in batches:
        state, aux = jitted(state, batch)
    return state, aux


def test_steps_equal_jit_for_any_pytree(cluster):
    batches = [batch_of(i) for i in range(3)]
    run = cluster.parallelize(step, plan=alpa.DataParallel(4, microbatches=2))
    state = start()
    for batch in batches:
        state, aux = run(state, batch)
    expected = reference(start(), batches)
    got = alpa.fetch((state, aux))
    assert_same(got, expected)
    assert isinstance(got[0]["opt"][0], type(expected[0]["opt"][0]))
    assert jnp.issubdtype(got[0]["key"].dtype, jax.dtypes.prng_key)
    assert got[0]["count"].dtype == np.int32 and got[0]["none"] is None
    assert float(aux["loss"]) == pytest.approx(float(expected[1]["loss"]))
    assert [m["step"] for m in run.metrics] == [1, 2, 3] and "aux['loss']" in run.metrics[0]
    assert "fake plan" in str(run.plan) and run.plan.microbatches == 2
    assert run.describe().name == "step"


def test_the_request_carries_pins_and_roles(cluster, fake):
    run = cluster.parallelize(step, alpa.DataParallel(2, microbatches=4), batch_dims={"x": 0, "y": 0},
                              local_statistics=True, workers=["worker-1"])
    run(start(), batch_of(0))
    request = fake.requests[run.job_id]
    assert (request.plan.devices, request.plan.data_parallel, request.plan.microbatches) == (2, 2, 4)
    assert request.plan.statistics == 1 and list(request.plan.workers) == ["worker-1"]
    names = [role.path for role in request.roles.inputs]
    assert [names[seed.leaf] for seed in request.plan.batch_dims] == ["batch['x']", "batch['y']"]
    assert "state['opt'][0].mu['w']" in names


def test_a_call_returns_before_its_step_is_done_and_few_steps_are_in_flight(cluster, fake):
    run = cluster.parallelize(step)
    state, aux = run(start(), batch_of(0))
    alpa.block_until_ready(aux)
    fake.step_gate.clear()
    for i in range(7):
        state, aux = run(state, batch_of(i))
    assert run.steps_submitted == 8 and len(run.metrics) == 1
    blocked = threading.Thread(target=lambda: run(run(state, batch_of(8))[0], batch_of(9)))
    blocked.start()
    blocked.join(0.3)
    assert blocked.is_alive()
    fake.step_gate.set()
    blocked.join(10)
    assert not blocked.is_alive() and run.steps_submitted == 10


def test_state_stays_on_the_workers(cluster, fake):
    run = cluster.parallelize(step)
    state, _ = run(start(), batch_of(0))
    fake.records.clear()
    run(state, batch_of(1))
    assert {r[1] for r in fake.records if r[0] == "put"} == {1}  # batches only


def test_a_donated_handle_raises_a_clear_error(cluster):
    run = cluster.parallelize(step)
    first, _ = run(start(), batch_of(0))
    second, _ = run(first, batch_of(1))
    with pytest.raises(alpa.StaleStateError, match=r"state after step 1, which is gone: it was passed to step 2"):
        alpa.fetch(first)
    with pytest.raises(alpa.StaleStateError, match=r"state\["):
        run(first, batch_of(2))
    alpa.fetch(second)


def test_fetched_or_changed_state_is_uploaded_again(cluster):
    run = cluster.parallelize(step)
    state, _ = run(start(), batch_of(0))
    host = alpa.fetch(state)
    changed = dict(state, params=dict(state["params"], b=np.full(300, 2, np.float32)))  # mixes handles and an array
    run(changed, batch_of(1))
    with pytest.raises(alpa.StaleStateError, match="gone"):
        alpa.fetch(state)
    state, aux = run(host, batch_of(1))
    assert_same(alpa.fetch((state, aux)), reference(start(), [batch_of(0), batch_of(1)]))


def test_upload_puts_state_in_place_at_once(cluster, fake):
    run = cluster.parallelize(step)
    with pytest.raises(alpa.AlpaError, match="no job yet"):
        run.upload(start())
    old, _ = run(start(), batch_of(3))
    state = run.upload(start())
    assert_same(alpa.fetch(state), start())
    with pytest.raises(alpa.StaleStateError, match="other state was put"):
        alpa.fetch(old)
    fake.records.clear()
    state, aux = run(state, batch_of(0))
    assert {r[1] for r in fake.records if r[0] == "put"} == {1}
    assert_same(alpa.fetch((state, aux)), reference(start(), [batch_of(0)]))
    with pytest.raises(alpa.InputError, match=r"state\['count'\] is missing"):
        run.upload({k: v for k, v in start().items() if k != "count"})


def test_a_run_takes_handles_of_another_run(cluster):
    one = cluster.parallelize(step)
    state, _ = one(start(), batch_of(0))
    two = cluster.parallelize(step, alpa.DataParallel(2))
    state, aux = two(state, batch_of(1))
    assert_same(alpa.fetch((state, aux)), reference(start(), [batch_of(0), batch_of(1)]))
    assert one.job_id != two.job_id


def test_one_message_requests_many_steps(cluster, fake):
    batches = [batch_of(i) for i in range(3)]
    run = cluster.parallelize(step)
    state, aux = run.steps(start(), batches, 7)
    expected = reference(start(), [batches[i % 3] for i in range(7)])
    assert_same(alpa.fetch((state, aux)), expected)
    assert [r for r in fake.records if r[0] == "run"] == [("run", 1, 7)]
    state, _ = run.steps(state, batches, 2)
    assert len(run.metrics) == 9 or (run.wait() or len(run.metrics) == 9)


def test_old_small_aux_is_kept_and_old_large_aux_raises(cluster):
    run = cluster.parallelize(step)
    state, first = run(start(), batch_of(0))
    run.steps(state, [batch_of(0)], 20)
    run.wait()
    assert float(first["loss"]) > 0
    with pytest.raises(alpa.StaleStateError, match="no longer kept"):
        alpa.fetch(first["g"])


def test_jit_runs_a_step_with_two_state_arguments(cluster):
    def train(params, opt, x, y):
        loss, grads = jax.value_and_grad(loss_of)(params, x, y)
        updates, opt = OPTIMIZER.update(grads, opt, params)
        return loss, optax.apply_updates(params, updates), opt

    params, b = start()["params"], batch_of(0)
    opt = OPTIMIZER.init(params)
    run = cluster.jit(train, state_argnums=(0, 1), state_outs=(1, 2))
    loss, p, o = run(params, opt, b["x"], b["y"])
    loss, p, o = run(p, o, b["x"], b["y"])
    expected = jax.jit(train)(*jax.jit(train)(params, opt, b["x"], b["y"])[1:], b["x"], b["y"])
    assert_same(alpa.fetch((loss, p, o)), expected)


class Point(NamedTuple):
    x: object
    y: object


def test_a_step_takes_bf16_ints_bools_and_keys_and_returns_no_aux(cluster):
    def odd(state, batch):
        noise = jax.random.normal(batch["key"], (2, 3), jnp.bfloat16)
        x = jnp.where(batch["mask"], state.x + noise, state.x)
        return Point(x, state.y + batch["n"]), None

    state = Point(jnp.ones((2, 3), jnp.bfloat16), np.int32(3))
    batch = {"key": jax.random.key(1), "mask": np.array([[True, False, True], [False, True, True]]), "n": 2}
    run = cluster.parallelize(odd, batch_dims={"mask": 0, "key": None, "n": None})
    got, aux = run(state, batch)
    expected, _ = jax.jit(odd)(state, batch)
    got = alpa.fetch(got)
    assert aux is None and got.x.dtype == jnp.bfloat16
    np.testing.assert_array_equal(got.x.astype(np.float32), np.asarray(expected.x, np.float32))
    assert got.y == 5


def scaled(s, b):
    return {"w": s["w"] * b["x"].sum()}, None


@pytest.mark.parametrize("bad,state,batch,message", [
    (lambda s, b: ({"w": s["w"][:2]}, None), {"w": np.ones(4, np.float32)}, {"x": 1.0},
     r"state leaf state\['w'\] comes in as f32\[4\] and goes out as f32\[2\]"),
    (lambda s, b: ({"w": s["w"].astype(jnp.bfloat16)}, None), {"w": np.ones(4, np.float32)}, {"x": 1.0},
     "goes out as bf16"),
    (lambda s, b: ({"v": s["w"]}, None), {"w": np.ones(4, np.float32)}, {"x": 1.0}, r"state\['v'\]"),
    (lambda s, b: ({}, None), {"w": np.ones(4, np.float32)}, {"x": 1.0},
     r"does not return the state leaf state\['w'\]"),
    (lambda s, b: s, {"w": np.ones(4, np.float32)}, {"x": 1.0}, r"must return \(state, aux\)"),
    (lambda s, b: (s, None), {"w": "text"}, {"x": 1.0}, r"state\['w'\] is a str"),
    (lambda s, b: (s, None), {"w": np.ones(2, np.complex64)}, {"x": 1.0}, "complex64, which is not supported"),
    (lambda s, b: ([s[0], s[1]], None), (1, 2), {"x": 1.0}, "must keep its structure"),
])
def test_a_bad_step_or_state_is_refused_before_anything_is_submitted(cluster, fake, bad, state, batch, message):
    with pytest.raises(alpa.InputError, match=message):
        cluster.parallelize(bad)(state, batch)
    assert "submit" not in fake.records


def test_errors_of_wrong_arguments_name_the_leaf(cluster):
    run = cluster.parallelize(step)
    state, _ = run(start(), batch_of(0))
    with pytest.raises(alpa.InputError, match=r"batch\['x'\] is f32\[6,4\]; the program was traced with f32\[8,4\]"):
        run(state, batch_of(0, 6))
    with pytest.raises(alpa.InputError, match=r"batch\['y'\] is missing"):
        run(state, {"x": batch_of(0)["x"]})
    with pytest.raises(alpa.InputError, match="traced with 2 arguments and is now called with 1"):
        run(state)
    with pytest.raises(alpa.InputError, match=r"state\['params'\]\['b'\] is f16"):
        run(dict(state, params=dict(state["params"], b=np.zeros(300, np.float16))), batch_of(0))
    run(state, batch_of(1))  # the refused calls changed nothing


def test_the_users_own_exceptions_pass_through(cluster):
    def broken(state, batch):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        cluster.parallelize(broken)(1.0, 2.0)


def test_wrong_pins_are_refused(cluster):
    with pytest.raises(alpa.InputError, match="plan= is 'fast'"):
        cluster.parallelize(step, plan="fast")
    with pytest.raises(alpa.InputError, match="devices=3"):
        cluster.parallelize(step, alpa.DataParallel(2), devices=3)
    with pytest.raises(alpa.InputError, match="dimension 5 of batch"):
        cluster.parallelize(step, batch_dims=5)(start(), batch_of(0))
    with pytest.raises(alpa.InputError, match="does not fit the batch"):
        cluster.parallelize(step, batch_dims={"z": 0})(start(), batch_of(0))
    with pytest.raises(alpa.InputError, match="must have the same length"):
        cluster.jit(step, state_argnums=(0, 1), state_outs=0)


def test_a_refused_submit_raises_the_error_of_its_reason(cluster, fake):
    fake.refuse = (grpc.StatusCode.UNIMPLEMENTED, "UNSUPPORTED_OP", "op fft at model.py:7 is not supported")
    with pytest.raises(alpa.UnsupportedOpError, match="op fft at model.py:7") as e:
        cluster.parallelize(step)(start(), batch_of(0))
    assert e.value.reason == "UNSUPPORTED_OP"


def test_failed_planning_raises_the_error_of_its_reason(cluster, fake):
    fake.plan_error = ("NO_FEASIBLE_PLAN", "8 does not divide 3")
    with pytest.raises(alpa.PlanError, match="8 does not divide 3"):
        cluster.parallelize(step)(start(), batch_of(0))


def test_a_failed_step_raises_on_the_next_use(cluster, fake):
    run = cluster.parallelize(step)
    state, _ = run(start(), batch_of(0))
    fake.fail_step = 2
    state, aux = run(state, batch_of(1))
    with pytest.raises(alpa.JobFailedError, match="worker-1 died") as e:
        alpa.fetch(aux)
    assert (e.value.cause, e.value.worker, e.value.reason) == ("INFRASTRUCTURE", "worker-1", "JOB_FAILED")
    for use in (lambda: run(state, batch_of(2)), lambda: alpa.fetch(state), run.wait):
        with pytest.raises(alpa.JobFailedError, match="worker-1 died"):
            use()


def test_a_lost_coordinator_raises_on_the_next_use(cluster, fake):
    run = cluster.parallelize(step)
    state, _ = run(start(), batch_of(0))
    run.wait()
    fake.server.stop(None).wait()
    with pytest.raises(alpa.UnreachableError):
        for i in range(20):
            state, aux = run(state, batch_of(i))
            alpa.fetch(aux["loss"])


def test_close_finishes_the_job_and_invalidates_its_handles(cluster, fake):
    run = cluster.parallelize(step)
    state, _ = run(start(), batch_of(0))
    run.close()
    run.close()
    assert run.job_id and fake.jobs[run.job_id].proto.state == 4
    with pytest.raises(alpa.StaleStateError, match="closed"):
        alpa.fetch(state)
    with pytest.raises(alpa.AlpaError, match="closed"):
        run(start(), batch_of(0))


def test_connect_reports_an_unreachable_coordinator_in_time():
    with pytest.raises(alpa.UnreachableError, match="no coordinator answers at 127.0.0.1:1"):
        alpa.connect("127.0.0.1:1", timeout=1)


def test_a_large_leaf_moves_in_pieces(cluster, fake, monkeypatch):
    monkeypatch.setattr("alpa.tensors.PIECE", 16 << 20)

    def grow(state, batch):
        return state + 1, {"sum": state.sum()}

    big = np.arange(6_000_000, dtype=np.float32).reshape(3, 2_000_000) % 97
    run = cluster.parallelize(grow)
    state, _ = run(big, {"x": np.ones(4, np.float32)})
    np.testing.assert_array_equal(alpa.fetch(state), big + 1)
    assert sum(1 for r in fake.records if r[0] == "put" and r[1] == 0) == 4  # two pieces to each of two workers
