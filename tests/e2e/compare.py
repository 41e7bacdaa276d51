"""Whether a run equals single-device jax.jit "up to rounding", with rounding measured.

JAX runs the same steps a few times more with every float input moved by one rounding: 3e-7 relative, or 5e-4 where the
model computes in 16 bits. How far that moves each result is how much rounding matters there: nothing for a running sum,
everything for Adam on a gradient that is zero in theory. For each leaf of aux at each step, and for the change of each
state leaf since the start, our largest difference may be at most

    10 x the largest move of those runs + 1e-4 x the largest change in that leaf (the largest value, for aux).

Integers must be equal. Start at Reference, then Reference.violations().

Sums in 16 bits: XLA's CPU backend keeps a running sum of bf16 values in bf16, which loses 10 % of a bias's gradient over a
thousand rows; its GPU and TPU backends, and ours, keep it in f32. with_f32_sums() makes JAX on CPU do so too.
"""

import dataclasses

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

MOVES = 3
ROUNDING_32 = 3e-7
ROUNDING_16 = 5e-4


@dataclasses.dataclass
class Trajectory:
    """What n steps gave: the first and last state, and the aux of each step, as {path: array}."""

    first: dict
    last: dict
    aux: list


@dataclasses.dataclass
class Violation:
    what: str
    difference: float
    allowed: float
    where: tuple = ()

    def __str__(self):
        return f"{self.what}: differs by {self.difference:.3g} at {list(self.where)}, allowed {self.allowed:.3g}"


def named_leaves(tree):
    """{path: numpy array}; PRNG keys as their data."""
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
    """n steps of `step` with jax.jit on one device, batches used in turn, and the moved runs beside them."""

    def __init__(self, step, state, batches, steps, sixteen_bit=False, moves=MOVES):
        jitted = jax.jit(with_f32_sums(step) if sixteen_bit else step)
        self.steps = steps
        self.base = _run(jitted, state, batches, steps)
        size = ROUNDING_16 if sixteen_bit else ROUNDING_32
        self.moved = []
        for seed in range(moves):
            rng = np.random.default_rng(1000 + seed)
            self.moved.append(_run(jitted, _move(state, size, rng), [_move(b, size, rng) for b in batches], steps))

    def violations(self, got):
        """What of `got` does not equal the reference; empty: all does."""
        found = []
        if len(got.aux) != self.steps:
            found.append(Violation(f"{len(got.aux)} steps have aux, not {self.steps}", np.inf, 0))
        for number, (want, have) in enumerate(zip(self.base.aux, got.aux), 1):
            moved = [m.aux[number - 1] for m in self.moved]
            found += _compare(f"aux of step {number}, ", want, have, moved)
        found += _compare("change of state ", _change(self.base), _change(got), [_change(m) for m in self.moved])
        return found

    def check(self, got):
        """Raises AssertionError that lists the first violations."""
        found = self.violations(got)
        assert not found, f"{len(found)} leaves are not equal to jax.jit:\n" + "\n".join(f"  {v}" for v in found[:12])


def with_f32_sums(step):
    """The same step, with each sum over 16-bit values taken in f32 and rounded once."""
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
    """The Trajectory of an alpa Run (or of any function called like a step)."""
    import alpa

    first, auxes = state, []
    for i in range(steps):
        state, aux = run(state, batches[i % len(batches)])
        auxes.append(alpa.fetch(aux))
    return trajectory(first, alpa.fetch(state), auxes)


def same_bits(a, b):
    """Whether two trajectories are equal to the last bit."""
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
    """Last minus first, in f64, of float leaves; the last value of others."""
    out = {}
    for path, last in run.last.items():
        out[path] = last.astype(np.float64) - run.first[path].astype(np.float64) if _is_float(last) else last
    return out


def _move(tree, size, rng):
    """Every float leaf moved by `size` relative, up or down at random; 16-bit leaves, whose own steps are wider, are
    rounded at random so that they move as much on average."""
    def move(x):
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

    return jax.tree_util.tree_map(move, tree)


def _compare(what, want, have, moved):
    if want.keys() != have.keys():
        return [Violation(f"{what}has other leaves: {sorted(want.keys() ^ have.keys())[:4]}", np.inf, 0)]
    found = []
    for path, expected in want.items():
        got = have[path]
        if got.shape != expected.shape or got.dtype != expected.dtype:
            found.append(Violation(f"{what}{path} is {got.dtype}{got.shape}, not {expected.dtype}{expected.shape}", np.inf, 0))
            continue
        if not _is_float(expected):
            if not np.array_equal(expected, got):
                where = np.unravel_index(np.argmax(expected != got), expected.shape)
                found.append(Violation(f"{what}{path} (not a float)", np.inf, 0, tuple(map(int, where))))
            continue
        a, b = expected.astype(np.float64), got.astype(np.float64)
        if a.size == 0:
            continue
        with np.errstate(invalid="ignore"):
            difference = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
            difference = np.where(np.isnan(difference), np.inf, difference)
            moves = [np.abs(m[path].astype(np.float64) - a) for m in moved]
        move = max((np.max(m[np.isfinite(m)], initial=0.0) for m in moves), default=0.0)
        allowed = 10 * move + 1e-4 * np.max(np.abs(a[np.isfinite(a)]), initial=0.0)
        where = np.unravel_index(np.argmax(difference), a.shape)
        if difference[where] > allowed:
            found.append(Violation(what + path, float(difference[where]), float(allowed), tuple(map(int, where))))
    return found
