"""Tests the coordinator as a daemon: exit codes, systemd notifications, health checks and draining."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time

import alpa
import cases
import grpc
import pytest
from alpa.local import find_binary

UNAVAILABLE, CONFIG = 69, 78  # exit codes from sysexits.h


class Daemon:
    """Runs a coordinator process for one test."""

    def __init__(self, directory, *flags, **environment):
        self.ports = directory / "ports"
        defaults = {"--listen": "127.0.0.1:0", "--http": "127.0.0.1:0", "--data-dir": str(directory / "data"),
                    "--port-file": str(self.ports)}
        given = [f"{k}={v}" for k, v in defaults.items() if not any(f.startswith(k + "=") for f in flags)]
        self.process = subprocess.Popen(
            [find_binary("alpa-coordinator"), *given, *flags],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | environment)

    def addresses(self):
        """Waits for the port file. Returns the addresses in it."""
        deadline = time.monotonic() + 20
        while not self.ports.exists():
            assert self.process.poll() is None and time.monotonic() < deadline, self.process.stdout.read()
            time.sleep(0.01)
        return json.loads(self.ports.read_text())

    def end(self, timeout=20):
        """Waits for the process to exit. Returns its exit code and its output."""
        output, _ = self.process.communicate(timeout=timeout)
        return self.process.returncode, output


@pytest.fixture
def daemon(tmp_path):
    started = []

    def start(*flags, directory=tmp_path, **environment):
        started.append(Daemon(directory, *flags, **environment))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.communicate()


def check_exit(daemon, code, *words):
    """Checks that the daemon exits with `code`, and that its output contains all `words`."""
    got, output = daemon.end()
    assert got == code, output
    assert "terminate" not in output and all(word in output for word in words), output


@pytest.mark.parametrize("flag", ["--listen", "--http"])
def test_exits_if_a_port_is_in_use(daemon, tmp_path, flag):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        check_exit(daemon(flag + "=" + address), UNAVAILABLE, address, "in use")


@pytest.mark.parametrize("flag", ["--listen", "--http"])
def test_addresses_other_than_loopback_need_insecure(daemon, flag):
    check_exit(daemon(flag + "=0.0.0.0:0"), CONFIG, "--insecure")


def test_bad_flags_and_addresses_are_refused(daemon):
    check_exit(daemon("--lease=never"), CONFIG, "--lease")
    check_exit(daemon("--no-such-flag"), CONFIG, "no-such-flag")
    check_exit(daemon("--http=127.0.0.1:http"), CONFIG, "--http")


def test_a_missing_planner_is_refused(daemon, tmp_path):
    check_exit(daemon("--planner=/nobody"), CONFIG, "/nobody", "--planner")
    check_exit(daemon("--planner-memory=little"), CONFIG, "--planner-memory", "4 GiB")
    alone = shutil.copy(find_binary("alpa-coordinator"), tmp_path / "alpa-coordinator")
    done = subprocess.run([alone, "--data-dir", str(tmp_path / "data")], capture_output=True, text=True, timeout=20,
                          check=False)
    assert done.returncode == CONFIG and "next to alpa-coordinator" in done.stderr, done.stderr


def test_an_unusable_data_folder_is_refused(daemon, tmp_path):
    (tmp_path / "file").write_text("x")
    check_exit(daemon("--data-dir=" + str(tmp_path / "file" / "data")), CONFIG, "--data-dir")


def test_a_damaged_job_database_is_refused(daemon, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "jobs.sqlite").write_bytes(b"not a database " * 1000)
    check_exit(daemon(), CONFIG, "jobs.sqlite", "damaged")


def test_two_coordinators_cannot_share_a_data_folder(daemon, tmp_path):
    first = daemon()
    first.addresses()
    check_exit(daemon(), UNAVAILABLE, "another coordinator")


def test_notifies_ready_when_it_serves_and_stopping_when_it_drains(daemon, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(tmp_path / "notify"))
        notify.settimeout(20)
        one = daemon(NOTIFY_SOCKET=str(tmp_path / "notify"))
        assert notify.recv(100) == b"READY=1"
        with alpa.connect(one.addresses()["grpc"], timeout=1):
            pass
        one.process.send_signal(signal.SIGTERM)
        assert notify.recv(100) == b"STOPPING=1"
        code, output = one.end()
        assert code == 0 and "drained" in output


def test_serves_health_reflection_and_http(daemon):
    addresses = daemon().addresses()
    raw = {"request_serializer": None, "response_deserializer": None}
    with grpc.insecure_channel(addresses["grpc"]) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check", **raw)
        assert check(b"", timeout=10, wait_for_ready=True) == b"\x08\x01"  # SERVING
        reflect = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", **raw)
        names = b"".join(reflect(iter([b"\x3a\x00"]), timeout=10))  # list_services
        assert b"alpa.proto.JobService" in names and b"alpa.proto.WorkerService" in names
    host, port = addresses["http"].rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    for path in ("/livez", "/readyz", "/version", "/metrics", "/", "/api/v1/cluster"):
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        assert response.status == 200, path


def draining(cluster, steps):
    """Starts a run of `steps` steps. After some steps, makes the coordinator drain. Returns the run."""
    step, state, batches, _ = cases.case("mlp", "sgd")
    run = cluster.parallelize(step, timeout=60)
    state, _ = run(state, batches[0])
    run.wait()
    run.steps(state, batches, steps)
    deadline = time.monotonic() + 30
    while run.metrics[-1]["step"] < 20 and time.monotonic() < deadline:  # until the coordinator has accepted the steps
        time.sleep(0.001)
    cluster._daemons.coordinator.send_signal(signal.SIGTERM)
    return run


def test_a_drain_lets_steps_in_flight_finish(fresh_cluster):
    cluster = fresh_cluster({"one": 1})
    run = draining(cluster, 1000)
    run.wait()
    assert run.metrics[-1]["step"] == 1001
    assert cluster._daemons.coordinator.wait(20) == 0


def test_a_drain_takes_no_longer_than_its_timeout(fresh_cluster):
    cluster = fresh_cluster({"one": 1}, "--drain-timeout", "1")
    run = draining(cluster, 10_000_000)
    begin = time.monotonic()
    assert cluster._daemons.coordinator.wait(20) == 0
    assert 0.9 < time.monotonic() - begin < 6
    with pytest.raises(alpa.AlpaError, match="shut down"):
        run.wait()
