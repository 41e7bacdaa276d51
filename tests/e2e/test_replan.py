"""Tests that a run under one plan can continue from the fetched state of a run under another plan."""

import alpa
import pytest
from cases import STEPS, case
from compare import trajectory

PLANS = {
    "one": (("single-0",), lambda: alpa.DataParallel(1)),
    "data2": (("pair-0",), lambda: alpa.DataParallel(2, microbatches=2)),
    "zero3": (("pair-0", "pair-1"), lambda: alpa.Zero(3, 4)),
    "tensor2": (("single-0", "single-1"), lambda: alpa.Megatron(tp=2)),
}


@pytest.mark.parametrize("name", ["gpt", "mlp"])
@pytest.mark.parametrize("first,second",
                         [("one", "zero3"), ("zero3", "tensor2"), ("tensor2", "data2"), ("data2", "one")])
def test_state_continues_under_another_plan(cluster, name, first, second):
    step, state, batches, reference = case(name, "sgd")
    start, half, auxes = state, STEPS // 2, []
    for plan, steps in ((first, range(half)), (second, range(half, STEPS))):
        workers, make = PLANS[plan]
        with cluster.parallelize(step, make(), workers=workers, timeout=60) as run:
            for i in steps:
                state, aux = run(state, batches[i % len(batches)])
                auxes.append(alpa.fetch(aux))
            state = alpa.fetch(state)
    reference.check(trajectory(start, state, auxes))
