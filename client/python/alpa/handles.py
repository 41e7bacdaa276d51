"""Handles: run() returns them in place of arrays. The values stay on the workers until a handle is fetched."""

import collections

import jax
import numpy as np

from alpa import leaves


class Handle:
    """A leaf whose value is on the workers. Pass it to alpa.fetch(), or use it where numpy takes an array."""

    __slots__ = ("leaf_type", "path", "_run", "_leaf", "_token")

    def __init__(self, run, leaf, path, leaf_type, token):
        self.leaf_type = leaf_type
        self.path = path
        self._run = run
        self._leaf = leaf
        self._token = token

    @property
    def shape(self):
        return self.leaf_type.shape

    @property
    def dtype(self):
        return self.leaf_type.dtype

    @property
    def ndim(self):
        return len(self.shape)

    def __array__(self, dtype=None, copy=None):
        return np.asarray(fetch_all([self])[0], dtype=dtype)

    def item(self):
        return np.asarray(self).item()

    def __float__(self):
        return float(np.asarray(self))

    def __int__(self):
        return int(np.asarray(self))

    def __bool__(self):
        return bool(np.asarray(self))

    def __format__(self, spec):
        return format(self.item(), spec) if spec else repr(self)

    def __repr__(self):
        return f"<alpa {self.path}: {self.leaf_type}, {self._where()}>"


class StateHandle(Handle):
    """A state leaf after one step. Its value is released when the state is passed to the next step."""

    __slots__ = ()

    def _where(self):
        return f"state after step {self._token[1]}"


class AuxHandle(Handle):
    """An aux leaf of one step. The value of a small leaf is kept as long as the handle exists. The value of a large
    leaf is kept for 16 steps."""

    __slots__ = ()

    def _where(self):
        return f"step {self._token.number}"


def fetch_all(values):
    """Returns the values of a list of handles. Fetches all handles that belong to the same run together."""
    by_run = collections.defaultdict(list)
    for i, handle in enumerate(values):
        by_run[handle._run].append(i)
    out = [None] * len(values)
    for run, places in by_run.items():
        for i, array in zip(places, run._fetch([values[i] for i in places])):
            out[i] = leaves.from_host(array, values[i].leaf_type)
    return out


def fetch(tree):
    """Returns the same pytree with numpy arrays in place of handles and JAX arrays. PRNG keys stay keys. Waits for the
    steps that compute the values. Raises StaleStateError if the state of a handle was passed to a later step."""
    values, treedef = jax.tree_util.tree_flatten(tree)
    places = [i for i, value in enumerate(values) if isinstance(value, Handle)]
    for i, value in zip(places, fetch_all([values[i] for i in places])):
        values[i] = value
    values = [np.asarray(v) if isinstance(v, jax.Array) and not leaves.is_key(v) else v for v in values]
    return jax.tree_util.tree_unflatten(treedef, values)
