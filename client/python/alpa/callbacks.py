"""Host callbacks in a traced step. A worker cannot call back to the user's process, so a step with host callbacks is
refused. Debug callbacks (jax.debug.print, jax.debug.callback) can be left out instead."""

import pathlib
import warnings

import jax

from alpa import errors

MODES = ("refuse", "drop")  # the values of the argument debug_callbacks

_DEBUG = ("debug_callback", "debug_print")
_JAX = pathlib.Path(jax.__file__).parent


def check_mode(mode):
    if mode not in MODES:
        raise errors.InputError(f"debug_callbacks={mode!r}; it must be one of {', '.join(map(repr, MODES))}")


def remove(closed, mode):
    """Returns the ClosedJaxpr `closed` without its debug callbacks, and warns once that they are left out. If `closed`
    has no host callbacks, returns None. Raises InputError for a callback that must not be left out. `mode` is one of
    MODES."""
    found = [equation for equation in equations(closed.jaxpr) if _is_callback(equation)]
    for equation in found:
        name = equation.primitive.name
        if name not in _DEBUG:
            raise errors.InputError(
                f"the step calls back to the host: {name} at {_location(equation)}. Workers cannot run host callbacks; "
                "compute the value before the step and pass it in the batch, or return it in aux")
        if mode != "drop":
            raise errors.InputError(
                f"the step calls back to the host: {name} at {_location(equation)}. Workers cannot run host callbacks; "
                'pass debug_callbacks="drop" to leave out debug callbacks, or return the value in aux')
    if not found:
        return None
    places = sorted({_location(equation) for equation in found})
    warnings.warn(f"left out {len(found)} debug callbacks of the step, at {', '.join(places)}", stacklevel=2)
    return _without(closed)


def _is_callback(equation):
    name = equation.primitive.name
    return name in _DEBUG or name.endswith("callback")


# A ClosedJaxpr holds a Jaxpr and its constants. JAX moves these classes between modules, so the functions below
# recognise them by their members. In JAX 0.12, one class is both, and `jaxpr` of an object is the object itself.
def _is_closed(value):
    return hasattr(value, "jaxpr") and hasattr(value, "consts") and value.jaxpr is not value


def _is_open(value):
    return hasattr(value, "eqns") and hasattr(value, "invars") and not _is_closed(value)


def _inner(value):
    """Returns the jaxprs in a parameter of an equation."""
    if _is_closed(value):
        return [value.jaxpr]
    if _is_open(value):
        return [value]
    if isinstance(value, (tuple, list)):
        return [jaxpr for item in value for jaxpr in _inner(item)]
    return []


def equations(jaxpr):
    """Yields the equations of a jaxpr and of all jaxprs inside it."""
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            for inner in _inner(value):
                yield from equations(inner)


def _without(value):
    """Returns a jaxpr, or a parameter that may contain jaxprs, without debug callbacks."""
    if _is_closed(value):
        return value.replace(jaxpr=_without(value.jaxpr))
    if _is_open(value):
        equations = [equation.replace(params={key: _without(item) for key, item in equation.params.items()},
                                      effects=_other_effects(equation.effects))
                     for equation in value.eqns if equation.primitive.name not in _DEBUG]
        return value.replace(eqns=equations, effects=_other_effects(value.effects))
    if type(value) in (tuple, list):
        return type(value)(_without(item) for item in value)
    return value


def _other_effects(effects):
    return frozenset(effect for effect in effects if "Debug" not in type(effect).__name__)


def _location(equation):
    """Returns FILE:LINE of the innermost stack frame outside JAX, if JAX recorded the frame."""
    traceback = equation.source_info.traceback
    for frame in (traceback.frames if traceback is not None else ()):
        if _JAX not in pathlib.Path(frame.file_name).parents:
            return f"{frame.file_name}:{frame.line_num}"
    return "an unknown place"
