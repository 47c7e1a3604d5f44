"""Disks that do wrong under the running server: every answer is right and in time, from memory or the origin; the device is taken out
of use and comes back, and /ready says so.

The rows run side by side, each with a server and a device of its own, since a device that is out is tried again only every 10 s.
"""
import concurrent.futures
import contextlib
import json
import os
import random
import shutil
import subprocess
import threading
import time

import pytest

import devices
import servers
from wire import wait_until

OBJECTS, SIZE = 120, 700_000  # more than the device holds, and several times what memory does
MEMORY_MB, DEVICE_MB = 16, 64
PATIENCE = 18  # seconds for an answer: 2 until it does without the disk, twice, and a busy machine; a stall takes 20

DISKS_STALL = True  # on purpose

pytestmark = pytest.mark.skipif(os.environ.get("YATA_SLOW_BUILD") == "1", reason="timing; the release build runs it")


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("objects")
    for i in range(OBJECTS):
        (folder / f"{i}").write_bytes(random.Random(i).randbytes(SIZE + i))
    return folder


class Row:
    """A server with its disk tier on `path`."""

    def __init__(self, folder, origin, path, size_mb=DEVICE_MB):
        self.origin, self.path = origin, path
        self.bytes = [(origin / f"{i}").read_bytes() for i in range(OBJECTS)]
        disk = {"cache_dir": None, "max_disk_cache_size_mb": None, "devices": [{"path": str(path), "size_mb": size_mb}]}
        self.ours = servers.Yatagarasu(folder, [servers.file_bucket("o", origin)],
                                       cache={"memory": {"max_cache_size_mb": MEMORY_MB}, "disk": disk})

    def __enter__(self):
        self.ours.start()
        return self

    def __exit__(self, *_):
        problems = self.ours.stop()
        assert not problems, problems

    def ready(self):
        return json.loads(self.ours.admin("/ready")[2])

    def disk(self, name):
        return self.ours.metrics()[f"yatagarasu_disk_{name}"]

    def ask(self, seconds, seed=0):
        """Two clients ask for objects and parts; returns the longest wait. All must be right."""
        longest, errors, end = [0.0], [], time.monotonic() + seconds

        def client(number):
            rng = random.Random(seed * 10 + number)
            while time.monotonic() < end and not errors:
                i = rng.randrange(OBJECTS)
                begin = rng.randrange(SIZE - 1) if rng.random() < 0.3 else None
                headers = {} if begin is None else {"Range": f"bytes={begin}-{begin + 99_999}"}
                started = time.monotonic()
                try:
                    status, _, body = servers.get(self.ours.port, f"/o/{i}", headers, timeout=PATIENCE)
                except OSError as error:
                    status, body = repr(error), b""
                took = time.monotonic() - started
                longest[0] = max(longest[0], took)
                expected = self.bytes[i] if begin is None else self.bytes[i][begin:begin + 100_000]
                if status not in (200, 206) or body != expected or took > PATIENCE:
                    errors.append(f"object {i} from {begin}: {status}, {len(body)} bytes, {took:.1f} s")

        threads = [threading.Thread(target=client, args=(n,)) for n in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors, errors[:3]
        return longest[0]

    def fill(self):
        """All objects have been asked for, and the disk serves some."""
        for i in range(OBJECTS):
            assert self.ours.get(f"/o/{i}")[2] == self.bytes[i]
        assert wait_until(lambda: self.disk("waiting_bytes") == 0)
        before = self.disk("hits_total")
        assert wait_until(lambda: self.ask(0.5) >= 0 and self.disk("hits_total") > before)

    def out(self):
        ready = {}

        def is_out():  # the two are asked one after the other, and it may be back for a moment between them
            return self.ask(0.5) and self.disk("devices_out") == 1 and (ready.update(self.ready()) or ready["disk"]["state"] == "out")

        assert wait_until(is_out)
        assert ready["ready"] and "disk" in ready["degraded"] and ready["disk"]["reason"]

    def back(self):
        assert wait_until(lambda: self.disk("devices_out") == 0)
        assert wait_until(lambda: self.ready()["disk"]["state"] in ("ok", "recovering"))
        self.fill()


@contextlib.contextmanager
def faulty_row(folder, origin, *rules):
    with devices.FaultFs(folder / "fs") as fs:
        fs.rule(*rules)
        with Row(folder, origin, fs.device) as row:
            try:
                yield fs, row
            finally:
                fs.rule()


@contextlib.contextmanager
def ext4_row(folder, origin):
    """A real file system, on a disk (a loop device) that goes wrong. Reads have to move the time of access, if they
    let themselves be asked to: what waits for the journal then waits each time."""
    with devices.FaultFs(folder / "fs") as fs, devices.Ext4(folder / "ext4", 100, fs.device, "strictatime") as ext4:
        with Row(folder, origin, ext4.device) as row:
            try:
                yield fs, row
            finally:
                fs.rule()


def out_and_back(*rules, make=faulty_row):
    def run(folder, origin):
        with make(folder, origin) as (fs, row):
            row.fill()
            fs.rule(*rules)
            row.out()
            row.ask(12)  # it is tried again meanwhile, and is no better
            if rules[0].startswith("read"):
                row.out()  # its superblock can be written, so it was back for a moment
            else:
                assert row.disk("devices_out") == 1
            fs.rule()
            row.back()
    return run


def a_bad_spot(folder, origin):
    """A part of the device takes no writes: its segments are given up, one by one, the device stays."""
    with faulty_row(folder, origin, f"write EIO {24 << 20} {64 << 10}") as (_, row):
        row.fill()
        assert wait_until(lambda: row.ask(1) and row.disk("io_errors_total") > 0, 30)
        row.ask(2)
        assert row.disk("devices_out") == 0


def stalled(make):
    def run(folder, origin):
        with make(folder, origin) as (fs, row):
            row.fill()
            fs.rule("all stall")
            committing = subprocess.Popen(["sync", "-f", row.path.parent])  # of ext4: now its journal stalls as well
            try:
                started = time.monotonic()
                while time.monotonic() < started + 20:
                    row.ask(1, seed=int(time.monotonic()))
            finally:
                fs.rule()
                committing.wait(60)
            assert wait_until(lambda: row.disk("waiting_bytes") == 0)
            assert row.ours.given_up() > 0
            row.back()
    return run


def purged_while_it_stalls(folder, origin):
    """What lies under a key is not to be learnt; that it is purged does not wait for it, nor for being durable."""
    with faulty_row(folder, origin) as (fs, row):
        row.fill()

        def info(i):
            status, _, body = row.ours.admin(f"/admin/cache/info?key=o:{i}")
            return status, json.loads(body)

        def purged():
            return json.loads(row.ours.admin("/admin/cache/stats")[2])["purges"]["objects"]

        key = next(i for i in range(OBJECTS) if info(i)[1].get("head_in") == "disk")
        fs.rule("all stall")
        status, said = info(key)
        assert status == 503 and "disk" in said["message"], said
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            purging = pool.submit(row.ours.admin, f"/admin/cache/purge/o/{key}", {"Content-Type": "application/json"}, "POST", "")
            try:
                assert wait_until(lambda: purged() == 1, 15)
                assert not purging.done()
                assert info(key)[1].get("stored") is False
            finally:
                fs.rule()
            status, _, body = purging.result(30)
        answer = json.loads(body)
        assert status == 200 and answer["durable"] and "stored" not in answer, answer
        fs.rule("all stall")
        status, _, body = row.ours.admin("/admin/cache/purge/o", {"Content-Type": "application/json"}, "POST", "")
        answer = json.loads(body)
        assert status == 503 and answer["durable"] is False, "it does not wait for ever"
        fs.rule()
        assert info(key)[1]["stored"] is False
        row.back()


def no_room_at_creation(folder, origin):
    with faulty_row(folder, origin, "space ENOSPC") as (_, row):
        assert wait_until(lambda: row.ready()["disk"]["state"] == "out")
        assert "room" in row.ready()["disk"]["reason"]
        row.ask(1)


def gone_at_the_start(folder, origin):
    with faulty_row(folder, origin, "all ENODEV") as (_, row):
        assert wait_until(lambda: row.ready()["disk"]["state"] == "out")
        row.ask(1)


def without_direct_io(folder, origin):
    with faulty_row(folder, origin, "direct EINVAL") as (_, row):
        row.fill()
        assert row.ready()["disk"]["direct"] is False
        row.ours.error_log("buffered")


ROWS = {
    "reads fail": out_and_back("read EIO"),
    "writes fail": out_and_back("write EIO"),
    "no room later": out_and_back("write ENOSPC"),
    "it vanishes": out_and_back("all ENODEV"),
    "it is read-only": out_and_back("write EROFS"),
    "a bad spot": a_bad_spot,
    "a stall of 20 s": stalled(faulty_row),
    "a stall below ext4": stalled(ext4_row),
    "a purge during a stall": purged_while_it_stalls,
    "reads fail below ext4": out_and_back("read EIO", make=ext4_row),
    "no room at creation": no_room_at_creation,
    "gone at the start": gone_at_the_start,
    "no direct I/O": without_direct_io,
}


def test_faults_of_a_device(tmp_path, origin):
    devices.faultfs_binary()
    failed = {}
    with concurrent.futures.ThreadPoolExecutor(len(ROWS)) as pool:
        running = {}
        for number, (name, run) in enumerate(ROWS.items()):
            (tmp_path / f"{number}").mkdir()
            running[name] = pool.submit(run, tmp_path / f"{number}", origin)
        for name, row in running.items():
            if isinstance(row.exception(), pytest.skip.Exception):
                print(f"{name}: skipped, {row.exception()}")
            elif row.exception() is not None:
                failed[name] = repr(row.exception())
    assert not failed, json.dumps(failed, indent=1)


# ---- a real file system ----

def test_a_file_system_without_room(tmp_path, origin):
    with devices.Ext4(tmp_path / "fs", 48) as fs, Row(tmp_path, origin, fs.device) as row:
        assert wait_until(lambda: row.ready()["disk"]["state"] == "out")
        assert "room" in row.ready()["disk"]["reason"]
        row.ask(1)


def test_room_is_reserved_at_creation(tmp_path, origin):
    """Others may fill the file system: the device has what it needs, and takes no more than it was given."""
    with devices.Ext4(tmp_path / "fs", 100) as fs, Row(tmp_path, origin, fs.device) as row:
        row.ours.wait_for_disk()
        with contextlib.suppress(OSError), (fs.mount / "filler").open("wb") as filler:
            while True:
                filler.write(bytes(1 << 20))
                filler.flush()
        assert shutil.disk_usage(fs.mount).free < 1 << 20
        row.fill()
        row.ask(5)  # and round
        assert row.disk("devices_out") == 0 and row.disk("io_errors_total") == 0
        status = os.stat(fs.device)
        assert status.st_size <= DEVICE_MB << 20 and status.st_blocks * 512 <= DEVICE_MB << 20


def test_a_file_system_becomes_read_only(tmp_path, origin):
    """ext4 gives itself up, as after an error of the disk."""
    with devices.Ext4(tmp_path / "fs", 100) as fs, Row(tmp_path, origin, fs.device) as row:
        row.fill()
        devices.command("mount", "-o", "remount,abort", fs.mount)
        row.out()


def test_the_device_under_it_is_cut(tmp_path, origin):
    with devices.Ext4(tmp_path / "fs", 100) as fs, Row(tmp_path, origin, fs.device) as row:
        row.fill()
        os.truncate(fs.image, 30 << 20)
        assert wait_until(lambda: row.ask(1) >= 0 and row.disk("corrupt_total") + row.disk("io_errors_total") > 0, 30)
        row.ask(4)
        assert row.ready()["ready"]


def test_tmpfs(tmp_path, origin):
    if not os.path.isdir("/dev/shm"):
        pytest.skip("there is no /dev/shm")
    path = f"/dev/shm/yata-{os.getpid()}"
    try:
        with Row(tmp_path, origin, path) as row:
            row.fill()
            direct = row.ready()["disk"]["direct"]
            row.ours.error_log("direct" if direct else "buffered")  # direct since Linux 6.6
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
