"""Real daemons for tests, and the `alpa` command."""

import subprocess

from alpa.cluster import Cluster
from alpa.local import Daemons, find_binary


def start_cluster(workers, *coordinator_flags):
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
    """The finished process of `alpa` with these arguments, whatever it ended with."""
    return subprocess.run([find_binary("alpa"), *map(str, arguments)], capture_output=True, text=True, timeout=timeout, check=False)
