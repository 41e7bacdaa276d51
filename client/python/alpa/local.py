"""A cluster on this machine. Starts the daemons as child processes, and stops them at the end."""

import atexit
import json
import logging
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import weakref

from alpa import cluster as cluster_module
from alpa import errors

START_SECONDS = 30.0  # time limit for one daemon to listen, and for all workers to register
STOP_SECONDS = 10.0  # time from SIGTERM to SIGKILL, if a daemon has not ended
_log = logging.getLogger("alpa")
_running = weakref.WeakSet()


def local(workers=2, devices_per_worker=2, *, threads=None, data_dir=None, bin_dir=None):
    """Starts a coordinator and `workers` worker processes with `devices_per_worker` CPU devices each, on free loopback
    ports. Returns a Cluster. The daemons stop at close(), or when this process exits.

    threads: the number of threads of each device (default: an even share of the cores).
    data_dir: the folder for files and logs of the daemons (default: a temporary folder, removed at the end).
    bin_dir: a folder with the daemons' programs. The search looks in this folder and then in $ALPA_BIN. If neither is
        given, it looks in build/release/bin of the checkout and then in PATH.

    The daemons inherit the environment of this process. For example, ALPA_MEASURE=never skips the measurement of the
    machine, which takes seconds at the first start.
    """
    for name, count in (("workers", workers), ("devices_per_worker", devices_per_worker)):
        if not isinstance(count, int) or count < 1:
            raise errors.InputError(f"{name} is {count!r}; expected 1 or more")
    daemons = Daemons(data_dir, bin_dir)
    try:
        daemons.start_coordinator()
        threads = threads or max(1, (os.cpu_count() or 1) // (workers * devices_per_worker))
        for i in range(workers):
            daemons.start_worker(f"worker-{i}", devices_per_worker, threads)
        cluster = cluster_module.Cluster(daemons.address, START_SECONDS, daemons)
        daemons.wait_for_workers(cluster, workers)
    except BaseException:
        daemons.stop()
        raise
    return cluster


def find_binary(name, bin_dir=None):
    """Returns the path of a daemon's program. If it is not found, raises a DaemonError that names the searched
    places."""
    checkout = pathlib.Path(__file__).resolve().parents[3]
    places = [pathlib.Path(p) for p in (bin_dir, os.environ.get("ALPA_BIN")) if p] or [checkout / "build/release/bin"]
    for place in places:
        if os.access(place / name, os.X_OK):
            return str(place / name)
    found = shutil.which(name) if not (bin_dir or os.environ.get("ALPA_BIN")) else None
    if found:
        return found
    looked = ", ".join(map(str, places)) + ("" if bin_dir or os.environ.get("ALPA_BIN") else ", PATH")
    raise errors.DaemonError(f"{name} was not found in {looked}; build it (`cmake --workflow --preset release`), or "
                             "set ALPA_BIN to its folder")


class Daemons:
    """The processes of one local cluster. `coordinator` is a Popen object, and `workers` is {name: Popen}."""

    def __init__(self, data_dir=None, bin_dir=None):
        self._bin_dir = bin_dir
        self._own_dir = data_dir is None
        self.directory = pathlib.Path(data_dir or tempfile.mkdtemp(prefix="alpa-local-"))
        self.directory.mkdir(parents=True, exist_ok=True)
        self.coordinator = None
        self.workers = {}
        self.address = None
        self.http_address = None
        _running.add(self)

    def start_coordinator(self, *flags):
        """Starts the coordinator on free ports and waits until it listens."""
        data = self.directory / "coordinator"
        process, ports = self._start(
            "alpa-coordinator", "coordinator",
            ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data-dir", str(data), *flags])
        self.coordinator = process
        self.address, self.http_address = ports["grpc"], ports.get("http")

    def start_worker(self, name, devices, threads=1, *flags):
        """Starts a worker and waits until it listens. Does not wait until the worker has registered."""
        data = self.directory / name
        self.workers[name], _ = self._start(
            "alpa-worker", name, ["--coordinator", self.address, "--name", name, "--devices", str(devices), "--listen",
                                  "127.0.0.1:0", "--threads", str(threads), "--data-dir", str(data), *flags])

    def wait_for_workers(self, cluster, count, timeout=START_SECONDS):
        """Waits until `count` workers are registered. Raises DaemonError if a daemon ends, or if the workers are not
        registered after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            self._check_running()
            up = [w for w in cluster.describe().workers if w.up]
            if len(up) >= count:
                return
            if time.monotonic() > deadline:
                raise errors.DaemonError(f"{len(up)} of {count} workers registered within {timeout:g} s; "
                                         f"logs are in {self.directory}{self._tails()}")
            time.sleep(0.05)

    def log(self, name):
        """Returns the log that the daemon `name` has written so far."""
        path = self.directory / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self):
        """Stops all daemons with SIGTERM. A daemon that runs after STOP_SECONDS gets SIGKILL. May be called twice."""
        processes = list(self.workers.values()) + ([self.coordinator] if self.coordinator else [])
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for process in processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        _running.discard(self)
        if self._own_dir:
            shutil.rmtree(self.directory, ignore_errors=True)

    def _start(self, binary, name, arguments):
        port_file = self.directory / f"{name}.ports"
        port_file.unlink(missing_ok=True)
        path = find_binary(binary, self._bin_dir)
        with open(self.directory / f"{name}.log", "ab") as log:
            process = subprocess.Popen([path, *arguments, "--port-file", str(port_file)], stdin=subprocess.DEVNULL,
                                       stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + START_SECONDS
        while not port_file.exists():
            if process.poll() is not None:
                raise errors.DaemonError(f"{binary} ended with exit code {process.returncode} while starting"
                                         f"{self._tail(name)}")
            if time.monotonic() > deadline:
                process.kill()
                process.wait()
                raise errors.DaemonError(f"{binary} did not listen within {START_SECONDS:g} s{self._tail(name)}")
            time.sleep(0.01)
        return process, json.loads(port_file.read_text())

    def _check_running(self):
        for name, process in [("coordinator", self.coordinator), *self.workers.items()]:
            if process.poll() is not None:
                raise errors.DaemonError(f"{name} ended with exit code {process.returncode}{self._tail(name)}")

    def _tail(self, name, lines=8):
        text = self.log(name).strip().splitlines()[-lines:]
        return "".join(f"\n  {name}: {line}" for line in text)

    def _tails(self):
        return "".join(self._tail(name) for name in ("coordinator", *self.workers))


@atexit.register
def _stop_all():
    for daemons in list(_running):
        daemons.stop()
