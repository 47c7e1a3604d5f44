"""The stage: real S3 servers, our binary, clients. Every server listens on 127.0.0.1 at a free port and is stopped, by process id, by
the fixture that started it."""
import pathlib
import shutil
import sys

import pytest
from _pytest.runner import runtestprotocol

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import servers  # noqa: E402
from scripted import apart  # noqa: E402


@pytest.fixture(scope="session")
def driver():
    return servers.driver()


@pytest.fixture(scope="session")
def versitygw(tmp_path_factory):
    with servers.Versitygw(tmp_path_factory.mktemp("versitygw")) as server:
        yield server


@pytest.fixture
def origin(request):
    """What the test puts into it, as it puts it. PURGED_APART of a module: objects that must not share a purge slot."""
    with apart(getattr(request.module, "PURGED_APART", [])) as server:
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


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed:
        item.without_disk = max(0, servers.given_up() - item.without_disk_before)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    """A request that has waited 2 s for the disk goes on without it, and a hit is a miss then. So a test that fails while one of ours tells of
    such a request has measured this machine's disk: it is done again, and that is said."""
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for left in reversed(range(1 if getattr(item.module, "DISKS_STALL", False) else 3)):
        item.without_disk, item.without_disk_before = 0, servers.given_up()
        item._report_sections.clear()
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        if left == 0 or item.without_disk == 0:
            break
        print(f"\nAGAIN {item.nodeid}: {item.without_disk} requests went on without the disk\n"
              + "\n".join(str(r.longrepr)[-3000:] for r in reports if r.failed), file=sys.__stderr__, flush=True)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_configure(config):
    config.addinivalue_line("markers", "long: takes more than a minute; only in ./test --long")
