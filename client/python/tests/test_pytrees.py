"""State and batch can be any pytree that jax.jit takes. Every case runs two steps with parallelize() and with jit(),
and saves the step with save_job(). The results must equal those of jax.jit."""

import dataclasses
import json
from typing import Any, NamedTuple

import alpa
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open

X = np.arange(12, dtype=np.float32).reshape(4, 3) / 10


@jax.tree_util.register_pytree_node_class
class Layer:
    """Like an Equinox module or a flax dataclass. It has arrays, an optional array, and static fields."""

    def __init__(self, w, b, scale, activation):
        self.w, self.b, self.scale, self.activation = w, b, scale, activation

    def tree_flatten(self):
        return (self.w, self.b), (self.scale, self.activation)

    @classmethod
    def tree_unflatten(cls, static, children):
        return cls(*children, *static)

    def __call__(self, x):
        return self.activation(x @ self.w) * self.scale


@dataclasses.dataclass
class Model:
    """Like an Equinox MLP or a module of flax nnx. One of its leaves is a function."""

    w: Any
    activation: Any
    name: str = "model"


jax.tree_util.register_dataclass(Model, data_fields=["w", "activation"], meta_fields=["name"])


class Point(NamedTuple):
    x: Any
    y: Any


def sgd(loss, state, batch):
    value, gradients = jax.value_and_grad(loss)(state, batch)
    return jax.tree_util.tree_map(lambda p, g: p - 0.1 * g, state, gradients), {"loss": value, "gradients": gradients}


def layer_case():
    step = lambda s, b: sgd(lambda s, b: jnp.mean(s(b["x"]) ** 2), s, b)
    return step, Layer(jnp.ones((3, 2)), None, 2, jax.nn.relu), {"x": X}


def none_case():
    step = lambda s, b: (Point(s.x + b.x.sum(), None), None)
    return step, Point(np.ones(3, np.float32), None), Point(X, None)


def key_case():
    def step(s, b):
        noise = jax.random.normal(b["key"], (3,)) + jax.random.uniform(b["keys"][1])
        return {"key": jax.random.split(s["key"])[0], "w": s["w"] + noise}, {"keys": jax.random.split(b["key"], 2)}

    return (step, {"key": jax.random.key(1), "w": jnp.zeros(3)},
            {"key": jax.random.key(2), "keys": jax.random.split(jax.random.key(3), 4), "x": X})


def python_scalar_case():
    step = lambda s, b: ({"i": s["i"] + 1, "f": s["f"] * 2 + b["f"], "t": s["t"], "w": s["w"] * s["f"]},
                         {"product": b["i"] * s["w"], "not": ~b["t"] if hasattr(b["t"], "dtype") else not b["t"]})
    state = {"i": 3, "f": 1.5, "t": True, "w": jnp.ones(3, jnp.bfloat16)}  # bf16 times a Python float stays bf16
    return step, state, {"f": 0.5, "i": 2, "t": np.bool_(False), "x": X}


def numpy_scalar_case():
    step = lambda s, b: ({"i": s["i"] + 1, "f": s["f"] * 2, "h": s["h"] + b["h"]}, {"product": b["i"] * s["f"]})
    return (step, {"i": np.int64(3), "f": np.float64(1.5), "h": np.float16(2)},
            {"i": np.int8(3), "h": np.float16(1), "x": X})


def empty_leaf_case():
    step = lambda s, b: ({"e": s["e"] * 2, "w": s["w"] + b["e"].sum()}, {"e": s["e"], "batch": b["e"]})
    return step, {"e": jnp.zeros((0, 4)), "w": jnp.ones(2)}, {"e": np.zeros((4, 0), np.float32), "x": X}


def no_state_case():
    return lambda s, b: (s, {"sum": b["x"].sum()}), {"a": None, "b": ()}, {"x": X}


def no_batch_case():
    return lambda s, b: (s + 1, s.sum()), jnp.ones(3), None


def named_result_case():
    return lambda s, b: Point(s + b["x"].sum(), s), jnp.ones(3), {"x": X}


def odd_layout_case():
    step = lambda s, b: ({"c": s["c"] + b["x"].sum()}, {"x": b["x"]})
    return step, {"c": np.arange(12, dtype=np.float32).reshape(3, 4).T}, {"x": np.asfortranarray(X)}


CASES = {f.__name__.removesuffix("_case"): f for f in (
    layer_case, none_case, key_case, python_scalar_case, numpy_scalar_case, empty_leaf_case, no_state_case,
    no_batch_case, named_result_case, odd_layout_case)}


def plain(x):
    return np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x)


def assert_same(got, expected):
    got, expected = jax.tree_util.tree_flatten(got), jax.tree_util.tree_flatten(expected)
    assert got[1] == expected[1]
    for x, y in zip(got[0], expected[0]):
        x, y = plain(x), plain(y)
        assert x.dtype == y.dtype and x.shape == y.shape
        np.testing.assert_allclose(x.astype(np.float64), y.astype(np.float64), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_a_pytree_gives_the_results_of_jit(cluster, tmp_path, name):
    check(cluster, tmp_path, *CASES[name]())


def check(cluster, tmp_path, step, state, batch):
    jitted = jax.jit(step)
    first = jitted(state, batch)
    second = jitted(first[0], batch)
    for run in (cluster.parallelize(step, alpa.DataParallel(1)), cluster.jit(step, 0, 0, alpa.DataParallel(1))):
        got = run(state, batch)
        assert_same(alpa.fetch(got), first)
        got = run(got[0], batch)
        assert_same(alpa.fetch(got), second)
        run.close()
    alpa.save_job(tmp_path, step, state, [batch])
    saved = saved_state(tmp_path)
    inputs = json.loads((tmp_path / "job.json").read_text())["inputs"]
    assert saved == {leaf["path"] for leaf in inputs if leaf["kind"] == "state"}
    assert len(saved) == len(jax.tree_util.tree_leaves(state))


def saved_state(directory):
    with safe_open(str(directory / "state.safetensors"), "numpy") as file:
        return set(file.keys())


# ---- functions among the leaves ----


def activate(state, batch):
    return dataclasses.replace(state, w=state.w + state.activation(batch["x"]).sum()), {"f": batch["f"]}


def test_a_function_among_the_leaves_is_a_part_of_the_structure(cluster, tmp_path):
    state, batch = Model(jnp.ones(3), jnp.tanh), {"x": X, "f": jax.nn.relu}
    run = cluster.parallelize(activate, batch_dims={"x": 0, "f": None})
    after, aux = run(state, batch)
    assert after.activation is jnp.tanh and aux == {"f": jax.nn.relu}
    fetched = alpa.fetch(run(after, batch)[0])
    np.testing.assert_allclose(fetched.w, 1 + 2 * np.tanh(X).sum() * np.ones(3), rtol=1e-5)
    assert run.upload(fetched).activation is jnp.tanh
    with pytest.raises(alpa.InputError, match=r"state\.activation is <.*sin.*, and was <.*tanh"):
        run(dataclasses.replace(fetched, activation=jnp.sin), batch)
    with pytest.raises(alpa.InputError, match=r"state\.activation is <.*sin.*, and was <.*tanh"):
        cluster.parallelize(lambda s, b: (dataclasses.replace(s, activation=jnp.sin), None))(state, batch)
    alpa.save_job(tmp_path, activate, state, [batch])
    assert saved_state(tmp_path) == {"state.w"}


def test_an_object_that_can_be_called_is_no_function(cluster):
    class Counter:
        def __call__(self, x):
            return x

    with pytest.raises(alpa.InputError, match=r"state\.activation is a Counter, not an array"):
        cluster.parallelize(activate)(Model(jnp.ones(3), Counter()), {"x": X, "f": jnp.sin})


# ---- weak types ----


def test_a_python_scalar_and_an_array_are_the_same_if_the_step_computes_the_same(cluster):
    run = cluster.parallelize(lambda s, b: ({"n": s["n"] + 1, "w": s["w"] * b["rate"]}, None))
    state, _ = run({"n": 0, "w": np.ones(3, np.float32)}, {"rate": 0.5, "x": X})
    state, _ = run(alpa.fetch(state), {"rate": np.float32(0.5), "x": X})  # "n" is an int32 array now
    got = alpa.fetch(state)
    assert got["n"] == 2 and got["w"].tolist() == [0.25] * 3


def test_a_python_scalar_that_becomes_an_array_is_refused_if_jit_would_compute_something_else(cluster):
    run = cluster.parallelize(lambda s, b: (s + 1, {"w": b["w"] * b["rate"]}))
    batch = {"w": np.ones(3, jnp.bfloat16), "rate": 0.5}
    state, aux = run(np.ones(3, np.float32), batch)
    assert alpa.fetch(aux)["w"].dtype == jnp.bfloat16
    with pytest.raises(alpa.InputError, match=r"batch\['rate'\] was a Python scalar .* an array of dtype float32"):
        run(state, dict(batch, rate=np.float32(0.5)))
    assert alpa.fetch(run(state, batch)[1])["w"].dtype == jnp.bfloat16


def test_a_state_scalar_that_loses_its_weak_type_is_refused_if_the_next_step_would_differ(cluster, fake):
    def step(state, batch):
        return {"scale": state["scale"] * np.float32(2)}, {"w": batch["w"] * state["scale"]}

    with pytest.raises(alpa.InputError, match=r"state\['scale'\] was a Python scalar"):
        cluster.parallelize(step)({"scale": 1.0}, {"w": np.ones(3, jnp.bfloat16)})
    assert "submit" not in fake.records


# ---- errors name the leaf ----


def add(s, b):
    return jax.tree_util.tree_map(lambda w: w + 1, s), {"sum": b["x"].sum()}


@pytest.mark.parametrize("state,changed,message", [
    (Layer(jnp.ones((3, 2)), None, 2, jnp.tanh), Layer(jnp.ones((3, 2)), jnp.ones(2), 2, jnp.tanh),
     r"state.*1.* is unexpected"),
    (Model(jnp.ones(3), None), Model(None, None), r"state\.w is missing"),
    (Point(jnp.ones(2), {"a": jnp.ones(1)}), Point(jnp.ones(2), {"b": jnp.ones(1)}), r"state\.y\['a'\] is missing"),
    (Point(jnp.ones(2), None), Point(jnp.ones(3), None), r"state\.x is f32\[3\]; .* traced with f32\[2\]"),
    ({"k": jax.random.key(0)}, {"k": jax.random.PRNGKey(0)}, r"state\['k'\] is u32\[2\]; .*PRNG key"),
    ((jnp.ones(1),), [jnp.ones(1)], "in other containers"),
])
def test_a_wrong_structure_is_refused_by_the_path_of_its_leaf(cluster, state, changed, message):
    step = add if not isinstance(state, dict) else lambda s, b: (s, b["x"].sum())
    run = cluster.parallelize(step)
    run(state, {"x": X})
    with pytest.raises(alpa.InputError, match=message):
        run(changed, {"x": X})


# ---- models of Equinox and other libraries, if they are installed ----


def test_equinox(cluster, tmp_path):
    eqx = pytest.importorskip("equinox")
    model = eqx.nn.MLP(3, 2, 4, 2, key=jax.random.key(0))
    arrays, rest = eqx.partition(model, eqx.is_array)
    loss = lambda model, b: jnp.mean(jax.vmap(model)(b["x"]) ** 2)
    step = lambda s, b: sgd(lambda s, b: loss(eqx.combine(s, rest), b), s, b)
    check(cluster, tmp_path, step, arrays, {"x": X})

    def whole(model, batch):  # jax.jit refuses the functions in the model
        value, gradients = eqx.filter_value_and_grad(loss)(model, batch)
        return eqx.apply_updates(model, jax.tree_util.tree_map(lambda g: -0.1 * g, gradients)), {"loss": value}

    got, _ = cluster.parallelize(whole)(model, {"x": X})
    expected, _ = jax.jit(step)(arrays, {"x": X})
    assert_same(eqx.filter(alpa.fetch(got), lambda x: hasattr(x, "dtype")), expected)


def test_flax_linen(cluster, tmp_path):
    nn, optax = pytest.importorskip("flax.linen"), pytest.importorskip("optax")
    from flax.training import train_state

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.BatchNorm(use_running_average=False)(nn.Dense(4)(x))
            return nn.Dropout(0.5, deterministic=False)(x)

    net = Net()
    variables = net.init({"params": jax.random.key(0), "dropout": jax.random.key(1)}, X)
    state = train_state.TrainState.create(apply_fn=net.apply, params=variables["params"], tx=optax.sgd(0.1, 0.9))

    def step(state, batch):
        train, statistics, key = state
        key, dropout = jax.random.split(key)

        def loss(params):
            out, new = train.apply_fn({"params": params, "batch_stats": statistics}, batch["x"],
                                      rngs={"dropout": dropout}, mutable=["batch_stats"])
            return jnp.mean(out ** 2), new["batch_stats"]

        (value, statistics), gradients = jax.value_and_grad(loss, has_aux=True)(train.params)
        return (train.apply_gradients(grads=gradients), statistics, key), {"loss": value}

    check(cluster, tmp_path, step, (state, variables["batch_stats"], jax.random.key(2)), {"x": X})


def test_flax_nnx(cluster, tmp_path):
    nnx = pytest.importorskip("flax.nnx")

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.dense, self.dropout = nnx.Linear(3, 4, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)

        def __call__(self, x):
            return nnx.relu(self.dropout(self.dense(x)))

    def step(state, batch):
        model = nnx.merge(*state)
        value, gradients = nnx.value_and_grad(lambda m: jnp.mean(m(batch["x"]) ** 2))(model)
        update = jax.tree_util.tree_map(lambda p, g: p - 0.1 * g, nnx.state(model, nnx.Param), gradients)
        nnx.update(model, update)
        return nnx.split(model), {"loss": value}

    check(cluster, tmp_path, step, nnx.split(Net(nnx.Rngs(0))), {"x": X})


def test_haiku(cluster, tmp_path):
    hk = pytest.importorskip("haiku")
    net = hk.transform_with_state(lambda x: hk.BatchNorm(True, True, 0.9)(hk.nets.MLP([4, 2])(x), True))
    params, state = net.init(jax.random.PRNGKey(0), X)

    def step(state, batch):
        def loss(params):
            out, new = net.apply(params, state[1], None, batch["x"])
            return jnp.mean(out ** 2), new

        (value, new), gradients = jax.value_and_grad(loss, has_aux=True)(state[0])
        return (jax.tree_util.tree_map(lambda p, g: p - 0.1 * g, state[0], gradients), new), {"loss": value}

    check(cluster, tmp_path, step, (params, state), {"x": X})
