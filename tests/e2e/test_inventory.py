"""Tests the measurements that workers report.

Workers measure each machine once and cache the measurements. `alpa cluster` prints them. With the measurements, another
machine can make plans for the measured one.
"""

import re

import alpa
import cases
import pytest
from daemons import run_alpa, start_cluster


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Returns a function that starts a cluster. Its workers cache their measurements in a folder of this test."""
    monkeypatch.setenv("ALPA_CACHE_DIR", str(tmp_path / "cache"))
    started = []

    def run(workers, **environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        started.append(start_cluster(workers))
        return started[-1]

    yield run
    for cluster in started:
        cluster.close()


def cli(cluster, *arguments):
    done = run_alpa(*arguments, "--address", cluster.address)
    assert done.returncode == 0, done.stderr
    return done.stdout


def profiles(cluster):
    return list(cluster.describe().inventory.profiles)


def measuring_log(cluster, worker):
    """Returns the lines of the worker's log that mention measurements. Fails the test if the log has no such line."""
    lines = [line for line in cluster._daemons.log(worker).splitlines() if "measure" in line]
    assert lines, cluster._daemons.log(worker)
    return lines


def test_the_first_start_measures_and_later_starts_read_the_cache(start, tmp_path):
    first = start({"a": 1})
    assert len(measuring_log(first, "a")) == 1
    assert re.search(r"was measured in \d+\.\d+ s, kept in .*/cache/", measuring_log(first, "a")[0])
    kept = list((tmp_path / "cache").glob("measured-*.toml"))
    assert len(kept) == 1
    # These workers read the cache, because the machine and the threads per device are those of the measured worker.
    # Worker b has more devices than the measured worker, but the number of devices does not matter.
    second = start({"a": 1, "b": 2})
    for worker in "ab":
        assert "measurements of this machine were read" in measuring_log(second, worker)[0]
    assert profiles(second) == profiles(first)
    inventory = second.describe().inventory
    assert len(inventory.hosts) == 1 and inventory.hosts[0].cores > 0
    assert [device.host for device in inventory.devices] == [0, 0, 0]
    assert all(device.cores == 1 for device in inventory.devices)
    # If the cached file is damaged, the worker reports this and measures again.
    kept[0].write_text(kept[0].read_text()[:300])
    third = start({"a": 1})
    assert "measuring again" in measuring_log(third, "a")[0] and "was measured" in measuring_log(third, "a")[1]
    always = start({"a": 1}, ALPA_MEASURE="always")
    assert "was measured" in measuring_log(always, "a")[0]


def test_workers_that_start_together_measure_once(start):
    cluster = start({name: 1 for name in "abc"})
    lines = [line for name in "abc" for line in measuring_log(cluster, name)]
    assert sum("was measured" in line for line in lines) == 1, lines
    assert len(profiles(cluster)) == 1


def test_predictions_use_assumed_numbers_if_workers_do_not_measure(start, tmp_path):
    cluster = start({"a": 2}, ALPA_MEASURE="never")
    assert [profile.name.endswith("(assumed)") for profile in profiles(cluster)] == [True]
    assert not (tmp_path / "cache").exists()
    step, state, batches, _ = cases.case("mlp", "sgd")
    run = cluster.parallelize(step, alpa.DataParallel(2))
    run(state, batches[0])
    assert run.plan.proto.predicted_step_seconds > 0
    assert "(assumed)" in cli(cluster, "cluster")


def test_alpa_cluster_shows_the_machines_and_writes_them_for_planning(start, tmp_path):
    cluster = start({"a": 2, "b": 1})
    shown = cli(cluster, "cluster")
    assert re.search(r"^HOST +CORES +DEVICES +FLOAT32", shown, re.MULTILINE)
    assert re.search(r" 0-2 +\S+ [GT]FLOP/s", shown), shown
    for link in ("devices of a worker", "workers of the host", "this and other hosts"):
        assert re.search(link + r" +\S+ [un]?s +\S+ GB/s", shown), shown
    file = tmp_path / "cluster.toml"
    file.write_text(cli(cluster, "cluster", "--toml"))
    step, state, batches, _ = cases.case("mlp", "sgd")
    alpa.save_job(tmp_path / "job", step, state, batches)
    plan = tmp_path / "plan.json"
    cli(cluster, "plan", "make", "--job", tmp_path / "job", "--cluster", file, "--devices", 3, "--output", plan)
    simulated = cli(cluster, "simulate", plan, "--job", tmp_path / "job", "--cluster", file, "-o", "json")
    predicted = float(re.search(r'"step_seconds":([0-9.e-]+)', simulated).group(1))
    # The file holds the coordinator's numbers, so `alpa simulate` and the coordinator predict the same time.
    run = cluster.parallelize(step, alpa.load_plan(plan))
    run(state, batches[0])
    assert run.plan.proto.predicted_step_seconds == pytest.approx(predicted, rel=1e-6)
