"""Traces a step function and lowers it to a program: an HLO module, with the role of every leaf.

Start at Signature, which maps the user's arguments and results to state, batch and aux. Then read trace().
"""

import contextlib
import dataclasses
import gc
import inspect
import warnings

import jax
import jax.extend.core

from alpa import callbacks, dtypes, errors, leaves


@dataclasses.dataclass(frozen=True)
class Signature:
    """The arguments of `step` that are state, and the results that replace them.

    names: the names of the arguments. Paths of input leaves start with them.
    outs: the names of the results. Paths of output leaves start with them. None: the names are out[0], out[1], ...
    """

    step: object
    state_argnums: tuple
    state_outs: tuple
    names: tuple
    outs: tuple | None = None

    @staticmethod
    def of_step(step):
        """Returns the signature of step(state, batch) -> (state, aux)."""
        _check_callable(step)
        return Signature(step, (0,), (0,), ("state", "batch"), ("state", "aux"))

    @staticmethod
    def of_jit(step, state_argnums, state_outs):
        """Returns the signature of a step with any arguments and results that jax.jit accepts."""
        _check_callable(step)
        argnums = (state_argnums,) if isinstance(state_argnums, int) else tuple(state_argnums)
        outs = (state_outs,) if isinstance(state_outs, int) else tuple(state_outs)
        if len(argnums) != len(outs):
            raise errors.InputError(f"state_argnums={argnums} and state_outs={outs} must have the same length")
        for what, numbers in (("state_argnums", argnums), ("state_outs", outs)):
            if any(n < 0 for n in numbers) or len(set(numbers)) != len(numbers):
                raise errors.InputError(f"{what}={numbers} is not valid; expected different numbers, 0 or more")
        return Signature(step, argnums, outs, _parameter_names(step))

    def name_of(self, i):
        return self.names[i] if i < len(self.names) else f"arg{i}"

    def title(self):
        return getattr(self.step, "__name__", None) or type(self.step).__name__


@dataclasses.dataclass(frozen=True)
class InputLeaf:
    kind: str  # "state" or "batch"
    path: str
    type: leaves.LeafType


@dataclasses.dataclass(frozen=True)
class OutputLeaf:
    kind: str  # "state" or "aux"
    path: str
    type: leaves.LeafType
    state_input: int = -1


@dataclasses.dataclass(frozen=True)
class Program:
    """A traced and lowered step. `inputs` is in the order of the module's parameters, and `outputs` is in the order of
    the module's results."""

    signature: Signature
    module: bytes  # a serialized HloModuleProto
    inputs: tuple
    outputs: tuple
    argument_trees: tuple
    output_tree: object
    operations: list  # the result of _operations() for the trace
    retrace: object  # a function: weak types, one bool per input leaf -> _operations() of a trace with them
    accepted_weak: set = dataclasses.field(default_factory=set)  # the weak types for which the program is right

    def state_inputs(self):
        return [i for i, leaf in enumerate(self.inputs) if leaf.kind == "state"]

    def batch_inputs(self):
        return [i for i, leaf in enumerate(self.inputs) if leaf.kind == "batch"]

    def flatten_arguments(self, args):
        """Returns the values of all input leaves. If the structure, a shape or a dtype differs from the trace,
        raises an InputError that names the leaf."""
        if len(args) != len(self.argument_trees):
            raise errors.InputError(f"{self.signature.title()} was traced with {len(self.argument_trees)} arguments "
                                    f"and is now called with {len(args)}")
        return self._flatten(dict(enumerate(args)))

    def flatten_argument(self, number, arg):
        """Returns the values of one argument's leaves. Raises the same errors as flatten_arguments()."""
        return self._flatten({number: arg})

    def _flatten(self, args):
        out, weak = [], [leaf.type.weak for leaf in self.inputs]
        for number, arg in args.items():
            name, expected = self.signature.name_of(number), self.argument_trees[number]
            first = self.first_leaf(number)
            pairs, tree = leaves.flatten(arg, name)
            if tree != expected:
                raise errors.InputError(f"argument {name} does not have the structure that the program was traced "
                                        f"with: {leaves.structure_difference(expected, tree, name)}")
            for i, (path, value) in enumerate(pairs, first):
                found, leaf = leaves.type_of(value, path), self.inputs[i]
                if not found.same(leaf.type):
                    raise errors.InputError(f"{path} is {found}; the program was traced with {leaf.type}")
                weak[i] = found.weak
                out.append(value)
        self.check_weak_types(tuple(weak))
        return out

    def check_weak_types(self, weak):
        """Checks that the program is right for inputs with these weak types. A weak type says how JAX promotes a Python
        scalar. For other weak types, jax.jit traces the step again. This function traces the step again, too. If the
        result is another program, raises InputError. `weak` is a tuple with one bool per input leaf."""
        if weak in self.accepted_weak:
            return
        if self.retrace(weak) != self.operations:
            leaf = next(leaf for leaf, now in zip(self.inputs, weak) if leaf.type.weak != now)
            scalar, array = "a Python scalar (a weak type)", f"an array of dtype {leaf.type.dtype}"
            before, now = (scalar, array) if leaf.type.weak else (array, scalar)
            raise errors.InputError(f"{leaf.path} was {before} when the step was traced, and becomes {now}. JAX "
                                    "promotes the two differently, and this step would compute something else; pass an "
                                    f"array from the start, such as np.asarray(value, '{leaf.type.dtype}')")
        self.accepted_weak.add(weak)

    def first_leaf(self, number):
        """Returns the index of the first input leaf of an argument."""
        return sum(tree.num_leaves for tree in self.argument_trees[:number])

    def unflatten_results(self, values):
        return leaves.thaw(jax.tree_util.tree_unflatten(self.output_tree, values))

    def unflatten_argument(self, number, values):
        return leaves.thaw(jax.tree_util.tree_unflatten(self.argument_trees[number], values))


def trace(signature, args, debug_callbacks="refuse"):
    """Traces the step for arguments like `args`, lowers it, and returns the Program. Does not catch the exceptions of
    the user's step. `debug_callbacks`: "refuse", or "drop" to leave out debug callbacks with a warning."""
    with _no_garbage_collection():
        return _trace_program(signature, args, debug_callbacks)


@contextlib.contextmanager
def _no_garbage_collection():
    """Tracing and lowering make many objects and leave little garbage. The collector would take a quarter of the
    time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _trace_program(signature, args, debug_callbacks):
    inputs, trees = _input_leaves(signature, args)
    found, traced = _trace(signature, inputs, trees)
    outputs = _output_leaves(signature, inputs, trees, found, traced.out_info)
    kept = callbacks.remove(traced.jaxpr, debug_callbacks)
    if kept is not None:
        rest = jax.jit(jax.extend.core.jaxpr_as_fun(kept), keep_unused=True)
        module = _lower(rest.trace(*[leaf.type.abstract() for leaf in inputs]))
    else:
        module = _lower(traced)

    def retrace(weak):
        again = [dataclasses.replace(leaf, type=dataclasses.replace(leaf.type, weak=w))
                 for leaf, w in zip(inputs, weak)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the first trace has given the same warnings
            return _operations(_trace(signature, again, trees)[1].jaxpr.jaxpr)

    program = Program(signature, module, tuple(inputs), tuple(outputs), tuple(trees), found["tree"],
                      _operations(traced.jaxpr.jaxpr), retrace)
    # The second step gets the state with the weak types that the first step returns.
    first = tuple(leaf.type.weak for leaf in inputs)
    program.accepted_weak.add(first)
    second = list(first)
    for leaf, aval in zip(outputs, traced.jaxpr.out_avals):
        if leaf.kind == "state":
            second[leaf.state_input] = bool(getattr(aval, "weak_type", False))
    program.check_weak_types(tuple(second))
    return program


def _trace(signature, inputs, trees):
    """Traces the step. Returns facts about its results, and the traced function of the input leaves."""
    found = {}

    def flat(*values):
        arguments, position = [], 0
        for tree in trees:
            part = values[position:position + tree.num_leaves]
            types = [leaf.type for leaf in inputs[position:position + tree.num_leaves]]
            position += tree.num_leaves
            arguments.append(leaves.thaw(jax.tree_util.tree_unflatten(
                tree, [_wrap(v, t) for v, t in zip(part, types)])))
        out = signature.step(*arguments)
        found["several"] = isinstance(out, (tuple, list))
        found["count"] = len(out) if found["several"] else 1
        pairs, found["tree"] = jax.tree_util.tree_flatten_with_path(leaves.freeze(out))
        found["paths"] = [path for path, _ in pairs]
        found["impls"] = [jax.random.key_impl(x) if leaves.is_key(x) else None for _, x in pairs]
        return tuple(jax.random.key_data(x) if leaves.is_key(x) else x for _, x in pairs)

    flat.__name__ = flat.__qualname__ = signature.title()
    return found, jax.jit(flat, keep_unused=True).trace(*[leaf.type.abstract() for leaf in inputs])


def _operations(jaxpr):
    """Returns the operations of a traced step, with the types of their results. If other weak types change any dtype in
    the step, they change this list."""
    found = []
    for equation in callbacks.equations(jaxpr):
        operands, results = [[(v.aval.shape, v.aval.dtype) for v in side if hasattr(v.aval, "dtype")]
                             for side in (equation.invars, equation.outvars)]
        if equation.primitive.name != "convert_element_type" or operands != results:
            found.append((equation.primitive.name, results))
    return found


def batch_dims(program, pins):
    """Returns a user's argument `batch_dims` as (leaf, dimension) pairs. `pins` is one dimension for every batch leaf,
    or a pytree of dimensions with the structure of the batch (None: not split), or {path: dimension}. The paths may
    name state leaves, too."""
    if pins is None:
        return ()
    paths = {leaf.path: i for i, leaf in enumerate(program.inputs)}
    batch = program.batch_inputs()
    if isinstance(pins, int):
        chosen = {i: pins for i in batch if program.inputs[i].type.shape}
    elif isinstance(pins, dict) and pins and all(key in paths for key in pins):
        chosen = {paths[key]: dim for key, dim in pins.items()}
    else:
        chosen = dict(zip(batch, _broadcast_pins(program, pins)))
    out = []
    for i, dim in chosen.items():
        if dim is None:
            continue
        leaf = program.inputs[i]
        rank = len(leaf.type.shape)
        if not isinstance(dim, int) or not -rank <= dim < rank:
            raise errors.InputError(f"batch_dims names dimension {dim!r} of {leaf.path}, which is {leaf.type}")
        out.append((i, dim % rank))
    return tuple(sorted(out))


def _broadcast_pins(program, pins):
    trees = [tree for i, tree in enumerate(program.argument_trees) if i not in program.signature.state_argnums]
    whole = trees[0] if len(trees) == 1 else jax.tree_util.treedef_tuple(trees)
    full = jax.tree_util.tree_unflatten(whole, list(range(whole.num_leaves)))
    try:
        pinned = jax.tree_util.tree_map(lambda pin, part: jax.tree_util.tree_map(lambda _: _Pin(pin), part), pins, full,
                                        is_leaf=lambda x: x is None)
        return [pin.dim for pin in jax.tree_util.tree_leaves(pinned)]
    except (ValueError, TypeError) as e:
        names = [program.inputs[i].path for i in program.batch_inputs()]
        raise errors.InputError(f"batch_dims={pins!r} does not fit the batch, whose leaves are {names}: {e}") from None


class _Pin:
    def __init__(self, dim):
        self.dim = dim


def _check_callable(step):
    if not callable(step):
        raise errors.InputError(f"step is {step!r}, which cannot be called")


def _parameter_names(step):
    try:
        parameters = inspect.signature(step).parameters.values()
    except (TypeError, ValueError):
        return ()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(p.name for p in parameters if p.kind in positional)


def _wrap(value, leaf_type):
    return jax.random.wrap_key_data(value, impl=leaf_type.key_impl) if leaf_type.key_impl is not None else value


def _input_leaves(signature, args):
    if max(signature.state_argnums, default=-1) >= len(args):
        raise errors.InputError(f"state_argnums={signature.state_argnums}, but {signature.title()} is called with "
                                f"{len(args)} arguments")
    inputs, trees = [], []
    for i, arg in enumerate(args):
        pairs, tree = leaves.flatten(arg, signature.name_of(i))
        kind = "state" if i in signature.state_argnums else "batch"
        inputs += [InputLeaf(kind, path, leaves.type_of(value, path)) for path, value in pairs]
        trees.append(tree)
    return inputs, trees


def _output_leaves(signature, inputs, trees, found, infos):
    """Returns the output leaves. An output leaf of the state refers to the state input that it replaces. Raises
    InputError if a result does not fit this input."""
    title = signature.title()
    if signature.outs is not None and (not found["several"] or found["count"] != len(signature.outs)):
        got = f"{found['count']} results" if found["several"] else "one value"
        raise errors.InputError(f"{title} must return ({', '.join(signature.outs)}); it returned {got}")
    if max(signature.state_outs, default=-1) >= found["count"]:
        raise errors.InputError(f"state_outs={signature.state_outs}, but {title} returned {found['count']} result(s)")

    first = [sum(tree.num_leaves for tree in trees[:i]) for i in range(len(trees))]
    waiting = {out: list(range(first[arg], first[arg] + trees[arg].num_leaves))
               for arg, out in zip(signature.state_argnums, signature.state_outs)}
    outputs = []
    children = found["tree"].children() if found["several"] else [found["tree"]]
    numbers = [number for number, child in enumerate(children) for _ in range(child.num_leaves)]
    for number, path, impl, info in zip(numbers, found["paths"], found["impls"], infos):
        rest = jax.tree_util.keystr(path[1:] if found["several"] else path)
        found_type = leaves.LeafType(tuple(info.shape), jax.numpy.dtype(info.dtype), impl)
        if number not in waiting:
            name = signature.outs[number] if signature.outs else f"out[{number}]"
            if dtypes.name(found_type.dtype) is None:
                raise errors.InputError(f"{name}{rest} has dtype {found_type.dtype}, which is not supported")
            outputs.append(OutputLeaf("aux", name + rest, found_type))
            continue
        argument = signature.name_of(signature.state_argnums[signature.state_outs.index(number)])
        i = waiting[number].pop(0) if waiting[number] else -1
        if i < 0 or inputs[i].path != argument + rest:
            expected = f"where {inputs[i].path} was expected" if i >= 0 else "which the state does not have"
            raise errors.InputError(f"{title} returns the state leaf {argument}{rest}, {expected}; "
                                    "state must keep its structure")
        before = inputs[i]
        if not found_type.same(before.type):
            raise errors.InputError(f"state leaf {before.path} comes in as {before.type} and goes out as {found_type}; "
                                    "state must keep shape and dtype")
        outputs.append(OutputLeaf("state", before.path, before.type, i))
    missing = [inputs[i].path for rest in waiting.values() for i in rest]
    if missing:
        raise errors.InputError(f"{title} does not return the state leaf {missing[0]}; state must keep its structure")
    for arg, out in zip(signature.state_argnums, signature.state_outs):
        if children[out] != trees[arg]:
            difference = leaves.structure_difference(trees[arg], children[out], signature.name_of(arg))
            raise errors.InputError(f"{title} returns {signature.name_of(arg)} with another structure: {difference}; "
                                    "state must keep its structure")
    if not outputs:
        raise errors.InputError(f"{title} has no state and no aux: there is nothing to compute")
    return outputs


def _lower(traced):
    """Returns the HLO of a traced function. Lowers the function for TPU, because the result is the simplest: the random
    generator has no loops, and no op calls a platform's library. If an op cannot be lowered for TPU, lowers the
    function for CPU."""
    try:
        lowered = traced.lower(lowering_platforms=("tpu",))
    except NotImplementedError:
        lowered = traced.lower(lowering_platforms=("cpu",))
    return lowered.compiler_ir("hlo").as_serialized_hlo_module_proto()
