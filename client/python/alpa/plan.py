"""Plans: the pins that a user can choose, plan files, and the PlanView of a run."""

import dataclasses
import difflib
import pathlib

import jax
from google.protobuf import json_format

from alpa import errors
from alpa._proto import plan_pb2

SCHEDULES = ("1f1b", "gpipe", "zero-bubble")
REMAT = ("none", "layer")
MOST_STAGES = 64  # maximum number of stages of one pipeline; the coordinator refuses more


@dataclasses.dataclass(frozen=True)
class Auto:
    """The planner chooses everything that is not pinned.

    devices: the number of devices that the planner may use (0: all free devices).
    microbatches: the number of microbatches (0: the planner's choice).
    """

    devices: int = 0
    microbatches: int = 0


@dataclasses.dataclass(frozen=True)
class DataParallel:
    """Splits the batch over `devices` devices. Every device holds the replicated state.

    Each device splits its part of the batch into `microbatches` microbatches, runs them one after the other, and
    accumulates their gradients in f32. The result equals the result of a step with the full batch on one device.
    """

    devices: int = 0
    microbatches: int = 0


@dataclasses.dataclass(frozen=True)
class Megatron:
    """Tensor parallelism, data parallelism and a pipeline on dp * tp * pp devices.

    tp: the number of devices over which each weight is split.
    dp: the number of groups, of tp devices each, over which the batch is split.
    pp: the number of meshes (groups of devices). The program is cut into stages on these meshes. The meshes send each
        other activations and their gradients, and process different microbatches at the same time.
    microbatches: the number of microbatches (0: the planner's choice). For a pipeline, use a number that
        is several times pp.

    schedule: the order in which a mesh runs forwards and backwards: "1f1b" (default), "gpipe" or "zero-bubble".
    interleave: the number of stages per mesh. More stages shorten the bubbles and send more data.
    stage_devices: the number of devices of each mesh, if the meshes differ, for example (1, 3). In this case,
        leave out dp.
    remat: "layer" saves only the inputs of each layer, and recomputes the other values in the backward.
    sequence: between the matrix products of tensor parallelism, activations are split along the sequence. This is the
        dimension that follows the batch dimension. Sums are reduce-scattered, and all-gathered before the next product.
        With `sequence`, each device needs less memory for activations.
    specs: the dimension along which a weight is split, in place of the planner's choice. The value is {path: spec}, or
        a function (path, jax.ShapeDtypeStruct) -> spec or None. A spec has None or "tensor" for each dimension, as in
        jax.sharding.PartitionSpec: (None, "tensor"). A path is written like `"['params']['w']"`. If the function
        returns None, the planner chooses. Values derived from a weight, such as its optimizer moments, are split like
        the weight.

    None of these fields changes the result. The result equals that of a step with the full batch on one device.
    """

    dp: int = 1
    tp: int = 1
    pp: int = 1
    microbatches: int = 0
    _: dataclasses.KW_ONLY
    schedule: str = "1f1b"
    interleave: int = 1
    stage_devices: tuple = ()
    remat: str = "none"
    sequence: bool = False
    specs: object = None

    @property
    def devices(self):
        return sum(self.stage_devices) or self.dp * self.tp * self.pp


@dataclasses.dataclass(frozen=True)
class GPipe:
    """A pipeline of `stages` meshes. By default, it runs all forwards of a step before all backwards. The other fields
    have the same meaning as in Megatron."""

    stages: int
    microbatches: int = 0
    _: dataclasses.KW_ONLY
    dp: int = 1
    tp: int = 1
    schedule: str = "gpipe"
    interleave: int = 1
    stage_devices: tuple = ()
    remat: str = "none"
    specs: object = None

    @property
    def pp(self):
        return self.stages

    @property
    def devices(self):
        return sum(self.stage_devices) or self.dp * self.tp * self.pp


@dataclasses.dataclass(frozen=True)
class Zero:
    """Data parallelism with sharded training state.

    stage: 1 shards the optimizer state. 2 shards the optimizer state and the gradients. 3 shards the optimizer state,
        the gradients and the parameters. Sharded parameters are all-gathered before an op uses them.
    devices: the total number of devices.

    The other fields have the same meaning as in Megatron.
    """

    stage: int = 3
    devices: int = 0
    microbatches: int = 0
    tp: int = 1
    pp: int = 1
    _: dataclasses.KW_ONLY
    schedule: str = "1f1b"
    interleave: int = 1
    remat: str = "none"
    specs: object = None


@dataclasses.dataclass(frozen=True)
class GivenPlan:
    """A complete plan, from load_plan(). Nothing is planned for it. It fits only the program for which it was made."""

    proto: plan_pb2.Plan

    @property
    def devices(self):
        return sum(len(mesh.devices) for mesh in self.proto.meshes)

    @property
    def microbatches(self):
        return self.proto.microbatches

    def __repr__(self):
        return f"<alpa plan for {self.devices} devices, {self.microbatches} microbatches>"


def load_plan(path):
    """Returns the plan in a file that `run.plan.save(path)` or `alpa plan make` wrote. Pass it as `plan=`."""
    try:
        text = pathlib.Path(path).read_text()
        proto = json_format.Parse(text, plan_pb2.Plan())
    except (OSError, UnicodeDecodeError, json_format.ParseError) as e:
        raise errors.InputError(f"{path} is not a plan file: {e}") from None
    if not proto.meshes or not proto.stages:
        raise errors.InputError(f"{path} is not a plan file: it has no meshes, or no stages")
    return GivenPlan(proto)


@dataclasses.dataclass(frozen=True)
class Request:
    """The fields of a PlanRequest message. 0, empty strings and empty tuples mean: not pinned."""

    devices: int = 0
    data_parallel: int = 0
    microbatches: int = 0
    tensor_parallel: int = 0
    zero: int = 0
    batch_dims: tuple = ()  # pairs (leaf, dimension)
    local_statistics: bool = False
    workers: tuple = ()
    meshes: int = 1
    stages_per_mesh: int = 1
    schedule: str = ""
    mesh_devices: tuple = ()
    remat: str = ""
    sequence: bool = False
    tensor_cuts: tuple = ()  # pairs (leaf, dimension); dimension -1: the leaf is not split
    given: plan_pb2.Plan | None = None

    def fill(self, message):
        """Writes the fields to a PlanRequest message."""
        if self.given is not None:
            message.given.CopyFrom(self.given)
        message.devices = self.devices
        message.data_parallel = self.data_parallel
        message.microbatches = self.microbatches
        message.tensor_parallel = self.tensor_parallel
        message.zero = self.zero
        for leaf, dim in self.batch_dims:
            message.batch_dims.add(leaf=leaf, dim=dim)
        message.statistics = 1 if self.local_statistics else 0
        message.workers.extend(self.workers)
        if self.meshes > 1:
            message.pipeline.meshes = self.meshes
            message.pipeline.stages_per_mesh = self.stages_per_mesh
            message.pipeline.schedule = self.schedule
            message.pipeline.devices.extend(self.mesh_devices)
        message.remat = self.remat
        message.sequence = self.sequence
        for leaf, dim in self.tensor_cuts:
            message.tensor_cuts.add(leaf=leaf, dim=dim)

    def to_json(self):
        """Returns the "plan" object of job.json. It contains only pinned fields."""
        out = {}
        if self.given is not None:
            out["given"] = json_format.MessageToDict(self.given, preserving_proto_field_name=True)
        for key in ("devices", "data_parallel", "microbatches", "tensor_parallel", "zero", "remat", "sequence"):
            if getattr(self, key):
                out[key] = getattr(self, key)
        if self.batch_dims:
            out["batch_dims"] = [{"leaf": leaf, "dim": dim} for leaf, dim in self.batch_dims]
        if self.tensor_cuts:
            out["tensor_cuts"] = [{"leaf": leaf, "dim": dim} for leaf, dim in self.tensor_cuts]
        if self.local_statistics:
            out["statistics"] = "local"
        if self.meshes > 1:
            out["pipeline"] = {"meshes": self.meshes, "stages_per_mesh": self.stages_per_mesh,
                               "schedule": self.schedule}
            if self.mesh_devices:
                out["pipeline"]["devices"] = list(self.mesh_devices)
        return out


_KINDS = (Auto, GivenPlan, DataParallel, Megatron, GPipe, Zero)


def request(plan, devices=0, workers=(), batch_dims=(), local_statistics=False, program=None):
    """Returns the Request for a user's argument `plan` and the other pins. If `program` is None, leaves out `specs`,
    which need it. Raises InputError if a pin is wrong."""
    if plan is None:
        plan = Auto()
    if not isinstance(plan, _KINDS):
        raise errors.InputError(f"plan= is {plan!r}; expected alpa.Auto(), alpa.DataParallel(n, microbatches=k), "
                                "alpa.Megatron(dp, tp, pp), alpa.GPipe(stages, microbatches), alpa.Zero(stage) or "
                                "alpa.load_plan(path)")
    if isinstance(workers, str):
        workers = (workers,)
    if isinstance(plan, GivenPlan):
        return _given(plan, devices, workers, batch_dims, local_statistics)
    tensor, meshes, data = getattr(plan, "tp", 1), getattr(plan, "pp", 1), getattr(plan, "dp", 1)
    interleave = getattr(plan, "interleave", 1)
    for name, count in (("tp", tensor), ("stages" if isinstance(plan, GPipe) else "pp", meshes), ("dp", data),
                        ("interleave", interleave)):
        if not _is_count(count, 1):
            raise errors.InputError(f"plan.{name} is {count!r}; expected 1 or more")
    mesh_devices = _mesh_devices(plan, tensor, meshes, data)  # checked here, because plan.devices adds them up
    for name, count in {"devices": devices, "plan.devices": plan.devices,
                        "plan.microbatches": plan.microbatches}.items():
        if not _is_count(count, 0):
            raise errors.InputError(f"{name} is {count!r}; expected a count (0: not pinned)")
    zero = plan.stage if isinstance(plan, Zero) else 0
    if isinstance(plan, Zero) and (not _is_count(zero, 1) or zero > 3):
        raise errors.InputError(f"plan.stage is {zero!r}; ZeRO has stages 1, 2 and 3")
    _check_pipeline(plan, meshes, interleave)
    if plan.devices and devices and plan.devices != devices:
        raise errors.InputError(f"devices={devices}, but the plan names {plan.devices} devices")
    count = plan.devices or devices
    if not mesh_devices and count % (tensor * meshes):
        ways = f"tp={tensor}" if meshes == 1 else f"tp={tensor} x pp={meshes}"
        raise errors.InputError(f"{ways} does not divide {count} devices")
    if getattr(plan, "sequence", False) and tensor == 1:
        raise errors.InputError("sequence=True needs tensor parallelism; give tp=2 or more")
    return Request(
        devices=count,
        data_parallel=0 if isinstance(plan, Auto) or mesh_devices else count // (tensor * meshes),
        microbatches=plan.microbatches,
        tensor_parallel=tensor if tensor > 1 else 0,
        zero=zero,
        batch_dims=tuple(batch_dims),
        local_statistics=bool(local_statistics),
        workers=tuple(workers or ()),
        meshes=meshes,
        stages_per_mesh=interleave,
        schedule=plan.schedule if meshes > 1 else "",
        mesh_devices=mesh_devices,
        remat=plan.remat if getattr(plan, "remat", "none") != "none" else "",
        sequence=bool(getattr(plan, "sequence", False)),
        tensor_cuts=_tensor_cuts(getattr(plan, "specs", None), tensor, program),
    )


def _given(plan, devices, workers, batch_dims, local_statistics):
    if devices and devices != plan.devices:
        raise errors.InputError(f"devices={devices}, but the plan is for {plan.devices} devices")
    if batch_dims or local_statistics:
        raise errors.InputError("a loaded plan already decides batch_dims and local_statistics; leave them out")
    return Request(workers=tuple(workers or ()), given=plan.proto)


def _check_pipeline(plan, meshes, interleave):
    for name, word, known in (("schedule", getattr(plan, "schedule", SCHEDULES[0]), SCHEDULES),
                              ("remat", getattr(plan, "remat", REMAT[0]), REMAT)):
        if word not in known:
            raise errors.InputError(f"plan.{name} is {word!r}; expected one of {', '.join(map(repr, known))}")
    if interleave > 1 and meshes == 1:
        raise errors.InputError(f"interleave={interleave} needs a pipeline; give pp=2 or more")
    if meshes * interleave > MOST_STAGES:
        raise errors.InputError(f"{meshes} meshes x {interleave} stages per mesh; at most {MOST_STAGES} stages are "
                                "allowed")


def _mesh_devices(plan, tensor, meshes, data):
    """Checks a plan's stage_devices and returns them as a tuple."""
    found = getattr(plan, "stage_devices", ())
    if not isinstance(found, (tuple, list)) or not all(_is_count(n, 1) for n in found):
        raise errors.InputError(f"plan.stage_devices is {found!r}; expected a number of devices for each mesh, 1 or "
                                "more")
    if found and len(found) != meshes:
        raise errors.InputError(f"stage_devices={tuple(found)} has {len(found)} meshes, but the pipeline has {meshes}")
    if found and data != 1:
        raise errors.InputError(f"dp={data} does not go together with stage_devices={tuple(found)}, which decides the "
                                "data parallelism of each mesh; leave dp out")
    for count in found:
        if count % tensor:
            raise errors.InputError(f"tp={tensor} does not divide a mesh of {count} devices")
    return tuple(found)


def _tensor_cuts(specs, tensor, program):
    """Returns a user's `specs` as (leaf, dimension) pairs. Dimension -1: the leaf is not split."""
    if specs is None:
        return ()
    if not callable(specs) and not hasattr(specs, "items"):
        raise errors.InputError(f"specs is {specs!r}; expected {{path: (None, \"tensor\")}}, or a function of path and "
                                "type")
    if tensor == 1:
        raise errors.InputError("specs need tensor parallelism; give tp=2 or more")
    if program is None:
        return ()
    cuts = {}
    paths = _state_paths(program)
    if callable(specs):
        for i in program.state_inputs():
            leaf = program.inputs[i]
            spec = specs(_short(program, leaf.path), jax.ShapeDtypeStruct(leaf.type.shape, leaf.type.dtype))
            if spec is not None:
                cuts[i] = _dimension(spec, leaf)
        return tuple(sorted(cuts.items()))
    for path, spec in specs.items():
        if path not in paths:
            known = [_short(program, program.inputs[i].path) for i in program.state_inputs()]
            near = difflib.get_close_matches(str(path), known, 3, 0) or known[:3]
            raise errors.InputError(f"specs name {path!r}, which is not a leaf of the state; did you mean "
                                    f"{' or '.join(near)}?")
        if paths[path] in cuts:
            raise errors.InputError(f"specs name {path} twice")
        cuts[paths[path]] = _dimension(spec, program.inputs[paths[path]])
    return tuple(sorted(cuts.items()))


def _short(program, path):
    """Returns the short path of a leaf. If the step has only one state argument, it lacks the name of the argument;
    otherwise it equals `path`."""
    numbers = program.signature.state_argnums
    name = program.signature.name_of(numbers[0]) if len(numbers) == 1 else ""
    return path.removeprefix(name)


def _state_paths(program):
    """Returns {path: leaf} for the state leaves. Each leaf is listed under its full path and under its short path."""
    out = {}
    for i in program.state_inputs():
        path = program.inputs[i].path
        out[path] = out[_short(program, path)] = i
    return out


def _dimension(spec, leaf):
    """Returns the dimension that a PartitionSpec splits along "tensor", or -1 if it splits no dimension."""
    entries = () if isinstance(spec, str) or not hasattr(spec, "__iter__") else tuple(spec)
    if isinstance(spec, str) or not hasattr(spec, "__iter__") or any(e not in (None, "tensor") for e in entries):
        raise errors.InputError(f"the spec of {leaf.path} is {spec!r}; expected None or \"tensor\" for each dimension")
    if len(entries) > len(leaf.type.shape):
        raise errors.InputError(f"the spec of {leaf.path} has {len(entries)} entries, but the leaf is {leaf.type}")
    if entries.count("tensor") > 1:
        raise errors.InputError(f"the spec of {leaf.path} names \"tensor\" twice; an axis can split only one dimension")
    return entries.index("tensor") if "tensor" in entries else -1


def _is_count(value, least):
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


class PlanView:
    """The plan of a run. print() shows the plan in human-readable form, and `.proto` has every field of it."""

    def __init__(self, proto, text, device_ids):
        self.proto = proto
        self.device_ids = list(device_ids)
        self._text = text

    @property
    def microbatches(self):
        return self.proto.microbatches

    @property
    def predicted_step_seconds(self):
        """The predicted time of a step, or None if the coordinator made no prediction."""
        return self.proto.predicted_step_seconds or None

    @property
    def predicted_device_bytes(self):
        """The predicted memory of a step on the device that needs the most memory, or None if the coordinator made no
        prediction."""
        return self.proto.predicted_peak_device_bytes or None

    def save(self, path):
        """Writes the plan to a file for alpa.load_plan() and `alpa submit --plan`. The file numbers the devices from 0,
        so that the plan fits any devices that a job gets."""
        numbered = plan_pb2.Plan()
        numbered.CopyFrom(self.proto)
        count = 0
        for mesh in numbered.meshes:
            size = len(mesh.devices)
            mesh.devices[:] = range(count, count + size)
            count += size
        text = json_format.MessageToJson(numbered, preserving_proto_field_name=True, indent=1)
        pathlib.Path(path).write_text(text + "\n")

    def __str__(self):
        return self._text

    def __repr__(self):
        return f"<alpa plan on {len(self.device_ids)} devices, {self.microbatches} microbatches>"
