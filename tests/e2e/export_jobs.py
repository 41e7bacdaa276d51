"""Writes the models of the tests as job directories, for tools such as check_lowering.

    export_jobs.py DIRECTORY [MODEL ...]

Each model is written once per optimizer, as DIRECTORY/MODEL_OPTIMIZER. Without MODEL, all models are written.
"""

import os
import pathlib
import sys

os.environ.setdefault("JAX_PLATFORMS", "cpu")
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent / "examples"), str(HERE.parent.parent / "client" / "python")]

import alpa  # noqa: E402
import cases  # noqa: E402

MODELS = (*cases.NAMES, *cases.DEEP_NAMES)


def main(directory, names):
    for name in names or MODELS:
        for optimizer in cases.OPTIMIZERS:
            step, state, batches, _ = cases.case(name, optimizer, 24, 1)
            alpa.save_job(str(pathlib.Path(directory) / f"{name}_{optimizer}"), step, state, batches)
            print(f"{name}_{optimizer}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
