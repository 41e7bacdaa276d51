import os
import pathlib
import sys

os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import pytest  # noqa: E402


@pytest.fixture
def fake():
    from fake_cluster import FakeCluster

    cluster = FakeCluster()
    yield cluster
    cluster.stop()


@pytest.fixture
def cluster(fake):
    import alpa

    with alpa.connect(fake.address) as connected:
        yield connected
