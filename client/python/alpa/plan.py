"""What a user may pin about how a program is run, and what was decided."""

import dataclasses

from alpa import errors


@dataclasses.dataclass(frozen=True)
class Auto:
    """The planner chooses everything, within `devices` where that is given (default: all that are free)."""

    devices: int = 0
    microbatches: int = 0


@dataclasses.dataclass(frozen=True)
class DataParallel:
    """The batch is cut over `devices` devices, which all hold the whole state; on each, into `microbatches` parts that
    run one after the other, with gradients accumulated in f32. The result is that of the whole batch on one device."""

    devices: int = 0
    microbatches: int = 0


@dataclasses.dataclass(frozen=True)
class Megatron:
    """Tensor parallelism: weights are cut `tp` ways, where that is cheapest, so that every device has a part of each; times
    data parallelism over `dp` such groups. dp * tp devices."""

    dp: int = 1
    tp: int = 1
    microbatches: int = 0

    @property
    def devices(self):
        return self.dp * self.tp


@dataclasses.dataclass(frozen=True)
class Zero:
    """Data parallelism in which every device keeps a part of what the update needs (stage 1: optimizer state; 2: gradients
    as well; 3: parameters too, gathered where they are used)."""

    stage: int = 3
    devices: int = 0
    microbatches: int = 0
    tp: int = 1


@dataclasses.dataclass(frozen=True)
class Request:
    """A plan request as it is sent; counts of 0 are not pinned."""

    devices: int = 0
    data_parallel: int = 0
    microbatches: int = 0
    tensor_parallel: int = 0
    zero: int = 0
    batch_dims: tuple = ()  # of (leaf, dimension)
    local_statistics: bool = False
    workers: tuple = ()

    def fill(self, message):
        """Writes this into a PlanRequest message."""
        message.devices = self.devices
        message.data_parallel = self.data_parallel
        message.microbatches = self.microbatches
        message.tensor_parallel = self.tensor_parallel
        message.zero = self.zero
        for leaf, dim in self.batch_dims:
            message.batch_dims.add(leaf=leaf, dim=dim)
        message.statistics = 1 if self.local_statistics else 0
        message.workers.extend(self.workers)

    def to_json(self):
        """The "plan" object of a job directory: only what is pinned."""
        out = {}
        for key in ("devices", "data_parallel", "microbatches", "tensor_parallel", "zero"):
            if getattr(self, key):
                out[key] = getattr(self, key)
        if self.batch_dims:
            out["batch_dims"] = [{"leaf": leaf, "dim": dim} for leaf, dim in self.batch_dims]
        if self.local_statistics:
            out["statistics"] = "local"
        return out


def request(plan, devices=0, workers=(), batch_dims=(), local_statistics=False):
    """The Request for a user's `plan=` and the pins beside it."""
    if plan is None:
        plan = Auto()
    if not isinstance(plan, (Auto, DataParallel, Megatron, Zero)):
        raise errors.InputError(f"plan= is {plan!r}; expected alpa.Auto(), alpa.DataParallel(n, microbatches=k), "
                                "alpa.Megatron(dp, tp) or alpa.Zero(stage)")
    counts = {"devices": devices, "plan.devices": plan.devices, "plan.microbatches": plan.microbatches}
    tensor = getattr(plan, "tp", 1)
    for name, count in counts.items():
        if not _is_count(count, 0):
            raise errors.InputError(f"{name} is {count!r}; expected a count (0: not pinned)")
    for name, count in (("tp", tensor), ("dp", getattr(plan, "dp", 1))):
        if not _is_count(count, 1):
            raise errors.InputError(f"plan.{name} is {count!r}; expected 1 or more")
    zero = plan.stage if isinstance(plan, Zero) else 0
    if isinstance(plan, Zero) and (not _is_count(zero, 1) or zero > 3):
        raise errors.InputError(f"plan.stage is {zero!r}; ZeRO has stages 1, 2 and 3")
    if plan.devices and devices and plan.devices != devices:
        raise errors.InputError(f"devices={devices}, but the plan names {plan.devices} devices")
    if (plan.devices or devices) % tensor:
        raise errors.InputError(f"tp={tensor} does not divide {plan.devices or devices} devices")
    if isinstance(workers, str):
        workers = (workers,)
    count = plan.devices or devices
    return Request(
        devices=count,
        data_parallel=count // tensor if not isinstance(plan, Auto) else 0,
        microbatches=plan.microbatches,
        tensor_parallel=tensor if tensor > 1 else 0,
        zero=zero,
        batch_dims=tuple(batch_dims),
        local_statistics=bool(local_statistics),
        workers=tuple(workers or ()),
    )


def _is_count(value, least):
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


class PlanView:
    """The plan that a run got. print() it; `.proto` holds every field."""

    def __init__(self, proto, text, device_ids):
        self.proto = proto
        self.device_ids = list(device_ids)
        self._text = text

    @property
    def microbatches(self):
        return self.proto.microbatches

    def __str__(self):
        return self._text

    def __repr__(self):
        return f"<alpa plan on {len(self.device_ids)} devices, {self.microbatches} micro-batches>"
