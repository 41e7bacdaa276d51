"""Leaves: the arrays of a user's pytrees, each with its path, its type, and its role in the program."""

import dataclasses

import jax
import numpy as np
from jax.api_util import shaped_abstractify

from alpa import dtypes, errors

TREE_CHARACTERS = 200  # maximum length of a structure in an error message


@dataclasses.dataclass(frozen=True)
class LeafType:
    """Shape and dtype of an array on the wire. A typed PRNG key is sent as its key data. For a key, `key_impl` is the
    implementation of the key; otherwise it is None."""

    shape: tuple
    dtype: np.dtype
    key_impl: object = None
    weak: bool = False  # JAX's weak type: an operation with another dtype has the other dtype as result

    def __str__(self):
        text = dtypes.describe(self.shape, self.dtype)
        return f"{text} (PRNG key {self.key_impl})" if self.key_impl is not None else text

    def same(self, other):
        """Returns true if both are the same array type. Ignores `weak`; see Program.check_weak_types()."""
        return (self.shape, self.dtype) == (other.shape, other.dtype) and str(self.key_impl) == str(other.key_impl)

    def abstract(self):
        return jax.ShapeDtypeStruct(self.shape, self.dtype, weak_type=self.weak)

    @property
    def nbytes(self):
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


class Static:
    """A function among the leaves of a user's pytree, such as the activation of an Equinox module. A Static makes the
    function a part of the structure for JAX. Two structures with different functions are different."""

    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return isinstance(other, Static) and (self.value is other.value or self.value == other.value)

    def __hash__(self):
        return hash(self.value)

    def __repr__(self):
        return repr(self.value)


jax.tree_util.register_pytree_node(Static, lambda x: ((), x), lambda x, _: x)


def freeze(tree):
    """Returns the pytree with every function among its leaves wrapped in a Static."""
    values, treedef = jax.tree_util.tree_flatten(tree)
    if not any(map(_is_function, values)):
        return tree
    return jax.tree_util.tree_unflatten(treedef, [Static(x) if _is_function(x) else x for x in values])


def thaw(tree):
    """Returns the pytree without the wrappers of freeze()."""
    values, treedef = jax.tree_util.tree_flatten(tree, is_leaf=_is_static)
    if not any(map(_is_static, values)):
        return tree
    return jax.tree_util.tree_unflatten(treedef, [x.value if _is_static(x) else x for x in values])


def functions(treedef, name):
    """Returns {path: Static} for the functions in a structure."""
    tree = jax.tree_util.tree_unflatten(treedef, [0] * treedef.num_leaves)
    pairs, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=_is_static)
    return {name + jax.tree_util.keystr(path): value for path, value in pairs if _is_static(value)}


def _is_function(x):
    """Returns true for functions, including jitted ones. Returns false for other callable objects, which may hold
    arrays."""
    return callable(x) and hasattr(x, "__name__") and not hasattr(x, "dtype")


def _is_static(x):
    return isinstance(x, Static)


def is_key(x):
    """Returns true for a typed PRNG key, or an array of such keys."""
    dtype = getattr(x, "dtype", None)
    return dtype is not None and jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key)


def type_of(x, path):
    """Returns the LeafType of a user's value or handle. If the value is not an array or a number, or if its dtype is
    not supported, raises an InputError that names `path`."""
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
    """Returns the value as a dense row-major numpy array of type `leaf_type`. If the value already has this form, does
    not copy it."""
    if is_key(x):
        x = jax.random.key_data(x)
    return np.asarray(x, dtype=leaf_type.dtype, order="C").reshape(leaf_type.shape)


def from_host(array, leaf_type):
    """Returns a fetched array as the user sees it: the numpy array itself, or the PRNG key if the array is key data."""
    if leaf_type.key_impl is not None:
        return jax.random.wrap_key_data(jax.numpy.asarray(array), impl=leaf_type.key_impl)
    return array


def flatten(tree, name):
    """Returns the leaves of a pytree as (path, value) pairs, and the structure of the pytree. The structure holds the
    functions among the leaves as Statics. Paths start with `name`, as in "state['w']"."""
    pairs, treedef = jax.tree_util.tree_flatten_with_path(freeze(tree))
    return [(name + jax.tree_util.keystr(path), value) for path, value in pairs], treedef


def structure_difference(expected, got, name):
    """Returns a description of the first difference between two structures. Paths start with `name`."""
    before, after = _paths(expected, name), _paths(got, name)
    for path in before:
        if path not in after:
            return f"{path} is missing"
    for path in after:
        if path not in before:
            return f"{path} is unexpected"
    was, now = functions(expected, name), functions(got, name)
    for path, function in was.items():
        if path in now and now[path] != function:
            return f"{path} is {now[path]}, and was {function}"
    return f"the leaves are the same, but in other containers: {_shorten(got)} in place of {_shorten(expected)}"


def _paths(treedef, name):
    """Returns a dict whose keys are the paths of all leaves and functions of a structure, in order."""
    tree = jax.tree_util.tree_unflatten(treedef, [0] * treedef.num_leaves)
    pairs, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=_is_static)
    return {name + jax.tree_util.keystr(path): None for path, _ in pairs}


def _shorten(treedef):
    text = str(treedef)
    return text if len(text) <= TREE_CHARACTERS else text[:TREE_CHARACTERS] + "..."
