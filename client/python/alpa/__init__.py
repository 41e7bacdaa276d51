"""Train an ordinary JAX step on many devices.

    import alpa
    cluster = alpa.connect("127.0.0.1:7400")     # or alpa.local(), which starts the daemons itself
    run = cluster.parallelize(step)              # step(state, batch) -> (state, aux)
    for batch in batches:
        state, aux = run(state, batch)           # returns at once; state and aux are handles
    print(run.plan)
    state = alpa.fetch(state)                    # the same pytree with numpy arrays
"""

from alpa.cluster import Cluster, connect
from alpa.errors import (AlpaError, DaemonError, DeadlineError, InputError, JobFailedError, JobNotFoundError, PlanError,
                         ProgramError, StaleStateError, UnreachableError, UnsupportedOpError)
from alpa.handles import Handle, fetch
from alpa.job_directory import save_job
from alpa.local import local
from alpa.plan import Auto, DataParallel, GPipe, Megatron, Zero, load_plan
from alpa.run import Run, block_until_ready

__version__ = "0.1.0"

__all__ = [
    "AlpaError", "Auto", "Cluster", "DaemonError", "DataParallel", "DeadlineError", "GPipe", "Handle", "InputError",
    "JobFailedError", "JobNotFoundError", "Megatron", "PlanError", "ProgramError", "Run", "StaleStateError",
    "UnreachableError", "UnsupportedOpError", "Zero", "block_until_ready", "connect", "fetch", "load_plan", "local",
    "save_job",
]
