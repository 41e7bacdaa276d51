"""Defines fixtures that start clusters of real daemons, and options that select the tests to run."""

import os
import pathlib
import sys

os.environ.setdefault("JAX_PLATFORMS", "cpu")
HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(ROOT / "examples"), str(ROOT / "client" / "python")]

import pytest  # noqa: E402
from daemons import start_cluster  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="run the whole matrix of tests instead of a seeded part of it")
    parser.addoption("--part-seed", type=int, default=20260, help="seed that selects the part of the matrix to run")


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: runs only with --full")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--full"):
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="runs only with --full"))


@pytest.fixture(scope="session")
def cluster():
    """Starts the cluster that all tests share.

    The workers pair-0 and pair-1 have two devices each, and single-0 and single-1 have one device each.
    """
    connected = start_cluster({"pair-0": 2, "pair-1": 2, "single-0": 1, "single-1": 1})
    yield connected
    connected.close()


@pytest.fixture(scope="module")
def wide():
    """Starts a larger cluster for one module.

    The workers quad-0 and quad-1 have four devices each, and one-0 and one-1 have one device each.
    """
    connected = start_cluster({"quad-0": 4, "quad-1": 4, "one-0": 1, "one-1": 1})
    yield connected
    connected.close()


@pytest.fixture
def fresh_cluster():
    """Returns a function that starts a new cluster. A test that breaks its cluster uses this function."""
    started = []

    def start(workers, *flags):
        started.append(start_cluster(workers, *flags))
        return started[-1]

    yield start
    for connected in started:
        connected.close()
