"""Real daemons for tests."""

from alpa.cluster import Cluster
from alpa.local import Daemons


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
