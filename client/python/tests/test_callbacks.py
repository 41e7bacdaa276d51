"""A step with host callbacks is refused. The error names the callback and its place. Debug callbacks can be dropped."""
import re
import warnings

import jax
import jax.experimental
import numpy as np
import pytest

from alpa import callbacks, errors, program

STATE = {"w": np.arange(3, dtype=np.float32)}
BATCH = {"x": np.ones((4, 3), np.float32)}


def trace(step, mode="refuse"):
    return program.trace(program.Signature.of_step(step), (STATE, BATCH), mode)


def printing_step(state, batch):
    """Prints in a scan, a conditional, a rematerialised gradient and at top level."""
    def body(carry, row):
        jax.debug.print("carry {c}", c=carry.sum())
        return carry + row, None

    w, _ = jax.lax.scan(body, state["w"], batch["x"])
    w = jax.lax.cond(w.sum() > 0, lambda w: (jax.debug.print("positive", ordered=True), w)[1], lambda w: 2 * w, w)
    jax.debug.callback(lambda value: None, w)
    gradient = jax.grad(jax.checkpoint(lambda w: (jax.debug.print("loss {l}", l=w.sum()), (w * w).sum())[1]))(w)
    return {"w": w + gradient}, {"loss": w.sum()}


def silent_step(state, batch):
    w, _ = jax.lax.scan(lambda carry, row: (carry + row, None), state["w"], batch["x"])
    w = jax.lax.cond(w.sum() > 0, lambda w: w, lambda w: 2 * w, w)
    return {"w": w + jax.grad(jax.checkpoint(lambda w: (w * w).sum()))(w)}, {"loss": w.sum()}


def test_a_debug_callback_is_refused_with_its_place_and_a_way_out():
    with pytest.raises(errors.InputError, match=r"debug_\w+ at .*test_callbacks\.py:\d+.*debug_callbacks=\"drop\""):
        trace(printing_step)


def test_dropped_debug_callbacks_leave_the_step_as_without_them():
    with pytest.warns(UserWarning, match=r"left out \d+ debug callbacks .*test_callbacks\.py:\d+") as caught:
        dropped = trace(printing_step, "drop")
    assert len([w for w in caught if "left out" in str(w.message)]) == 1
    assert b"custom-call" not in dropped.module
    expected = trace(silent_step)
    assert [leaf.path for leaf in dropped.outputs] == [leaf.path for leaf in expected.outputs]
    closed = callbacks.remove(jax.jit(printing_step).trace(STATE, BATCH).jaxpr, "drop")
    values = jax.core.eval_jaxpr(closed.jaxpr, closed.consts, *jax.tree.leaves((STATE, BATCH)))
    for value, reference in zip(values, jax.tree.leaves(silent_step(STATE, BATCH))):
        np.testing.assert_allclose(value, reference)


@pytest.mark.parametrize("mode", callbacks.MODES)
def test_other_host_callbacks_are_refused_in_every_mode(mode):
    def pure(state, batch):
        shape = jax.ShapeDtypeStruct((3,), np.float32)
        return {"w": jax.pure_callback(lambda w: w, shape, state["w"])}, {"loss": batch["x"].sum()}

    def io(state, batch):
        shape = jax.ShapeDtypeStruct((), np.float32)
        return state, {"loss": jax.experimental.io_callback(lambda: np.float32(1), shape)}

    for step, name in ((pure, "pure_callback"), (io, "io_callback")):
        with pytest.raises(errors.InputError, match=name + r" at .*test_callbacks\.py:\d+"):
            trace(step, mode)


def test_a_step_without_callbacks_gives_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert b"custom-call" not in trace(silent_step, "drop").module


def test_an_unknown_mode_is_refused():
    message = "debug_callbacks='keep'; it must be one of 'refuse', 'drop'"
    with pytest.raises(errors.InputError, match=re.escape(message)):
        callbacks.check_mode("keep")
