"""The stage: real S3 servers, our binary, clients. Every server listens on 127.0.0.1 at a free port and is stopped, by process id, by
the fixture that started it."""
import pathlib
import shutil
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import servers  # noqa: E402
from scripted import Scripted  # noqa: E402


@pytest.fixture(scope="session")
def driver():
    return servers.driver()


@pytest.fixture(scope="session")
def versitygw(tmp_path_factory):
    with servers.Versitygw(tmp_path_factory.mktemp("versitygw")) as server:
        yield server


@pytest.fixture
def origin():
    """What the test puts into it, as it puts it."""
    with Scripted() as server:
        yield server


@pytest.fixture(scope="session")
def moto(tmp_path_factory):
    with servers.Moto(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture
def faulty():
    with servers.Faulty() as server:
        yield server


@pytest.fixture
def yatagarasu(tmp_path):
    """Starts any number of ours: yatagarasu(buckets=..., **keys) -> Yatagarasu."""
    started = []

    def start(*args, **kwargs):
        ours = servers.Yatagarasu(tmp_path, *args, **kwargs)
        started.append(ours)
        ours.start()
        return ours

    yield start
    problems = [problem for ours in started for problem in ours.stop()]
    for ours in started:  # preallocated, so real space
        shutil.rmtree(ours.folder / "cache", ignore_errors=True)
    assert not problems, problems


def pytest_configure(config):
    config.addinivalue_line("markers", "long: takes more than a minute; only in ./test --long")
