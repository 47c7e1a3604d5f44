"""The cache outlives the process: a clean stop, kill -9, another driver, a damaged file. And the choice of the driver where the kernel
does not give io_uring."""
import ctypes
import json
import os
import random
import signal
import struct
import subprocess
import time

import pytest

import servers
from scripted import Scripted
from wire import ask, wait_until

MIB = 1 << 20
OTHER = {"uring": "portable", "portable": "uring"}
SIZES = [0, 1, 10_000, 16 << 10, (16 << 10) + 1, 256 << 10, (256 << 10) + 1, 700_000, 3 * MIB + 5]


@pytest.fixture
def origin():
    with Scripted() as server:
        for size in SIZES:
            server.put(f"o{size}", random.Random(size).randbytes(size), ETag=f'"{size}"', x_amz_meta_size=str(size))
        yield server


def read_all(ours, origin):
    """Reads every object; returns what X-Cache said."""
    said = {}
    for size in SIZES:
        answer = ask(ours.port, f"/s/o{size}")
        assert answer.status == 200 and answer.body == origin.objects[f"o{size}"][0] and answer.get("x-amz-meta-size") == str(size)
        said[size] = answer.cache, answer.get("Cache-Status").rpartition("detail=")[2]
    return said


def on_disk(ours):
    """Everything put was written."""
    assert wait_until(lambda: ours.metrics()["yatagarasu_disk_waiting_bytes"] == 0)
    time.sleep(1.5)


@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
def test_restart_keeps_the_cache(origin, yatagarasu, how):
    ours = yatagarasu([servers.s3_bucket("s", origin)])
    ours.wait_for_disk()
    read_all(ours, origin)
    for turn in range(2):
        if how == "SIGTERM":
            assert ours.terminate() == 0
        else:
            on_disk(ours)
            ours.kill()
        origin.seen.clear()
        ours.start()
        ours.wait_for_disk()
        said = read_all(ours, origin)
        assert {cache for cache, _ in said.values()} == {"HIT"} and {tier for _, tier in said.values()} == {"disk"}, said
        assert origin.seen == [], "nothing was fetched again"


@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
def test_a_hit_in_memory_is_the_second_request(origin, yatagarasu, how):
    ours = yatagarasu([servers.s3_bucket("s", origin)], cache={"disk": {"admission": "second_request"}})
    ours.wait_for_disk()
    asked = {10_000: 1, 700_000: 1, 16 << 10: 2, 3 * MIB + 5: 2}
    for turn in range(2):
        for size, times in asked.items():
            if turn < times:
                answer = ask(ours.port, f"/s/o{size}")
                assert answer.cache == ("HIT" if turn else "MISS") and answer.body == origin.objects[f"o{size}"][0]
    if how == "SIGTERM":
        assert ours.terminate() == 0
    else:
        on_disk(ours)
        ours.kill()
    ours.start()
    ours.wait_for_disk()
    for size, times in asked.items():
        answer = ask(ours.port, f"/s/o{size}")
        assert answer.body == origin.objects[f"o{size}"][0]
        assert answer.cache == ("MISS" if times == 1 else "HIT"), size
        assert times == 1 or answer.get("Cache-Status").endswith("detail=disk"), size


def found_the_third_time(ours, origin, name):
    """What was asked for is remembered in 65,536 places by a random hash: of five, two share one once in 6,500 times, and neither is
    remembered. So False is for another name to disprove."""
    sizes, caches = (10_000, 700_000), []
    for size in sizes:
        origin.objects[f"{name}{size}"] = origin.objects[f"o{size}"]
    for _ in range(3):
        for size in sizes:
            answer = ask(ours.port, f"/s/{name}{size}")
            assert answer.status == 200 and answer.body == origin.objects[f"o{size}"][0]
            caches.append(answer.cache)
        on_disk(ours)
    assert caches[:4] == ["MISS"] * 4, caches
    return caches[4:] == ["HIT"] * 2 and [len(origin.asked(f"{name}{size}")) for size in sizes] == [2, 2]


def test_what_is_fetched_again_is_asked_for_again(origin, yatagarasu):
    """Without a memory tier: the second fetch is written, whatever it is named."""
    ours = yatagarasu([servers.s3_bucket("s", origin)], cache={"cache_layers": ["disk"], "disk": {"admission": "second_request"}})
    ours.wait_for_disk()
    assert any(found_the_third_time(ours, origin, name) for name in "abc")


def test_the_other_driver_reads_the_same_disk(origin, yatagarasu):
    ours = yatagarasu([servers.s3_bucket("s", origin)])
    ours.wait_for_disk()
    read_all(ours, origin)
    for io in (OTHER[servers.driver()], servers.driver()):
        assert ours.terminate() == 0
        ours.io = io
        ours.start()
        ours.wait_for_disk()
        origin.seen.clear()
        said = read_all(ours, origin)
        assert {cache for cache, _ in said.values()} == {"HIT"} and origin.seen == [], (io, said)
        assert json.loads(ours.admin("/ready")[2])["io"]["driver"] == io


@pytest.mark.parametrize("size", [1000, 400_000], ids=["inline", "chunks"])
def test_a_replaced_version_does_not_come_back(origin, yatagarasu, size):
    origin.put("k", b"1" * size, ETag='"1"', Cache_Control="max-age=1")
    ours = yatagarasu([servers.s3_bucket("s", origin)])
    ours.wait_for_disk()
    assert ask(ours.port, "/s/k").body == b"1" * size
    time.sleep(2.1)
    origin.put("k", b"2" * size, ETag='"2"', Cache_Control="max-age=3600")
    assert ask(ours.port, "/s/k").body == b"2" * size
    on_disk(ours)
    ours.kill()
    origin.put("k", b"3" * size, ETag='"3"')
    ours.start()
    ours.wait_for_disk()
    answer = ask(ours.port, "/s/k")
    assert answer.body == b"2" * size and answer.cache == "HIT", "what was stored last is what is found"


def test_started_at_once_after_kill(origin, yatagarasu):
    """The kernel may still be closing the killed one's ring: the successor waits a moment for address and lock."""
    ours = yatagarasu([servers.s3_bucket("s", origin)])
    ours.wait_for_disk()
    for _ in range(3):
        read_all(ours, origin)
        ours.process.send_signal(signal.SIGKILL)
        ours.process.wait()
        before = len(ours.error_log())
        ours.start(wait=False)
        assert wait_until(lambda: ours.process.poll() is not None or "serving" in ours.error_log()[before:])
        assert ours.process.poll() is None, (ours.folder / "stdio.log").read_text()
        servers.wait_for_port(ours.admin_port, ours.process)
        ours.wait_for_disk()


def test_a_damaged_file_is_never_believed(origin, yatagarasu):
    """Every 64 KiB some bytes are flipped while nobody looks: all answers are still right."""
    ours = yatagarasu([servers.s3_bucket("s", origin)], cache={"disk": {"max_disk_cache_size_mb": 64}})
    ours.wait_for_disk()
    read_all(ours, origin)
    assert ours.terminate() == 0
    path = ours.folder / "cache" / "yatagarasu.cache"
    assert path.stat().st_mode & 0o777 == 0o600
    rng = random.Random(1)
    with open(path, "r+b") as file:
        for at in range(1 << 16, path.stat().st_size, 1 << 16):
            file.seek(at + rng.randrange(1 << 16) - 8)
            file.write(rng.randbytes(8))
    ours.start()
    ours.wait_for_disk()
    for _ in range(3):
        read_all(ours, origin)


def test_a_file_of_nonsense_starts_empty(origin, yatagarasu):
    ours = yatagarasu([servers.s3_bucket("s", origin)], cache={"disk": {"max_disk_cache_size_mb": 64}})
    ours.wait_for_disk()
    read_all(ours, origin)
    assert ours.terminate() == 0
    path = ours.folder / "cache" / "yatagarasu.cache"
    path.write_bytes(os.urandom(1 << 20) + path.read_bytes()[1 << 20:])
    ours.start()
    for _ in range(2):
        read_all(ours, origin)


def test_a_second_process_leaves_the_disk_alone(origin, yatagarasu):
    first = yatagarasu([servers.s3_bucket("s", origin)])
    first.wait_for_disk()
    read_all(first, origin)
    second = yatagarasu([servers.s3_bucket("s", origin)], cache={"disk": {"cache_dir": str(first.folder / "cache")}})
    read_all(second, origin)
    assert wait_until(lambda: json.loads(second.admin("/ready")[2])["degraded"] == ["disk"], 30)
    assert {cache for cache, _ in read_all(first, origin).values()} == {"HIT"}


def test_an_object_larger_than_memory_and_disk(origin, yatagarasu):
    body = random.Random(7).randbytes(100 * MIB)
    origin.put("huge", body)
    ours = yatagarasu([servers.s3_bucket("s", origin)], cache={"memory": {"max_cache_size_mb": 16}, "disk": {"max_disk_cache_size_mb": 64, "write_buffer_mb": 16}})
    ours.wait_for_disk()
    for _ in range(2):
        assert ask(ours.port, "/s/huge").body == body
    answer = ask(ours.port, "/s/huge", {"Range": "bytes=50000000-50999999"})
    assert answer.body == body[50_000_000:51_000_000]
    read_all(ours, origin)


# ---- the choice of the driver ----

IO_URING_CALLS = (425, 426, 427)
SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS = 0x7fff0000, 0x00050000, 0x80000000


def without_io_uring(action):
    """A seccomp filter, as Docker's default profile has it, for the process to come."""
    calls = b"".join(struct.pack("HBBI", 0x15, len(IO_URING_CALLS) - 1 - i, 1 if i == len(IO_URING_CALLS) - 1 else 0, call)
                     for i, call in enumerate(IO_URING_CALLS))
    program = struct.pack("HBBI", 0x20, 0, 0, 0) + calls + struct.pack("HBBI", 0x06, 0, 0, action) + struct.pack("HBBI", 0x06, 0, 0, SECCOMP_RET_ALLOW)
    buffer = ctypes.create_string_buffer(program)
    filter_ = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)

    def install():
        assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
        assert libc.prctl(22, 2, filter_, 0, 0) == 0  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER

    install.keep = buffer
    return install


def test_uring_that_cannot_be_had_is_a_clear_error(origin, tmp_path):
    ours = servers.Yatagarasu(tmp_path, [servers.s3_bucket("s", origin)])
    answer = subprocess.run([servers.binary(), "-c", str(ours.write()), "--io", "uring"], capture_output=True, text=True, timeout=60,
                            preexec_fn=without_io_uring(SECCOMP_RET_ERRNO | 1))
    assert answer.returncode == 1 and "io_uring" in answer.stderr and "seccomp" in answer.stderr.lower(), answer


def start_filtered(ours, io, action):
    ours.process = subprocess.Popen([servers.binary(), "-c", str(ours.write()), "--io", io], stdout=open(ours.folder / "stdio.log", "ab"),
                                    stderr=subprocess.STDOUT, preexec_fn=without_io_uring(action))
    servers.wait_for_port(ours.port, ours.process)
    servers.wait_for_port(ours.admin_port, ours.process)


@pytest.mark.parametrize("io,action", [("auto", SECCOMP_RET_ERRNO | 1), ("portable", SECCOMP_RET_KILL_PROCESS)], ids=["auto falls back", "portable never calls it"])
def test_without_io_uring(origin, tmp_path, io, action):
    ours = servers.Yatagarasu(tmp_path, [servers.s3_bucket("s", origin)])
    start_filtered(ours, io, action)
    try:
        ours.wait_for_disk()
        read_all(ours, origin)
        assert {cache for cache, _ in read_all(ours, origin).values()} == {"HIT"}
        ready = json.loads(ours.admin("/ready")[2])
        assert ready["io"]["driver"] == "portable" and ready["io"]["reason"]
        ours.error_log("io driver portable")
        assert any(name.startswith('yatagarasu_io_driver_info{driver="portable"') for name in ours.metrics())
    finally:
        assert ours.stop() == []
