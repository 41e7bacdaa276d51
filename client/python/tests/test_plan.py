"""Tests of plans: the pins that are sent, plan files, and the pins that are refused before anything is sent."""

import alpa
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from alpa import plan, program
from alpa._proto import job_service_pb2 as pb
from alpa._proto import plan_pb2

OPTIMIZER = optax.adam(1e-2)
STATE = {"params": {"w": np.ones((4, 6), np.float32), "b": np.zeros(6, np.float32)}}
STATE["opt"] = OPTIMIZER.init(STATE["params"])


def step(state, batch):
    loss, grads = jax.value_and_grad(lambda p: jnp.mean((batch @ p["w"] + p["b"]) ** 2))(state["params"])
    updates, opt = OPTIMIZER.update(grads, state["opt"], state["params"])
    return {"params": optax.apply_updates(state["params"], updates), "opt": opt}, {"loss": loss}


@pytest.fixture(scope="module")
def traced():
    return program.trace(program.Signature.of_step(step), (STATE, np.ones((8, 4), np.float32)))


def sent(wanted, traced=None, **pins):
    message = pb.PlanRequest()
    plan.request(wanted, program=traced, **pins).fill(message)
    return message


def test_a_plan_pins_the_numbers_of_devices():
    for wanted, devices, data, tensor, meshes in [
            (alpa.Megatron(2, 3, 4), 24, 2, 3, 4), (alpa.Megatron(tp=2), 2, 1, 2, 0), (alpa.Megatron(pp=2), 2, 1, 0, 2),
            (alpa.GPipe(4, 8), 4, 1, 0, 4), (alpa.GPipe(2, dp=2, tp=2), 8, 2, 2, 2),
            (alpa.Zero(3, 8, tp=2, pp=2), 8, 2, 2, 2), (alpa.Zero(1), 0, 0, 0, 0), (alpa.DataParallel(4), 4, 4, 0, 0)]:
        message = sent(wanted)
        assert (message.devices, message.data_parallel, message.tensor_parallel, message.pipeline.meshes) == (
            devices, data, tensor, meshes), wanted


def test_a_pipeline_pins_its_meshes_and_schedule():
    message = sent(alpa.GPipe(4, 8, interleave=2, remat="layer"))
    assert message.microbatches == 8 and message.remat == "layer"
    assert (message.pipeline.schedule, message.pipeline.stages_per_mesh) == ("gpipe", 2)
    assert sent(alpa.Megatron(pp=2)).pipeline.schedule == "1f1b"
    assert not sent(alpa.Megatron(tp=2)).HasField("pipeline")
    message = sent(alpa.Megatron(pp=2, stage_devices=(1, 3)))
    assert list(message.pipeline.devices) == [1, 3] and (message.devices, message.data_parallel) == (4, 0)


def test_a_job_directory_holds_the_same_pins(traced):
    wanted = alpa.Megatron(tp=2, pp=2, stage_devices=(2, 4), schedule="zero-bubble", remat="layer",
                           specs={"['params']['b']": ()})
    out = plan.request(wanted, program=traced).to_json()
    assert out == {"devices": 6, "tensor_parallel": 2, "remat": "layer", "tensor_cuts": [{"leaf": 5, "dim": -1}],
                   "pipeline": {"meshes": 2, "stages_per_mesh": 1, "schedule": "zero-bubble", "devices": [2, 4]}}


def test_a_spec_becomes_a_cut_of_its_leaf(traced):
    paths = [leaf.path for leaf in traced.inputs]

    def cuts(specs):
        return {paths[cut.leaf]: cut.dim for cut in sent(alpa.Megatron(tp=2, specs=specs), traced).tensor_cuts}

    both = {"state['params']['w']": 1, "state['params']['b']": -1}
    assert cuts({"['params']['w']": (None, "tensor"), "state['params']['b']": ()}) == both
    assert cuts({"['params']['w']": jax.sharding.PartitionSpec(None, "tensor")}) == {"state['params']['w']": 1}
    assert cuts(lambda path, t: ("tensor",) if path == "['params']['w']" and t.shape == (4, 6) else None) == {
        "state['params']['w']": 0}


def test_a_saved_plan_loads_with_renumbered_devices(tmp_path):
    proto = plan_pb2.Plan(version=1, program_fingerprint=2**64 - 1, microbatches=4, schedule="1f1b", stage_cuts=[7])
    for mesh, devices in enumerate([(9, 4), (6,)]):
        proto.meshes.add(shape=[len(devices)], axis_names=["data"], devices=devices)
        proto.stages.add(mesh=mesh, data_axis=-1)
    plan.PlanView(proto, "", [9, 4, 6]).save(tmp_path / "plan.json")
    loaded = alpa.load_plan(tmp_path / "plan.json")
    assert [list(mesh.devices) for mesh in loaded.proto.meshes] == [[0, 1], [2]]
    assert loaded.devices == 3 and loaded.microbatches == 4 and loaded.proto.program_fingerprint == 2**64 - 1
    assert list(proto.meshes[0].devices) == [9, 4]
    message = sent(loaded, workers="w", devices=3)
    assert message.given == loaded.proto and list(message.workers) == ["w"] and message.devices == 0
    assert plan.request(loaded).to_json()["given"]["stage_cuts"] == ["7"]
    with pytest.raises(alpa.InputError, match="the plan is for 3 devices"):
        sent(loaded, devices=2)
    with pytest.raises(alpa.InputError, match="already decides"):
        sent(loaded, local_statistics=True)
    for text in ("", "{", "[]", "{}", '{"stages": 7}', '{"more": 1}'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(alpa.InputError, match="bad.json is not a plan file"):
            alpa.load_plan(tmp_path / "bad.json")
    with pytest.raises(alpa.InputError, match="none.json is not a plan file"):
        alpa.load_plan(tmp_path / "none.json")


@pytest.mark.parametrize("specs,says", [
    ({"['params']['v']": ()},
     r"\['params'\]\['v'\]\", which is not a leaf of the state; did you mean .*\['params'\]\['w'\]"),
    ({"batch": ()}, "not a leaf of the state"),
    ({"['params']['w']": ("model",)}, "expected None or \"tensor\""),
    ({"['params']['w']": "tensor"}, "expected None or \"tensor\""),
    ({"['params']['w']": 1}, "expected None or \"tensor\""),
    ({"['params']['b']": (None, "tensor")}, r"2 entries, but the leaf is f32\[6\]"),
    ({"['params']['w']": ("tensor", "tensor")}, "twice"),
    ({"['params']['w']": (), "state['params']['w']": ()}, "twice"),
    (7, "specs is 7"),
])
def test_bad_specs_are_refused(traced, specs, says):
    with pytest.raises(alpa.InputError, match=says):
        sent(alpa.Megatron(tp=2, specs=specs), traced)


@pytest.mark.parametrize("wanted,says", [
    (alpa.Megatron(pp=0), "plan.pp is 0"),
    (alpa.GPipe(True), "plan.stages is True"),
    (alpa.Megatron(pp=2, schedule="2f2b"), "schedule is '2f2b'.*zero-bubble"),
    (alpa.Megatron(remat="all"), "remat is 'all'.*layer"),
    (alpa.Megatron(interleave=2), "needs a pipeline"),
    (alpa.Megatron(pp=16, interleave=8), "at most 64 stages"),
    (alpa.Megatron(pp=3, stage_devices=(1, 3)), "2 meshes, but the pipeline has 3"),
    (alpa.Megatron(pp=2, stage_devices=(1, 0)), "stage_devices is"),
    (alpa.Megatron(pp=2, stage_devices=3), "stage_devices is 3"),
    (alpa.Megatron(dp=2, pp=2, stage_devices=(2, 4)), "leave dp out"),
    (alpa.Megatron(tp=2, pp=2, stage_devices=(2, 3)), "tp=2 does not divide a mesh of 3"),
    (alpa.Zero(3, 6, tp=2, pp=2), "tp=2 x pp=2 does not divide 6"),
    (alpa.Megatron(specs={}), "give tp=2"),
])
def test_bad_plans_are_refused(wanted, says):
    with pytest.raises(alpa.InputError, match=says):
        sent(wanted)
