"""Job directories: a program, its state and its batches as files, for `alpa submit DIR`.

  program.hlo.pb            the step, a serialized HloModuleProto
  job.json                  the name, inputs and outputs (in the program's order), plan pins, number of batches
  state.safetensors         the initial state: one tensor per state input, named by its path
  batch-00000.safetensors   a batch: one tensor per batch input, named by its path; steps use the batches in turn
"""

import json
import pathlib

import jax
import numpy as np
from safetensors.numpy import save_file

from alpa import callbacks, dtypes, errors, leaves, plan as plan_module, program as program_module


def save_job(directory, step, state, batches, plan=None, *, batch_dims=None, local_statistics=False, devices=0,
             name=None, debug_callbacks="refuse"):
    """Writes a job directory for `step(state, batch) -> (state, aux)` and returns its path. The pins are those of
    Cluster.parallelize().

    If `state` or `batches` contain a `jax.ShapeDtypeStruct`, no values are written. Such a directory cannot be
    submitted. It is only for `alpa plan make`, for example to plan a model that is too large for this machine."""
    callbacks.check_mode(debug_callbacks)
    batches = list(batches)
    if not batches:
        raise errors.InputError("a job needs at least one batch")
    signature = program_module.Signature.of_step(step)
    program = program_module.trace(signature, (state, batches[0]), debug_callbacks)
    request = plan_module.request(plan, devices, (), program_module.batch_dims(program, batch_dims), local_statistics,
                                  program)
    only_shapes = any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree_util.tree_leaves((state, batches)))
    values = [] if only_shapes else [program.flatten_arguments((state, batch)) for batch in batches]

    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.glob("batch-*.safetensors"):
        old.unlink()
    (directory / "program.hlo.pb").write_bytes(program.module)
    if values:
        _save(directory / "state.safetensors", program, program.state_inputs(), values[0])
    for i, batch in enumerate(values):
        _save(directory / f"batch-{i:05d}.safetensors", program, program.batch_inputs(), batch)
    description = {
        "version": 1,
        "name": name or signature.title(),
        "inputs": [{"kind": leaf.kind, "path": leaf.path, **_type(leaf.type)} for leaf in program.inputs],
        "outputs": [{"kind": leaf.kind, "path": leaf.path, "state_input": leaf.state_input, **_type(leaf.type)}
                    for leaf in program.outputs],
        "plan": request.to_json(),
        "batches": len(batches),
    }
    (directory / "job.json").write_text(json.dumps(description, indent=1) + "\n")
    return directory


def _type(leaf_type):
    return {"dtype": dtypes.name(leaf_type.dtype), "shape": list(leaf_type.shape)}


def _save(path, program, chosen, values):
    arrays = {program.inputs[i].path: np.ascontiguousarray(leaves.to_host(values[i], program.inputs[i].type))
              .reshape(program.inputs[i].type.shape) for i in chosen}
    save_file(arrays, str(path))
