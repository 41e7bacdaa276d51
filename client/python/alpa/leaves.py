"""Leaves: the arrays of a user's pytrees, each with its path, its type, and its role in the program."""

import dataclasses

import jax
import numpy as np
from jax.api_util import shaped_abstractify

from alpa import dtypes, errors


@dataclasses.dataclass(frozen=True)
class LeafType:
    """Shape and dtype of an array on the wire. A typed PRNG key is sent as its key data; `key_impl` is then its
    implementation."""

    shape: tuple
    dtype: np.dtype
    key_impl: object = None
    weak: bool = False  # JAX's weak type: the dtype gives way to other dtypes

    def __str__(self):
        text = dtypes.describe(self.shape, self.dtype)
        return f"{text} (PRNG key {self.key_impl})" if self.key_impl is not None else text

    def same(self, other):
        """True if both are the same array type. Ignores `weak`."""
        return (self.shape, self.dtype) == (other.shape, other.dtype) and str(self.key_impl) == str(other.key_impl)

    def abstract(self):
        return jax.ShapeDtypeStruct(self.shape, self.dtype, weak_type=self.weak)

    @property
    def nbytes(self):
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


def is_key(x):
    """True for a typed PRNG key (array)."""
    dtype = getattr(x, "dtype", None)
    return dtype is not None and jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key)


def type_of(x, path):
    """Returns the LeafType of a user's value or handle. Raises InputError, which names `path`, if the value is not an
    array or a number, or if its dtype is not supported."""
    known = getattr(x, "leaf_type", None)
    if isinstance(known, LeafType):
        return known
    if is_key(x):
        data = jax.eval_shape(jax.random.key_data, x)
        return LeafType(tuple(data.shape), np.dtype(data.dtype), jax.random.key_impl(x))
    try:
        aval = shaped_abstractify(x)
    except (TypeError, OverflowError, ValueError) as e:
        raise errors.InputError(f"{path} is a {type(x).__name__}, not an array or a number: {e}") from None
    dtype = np.dtype(aval.dtype)
    if dtypes.name(dtype) is None:
        raise errors.InputError(f"{path} has dtype {dtype}, which is not supported")
    return LeafType(tuple(aval.shape), dtype, None, bool(getattr(aval, "weak_type", False)))


def to_host(x, leaf_type):
    """Returns the value as a dense row-major numpy array of its type. Does not copy if the value already has
    this form."""
    if is_key(x):
        x = jax.random.key_data(x)
    return np.asarray(x, dtype=leaf_type.dtype, order="C").reshape(leaf_type.shape)


def from_host(array, leaf_type):
    """Returns the user's form of a fetched array: the numpy array itself, or the PRNG key of this key data."""
    if leaf_type.key_impl is not None:
        return jax.random.wrap_key_data(jax.numpy.asarray(array), impl=leaf_type.key_impl)
    return array


def flatten(tree, name):
    """Returns the leaves of a pytree as (path, value) pairs, and its structure. Paths start with `name`, as in
    "state['w']"."""
    pairs, treedef = jax.tree_util.tree_flatten_with_path(tree)
    return [(name + jax.tree_util.keystr(path), value) for path, value in pairs], treedef


def structure_difference(expected, got):
    """Describes the first difference between two lists of paths."""
    expected, got = list(expected), list(got)
    for path in expected:
        if path not in got:
            return f"{path} is missing"
    for path in got:
        if path not in expected:
            return f"{path} is unexpected"
    return "the leaves are the same, but in other containers"
