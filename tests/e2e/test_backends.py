"""What docs/io-backends.md promises: its configurations start with both backends, a partition is a device, and where io_uring is
forbidden `auto` runs the portable backend and says why."""
import json
import os
import pathlib
import re
import subprocess

import pytest

import devices
import servers
from wire import wait_until

VARIABLES = {"YATAGARASU_BUCKET": "media", "YATAGARASU_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s",
             "YATAGARASU_ADMIN_TOKEN": "a-token-of-the-test"}
CONFIGURATIONS = ["latency", "ssd-life", "container"]


class Configured(servers.Yatagarasu):
    """One of the files below config/, with this machine's ports, places and sizes."""

    def __init__(self, folder, name, **kwargs):
        super().__init__(folder, [], env=VARIABLES, **kwargs)
        self.text = (servers.TOP / f"config/{name}.yaml").read_text()
        for pattern, by in ((r"\bport: 8080", f"port: {self.port}"), (r"\bport: 9090", f"port: {self.admin_port}"),
                            (r"address: 0\.0\.0\.0", "address: 127.0.0.1"), (r"(max_cache_size_mb): \d+", r"\1: 64"),
                            (r"(max_disk_cache_size_mb|size_mb): \d+", r"\1: 128"), ("/var/cache/yatagarasu", str(self.folder / "cache")),
                            ("/dev/nvme1n1p1", str(self.folder / "partition"))):
            self.text = re.sub(pattern, by, self.text)

    def write(self):
        path = self.folder / "config.yaml"
        path.write_text(self.text)
        return path

    def ready(self):
        return json.loads(self.admin("/ready")[2])


def without_uring(*command):
    path = pathlib.Path(servers.binary()).parents[2] / "tests/io/without_uring"
    if not path.exists():
        pytest.skip("without_uring is not built")
    done = subprocess.run([path, *command], capture_output=True, text=True, timeout=60, env={**os.environ, **VARIABLES})
    if done.returncode == 77:
        pytest.skip("there is no seccomp here")
    return done


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_configuration_is_valid_as_it_is(name):
    done = subprocess.run([servers.binary(), "--test", "-c", str(servers.TOP / f"config/{name}.yaml")], capture_output=True, text=True,
                          timeout=30, env={**os.environ, **VARIABLES})
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_configuration_starts(tmp_path, name):
    ours = Configured(tmp_path, name)
    try:
        ours.start()
        assert wait_until(lambda: ours.ready()["disk"]["state"] == "ok"), ours.ready()
        assert ours.ready()["io"]["driver"] == servers.driver()
        assert wait_until(lambda: "memory:" in (ours.folder / "stdio.log").read_text())
    finally:
        problems = ours.stop()
    assert not problems, problems


def test_a_partition_is_a_device(tmp_path):
    objects = tmp_path / "objects"
    objects.mkdir()
    (objects / "a").write_bytes(os.urandom(3_000_000))
    with devices.LoopDevice(tmp_path / "image", 128) as partition:
        disk = {"cache_dir": None, "max_disk_cache_size_mb": None, "devices": [{"path": partition, "size_mb": 100}]}
        ours = servers.Yatagarasu(tmp_path, [servers.file_bucket("o", objects)],
                                  cache={"memory": {"max_cache_size_mb": 16}, "disk": disk})
        try:
            ours.start()
            for _ in range(2):
                assert ours.get("/o/a")[2] == (objects / "a").read_bytes()
            assert wait_until(lambda: ours.metrics()["yatagarasu_disk_waiting_bytes"] == 0)
            ours.restart()
            ours.wait_for_disk()
            status, headers, body = ours.get("/o/a")
            assert status == 200 and headers["x-cache"] == "HIT" and body == (objects / "a").read_bytes()
            assert json.loads(ours.admin("/ready")[2])["disk"]["direct"]
        finally:
            problems = ours.stop()
        assert not problems, problems


def test_where_io_uring_is_forbidden(tmp_path):
    """Both ways of asking, and what is said."""
    ours = Configured(tmp_path, "latency", io="auto")
    path = str(ours.write())
    without_uring("true")
    refused = without_uring(servers.binary(), "--io", "uring", "-c", path)
    built_in = "not built in" not in refused.stderr
    assert refused.returncode != 0 and ("seccomp" in refused.stderr or not built_in)
    wrapper = pathlib.Path(servers.binary()).parents[2] / "tests/io/without_uring"
    ours.spawn([str(wrapper), servers.binary(), "-c", path], ours.folder / "stdio.log", env={**os.environ, **VARIABLES})
    try:
        servers.wait_for_port(ours.port, ours.process)
        servers.wait_for_port(ours.admin_port, ours.process)
        io = ours.ready()["io"]
        assert io["driver"] == "portable" and ("seccomp" in io["reason"] or not built_in)
        assert 'yatagarasu_io_driver_info{driver="portable"' in ours.admin("/metrics")[2].decode()
    finally:
        problems = ours.stop()
    assert not problems, problems
