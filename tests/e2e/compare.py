"""Checks that a run equals single-device jax.jit "up to rounding". The effect of rounding is measured.

JAX runs the same steps once with the given inputs, and PERTURBED_RUNS times with perturbed inputs. A perturbed run
changes every float input by about one rounding: by 3e-7 of its value, or by 5e-4 of its value if the model computes in
16 bits. The differences between these runs show how sensitive each result is to rounding. For example, a running sum is
hardly sensitive, and an Adam update is very sensitive if the exact gradient is zero.

The comparison covers each leaf of the aux at each step, and the change of each state leaf from start to end. The
largest difference between our run and the unperturbed JAX run may be at most

    10 x the largest difference between a perturbed run and the unperturbed run
    + 1e-4 x the largest absolute value of the aux leaf or of the state change.

Leaves that are not floats must be equal. Read Reference first, then Reference.violations().

Sums in 16 bits: XLA's CPU backend keeps a running sum of bf16 values in bf16. Over a thousand rows, this rounding loses
10 % of the gradient of a bias. XLA's GPU and TPU backends keep the sum in f32, and so do our backends. with_f32_sums()
makes JAX on CPU keep the sum in f32 too.
"""

import dataclasses

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

PERTURBED_RUNS = 3  # number of perturbed runs per reference
ROUNDING_32 = 3e-7  # relative change of each float input in a perturbed run
ROUNDING_16 = 5e-4  # the same, if the model computes in 16 bits


@dataclasses.dataclass
class Trajectory:
    """Holds the results of n steps: the first and last state, and the aux of each step, as {path: array}."""

    first: dict
    last: dict
    aux: list


@dataclasses.dataclass
class Violation:
    """Describes a difference that is not allowed. `where` is the index of the largest difference within the leaf."""

    what: str
    difference: float
    allowed: float
    where: tuple = ()

    def __str__(self):
        return f"{self.what}: differs by {self.difference:.3g} at {list(self.where)}, allowed {self.allowed:.3g}"


def named_leaves(tree):
    """Returns {path: numpy array}. A PRNG key is represented by its data."""
    pairs, _ = jax.tree_util.tree_flatten_with_path(tree)
    out = {}
    for path, value in pairs:
        if hasattr(value, "dtype") and jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
            value = jax.random.key_data(value)
        out[jax.tree_util.keystr(path)] = np.array(value)
    return out


def trajectory(first, last, auxes):
    return Trajectory(named_leaves(first), named_leaves(last), [named_leaves(aux) for aux in auxes])


class Reference:
    """Runs `steps` steps with jax.jit on one device: once with the given inputs, and `perturbed_runs` times with
    perturbed inputs. Each run uses the batches in turn, and starts again after the last batch."""

    def __init__(self, step, state, batches, steps, sixteen_bit=False, perturbed_runs=PERTURBED_RUNS):
        jitted = jax.jit(with_f32_sums(step) if sixteen_bit else step)
        self.steps = steps
        self.base = _run(jitted, state, batches, steps)
        size = ROUNDING_16 if sixteen_bit else ROUNDING_32
        self.perturbed = []
        for seed in range(perturbed_runs):
            rng = np.random.default_rng(1000 + seed)
            inputs = _perturb(state, size, rng), [_perturb(b, size, rng) for b in batches]
            self.perturbed.append(_run(jitted, *inputs, steps))

    def violations(self, got):
        """Returns one Violation per leaf of `got` that differs too much from the reference."""
        found = []
        if len(got.aux) != self.steps:
            found.append(Violation(f"{len(got.aux)} steps have aux, expected {self.steps}", np.inf, 0))
        for number, (want, have) in enumerate(zip(self.base.aux, got.aux), 1):
            perturbed = [run.aux[number - 1] for run in self.perturbed]
            found += _compare(f"aux of step {number}, ", want, have, perturbed)
        perturbed = [_change(run) for run in self.perturbed]
        found += _compare("change of state ", _change(self.base), _change(got), perturbed)
        return found

    def check(self, got):
        """Raises AssertionError if there are violations. The message lists the first 12 violations."""
        found = self.violations(got)
        assert not found, f"{len(found)} leaves are not equal to jax.jit:\n" + "\n".join(f"  {v}" for v in found[:12])


def with_f32_sums(step):
    """Returns the same step, but each sum over 16-bit values is computed in f32 and rounded once."""
    def wrapped(*args):
        closed, out = jax.make_jaxpr(step, return_shape=True)(*args)
        results = _evaluate(closed.jaxpr, closed.consts, jax.tree_util.tree_leaves(args))
        return jax.tree_util.tree_unflatten(jax.tree_util.tree_structure(out), results)

    return wrapped


def _evaluate(jaxpr, constants, arguments):
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*constants, *arguments]))

    def read(v):
        return v.val if hasattr(v, "val") else values[v]

    for equation in jaxpr.eqns:
        operands = [read(v) for v in equation.invars]
        inner = equation.params.get("jaxpr")
        if equation.primitive.name in ("jit", "pjit", "closed_call") and inner is not None:
            results = _evaluate(inner.jaxpr, inner.consts, operands)
        elif equation.primitive.name == "reduce_sum" and operands[0].dtype in (jnp.bfloat16, jnp.float16):
            axes = equation.params["axes"]
            results = [jnp.sum(operands[0], axis=axes, dtype=jnp.float32).astype(operands[0].dtype)]
        else:
            results = equation.primitive.bind(*operands, **equation.primitive.get_bind_params(equation.params))
            results = results if equation.primitive.multiple_results else [results]
        values.update(zip(equation.outvars, results))
    return [read(v) for v in jaxpr.outvars]


def run_ours(run, state, batches, steps):
    """Runs `steps` steps with `run`, an alpa Run or a function with the signature of a step. Returns the Trajectory."""
    import alpa

    first, auxes = state, []
    for i in range(steps):
        state, aux = run(state, batches[i % len(batches)])
        auxes.append(alpa.fetch(aux))
    return trajectory(first, alpa.fetch(state), auxes)


def same_bits(a, b):
    """Returns whether the last states and the aux of two trajectories have the same bits."""
    def equal(x, y):
        return x.keys() == y.keys() and all(x[k].dtype == y[k].dtype and x[k].tobytes() == y[k].tobytes() for k in x)

    return equal(a.last, b.last) and len(a.aux) == len(b.aux) and all(equal(x, y) for x, y in zip(a.aux, b.aux))


def _run(jitted, state, batches, steps):
    first, auxes = state, []
    for i in range(steps):
        state, aux = jitted(state, batches[i % len(batches)])
        auxes.append(aux)
    return trajectory(first, state, auxes)


def _is_float(x):
    return np.issubdtype(x.dtype, np.floating) or x.dtype == ml_dtypes.bfloat16


def _change(run):
    """Returns, for each float leaf of the state, the last value minus the first, in f64. For other leaves, returns the
    last value."""
    out = {}
    for path, last in run.last.items():
        out[path] = last.astype(np.float64) - run.first[path].astype(np.float64) if _is_float(last) else last
    return out


def _perturb(tree, size, rng):
    """Returns the tree with every float value changed by `size` times the value, up or down at random.

    For 16-bit values, `size` is less than the distance to the neighbouring value. A 16-bit result is therefore rounded
    up or down at random, so that the expected change is `size`.
    """
    def perturb(x):
        if hasattr(x, "dtype") and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            return x
        array = np.asarray(x)
        if isinstance(x, float):
            return x * (1 + size)
        if not _is_float(array):
            return x
        wide = array.astype(np.float64) * (1 + size * rng.choice([-1.0, 1.0], array.shape))
        if array.dtype.itemsize == 2:
            spacing = np.abs(np.spacing(array)).astype(np.float64)
            wide = wide + spacing * rng.uniform(-0.5, 0.5, array.shape)
        return wide.astype(array.dtype)

    return jax.tree_util.tree_map(perturb, tree)


def _compare(what, want, have, perturbed):
    if want.keys() != have.keys():
        names = sorted(want.keys() ^ have.keys())[:4]
        return [Violation(f"{what}leaves exist in only one of the two runs: {names}", np.inf, 0)]
    found = []
    for path, expected in want.items():
        got = have[path]
        if got.shape != expected.shape or got.dtype != expected.dtype:
            found.append(Violation(f"{what}{path} is {got.dtype}{got.shape}, expected {expected.dtype}{expected.shape}",
                                   np.inf, 0))
            continue
        if not _is_float(expected):
            if not np.array_equal(expected, got):
                where = np.unravel_index(np.argmax(expected != got), expected.shape)
                found.append(Violation(f"{what}{path} (not a float, must be equal)", np.inf, 0, tuple(map(int, where))))
            continue
        a, b = expected.astype(np.float64), got.astype(np.float64)
        if a.size == 0:
            continue
        with np.errstate(invalid="ignore"):
            difference = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
            difference = np.where(np.isnan(difference), np.inf, difference)
            effects = [np.abs(p[path].astype(np.float64) - a) for p in perturbed]
        effect = max((np.max(e[np.isfinite(e)], initial=0.0) for e in effects), default=0.0)
        allowed = 10 * effect + 1e-4 * np.max(np.abs(a[np.isfinite(a)]), initial=0.0)
        where = np.unravel_index(np.argmax(difference), a.shape)
        if difference[where] > allowed:
            found.append(Violation(what + path, float(difference[where]), float(allowed), tuple(map(int, where))))
    return found
