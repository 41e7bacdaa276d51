"""Starts real daemons for tests, and runs the `alpa` command."""

import subprocess

from alpa.cluster import Cluster
from alpa.local import Daemons, find_binary


def start_cluster(workers, *coordinator_flags):
    """Starts a coordinator, and one worker for each item of `workers`, which is {name: number of devices}.

    Waits until all workers have registered. Returns a connected Cluster. If a start fails, stops all daemons.
    """
    daemons = Daemons()
    try:
        daemons.start_coordinator(*coordinator_flags)
        for name, devices in workers.items():
            daemons.start_worker(name, devices, 1)
        connected = Cluster(daemons.address, 30, daemons)
        daemons.wait_for_workers(connected, len(workers))
    except BaseException:
        daemons.stop()
        raise
    return connected


def run_alpa(*arguments, timeout=120):
    """Runs `alpa` with these arguments. Returns the finished process, whatever its exit code is."""
    return subprocess.run([find_binary("alpa"), *map(str, arguments)], capture_output=True, text=True, timeout=timeout,
                          check=False)
