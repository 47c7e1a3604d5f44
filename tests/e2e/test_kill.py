"""SIGKILL under load, again and again, with another driver and another number of workers each time. Every byte of every answer is checked
against the origin's of that version; no version is answered after the next one has been out for longer than it may be cached; and each new
process finds something on the disk. YATA_KILL_ROUNDS: 6; 200 in ./test --long."""
import contextlib
import os
import random
import threading
import time

import pytest

import servers
from scripted import Scripted
from wire import Wire, ask

ROUNDS = int(os.environ.get("YATA_KILL_ROUNDS", "6"))
THREADS = 4
SIZES = [0, 1, 3000, 16 << 10, (16 << 10) + 1, 100_000, 256 << 10, 700_001, 1_500_000]
KEYS = [f"o{i}" for i in range(90)]
MAX_AGE = {key: 1 if i % 3 == 0 else 3600 for i, key in enumerate(KEYS)}  # what changes is not cached for long
SLACK = 2.5  # dates are whole seconds


class Truth:
    """What the origin has, had, and since when."""

    def __init__(self, origin):
        self.origin, self.lock = origin, threading.Lock()
        self.versions = {key: [] for key in KEYS}  # [(body, since)]
        self.pending = {key: {} for key in KEYS}  # requests under way, since when
        for key in KEYS:
            self.next(key)

    def next(self, key):
        with self.lock:
            number = len(self.versions[key])
            body = random.Random(f"{key} {number}").randbytes(SIZES[(KEYS.index(key) + number) % len(SIZES)])
            self.versions[key].append((body, time.time()))
            self.origin.put(key, body, ETag=f'"{key}-{number}"', Cache_Control=f"max-age={MAX_AGE[key]}", x_amz_meta_version=str(number))

    @contextlib.contextmanager
    def asking(self, key):
        """Since when: the fetch of an older request may be joined."""
        mine = object()
        with self.lock:
            self.pending[key][mine] = time.time()
            since = min(self.pending[key].values())
        try:
            yield since
        finally:
            with self.lock:
                del self.pending[key][mine]

    def check(self, key, answer, asked, first=0, last=None):
        number = int(answer.get("x-amz-meta-version"))
        with self.lock:
            versions = list(self.versions[key])
        expected = versions[number][0]
        expected = expected if answer.status == 200 else expected[first:last + 1]
        assert answer.body == expected, (key, number, answer.status, len(answer.body), len(expected))
        if number + 1 < len(versions):
            late = asked - versions[number + 1][1]
            assert late < MAX_AGE[key] + SLACK, f"{key}: version {number}, {late:.1f} s after the next one came"


class Load:
    """Clients that read what they like until the server is gone."""

    def __init__(self, port, truth, seed):
        self.port, self.truth, self.problems, self.answers = port, truth, [], 0
        self.killed = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(f"{seed} {i}",)) for i in range(THREADS)]
        for thread in self.threads:
            thread.start()

    def one(self, wire, rng):
        key = rng.choice(KEYS)
        if MAX_AGE[key] == 1 and rng.random() < 0.1:
            self.truth.next(key)
        first, last = rng.randrange(1 << 20), 1 << 20
        part = {"Range": f"bytes={first}-{last}"} if rng.random() < 0.3 else {}
        with self.truth.asking(key) as asked:
            answer = wire.request(f"/s/{key}", part).response()
        if answer.cut:
            raise OSError(f"{key}: {answer}")
        if answer.status in (200, 206):
            self.truth.check(key, answer, asked, first, last)
            self.answers += 1
        else:
            assert answer.status == 416, answer

    def run(self, seed):
        rng = random.Random(seed)
        try:
            while True:
                with Wire(self.port) as wire:
                    for _ in range(20):
                        self.one(wire, rng)
        except (OSError, EOFError) as error:
            if not self.killed.wait(20):
                self.problems.append(error)
        except Exception as error:  # noqa: BLE001 it is the test's to tell
            self.problems.append(error)

    def join(self):
        self.killed.set()
        for thread in self.threads:
            thread.join(60)
        return self.problems


@pytest.fixture
def truth():
    with Scripted() as origin:
        yield Truth(origin)


def read_all(ours, truth):
    """How many came from the disk."""
    found = 0
    for key in KEYS:
        asked = time.time()
        answer = ask(ours.port, f"/s/{key}")
        if answer.cut:  # a chunk was lost with the process, and the origin has a newer version by now
            assert int(answer.get("x-amz-meta-version")) + 1 < len(truth.versions[key]), answer
            time.sleep(SLACK)
            asked = time.time()
            answer = ask(ours.port, f"/s/{key}")
        assert answer.status == 200, answer
        truth.check(key, answer, asked)
        found += answer.cache == "HIT" and answer.get("Cache-Status").endswith("detail=disk")
    return found


def test_killed_under_load(truth, yatagarasu):
    rng = random.Random(4)
    ours = yatagarasu([servers.s3_bucket("s", truth.origin)],
                      cache={"memory": {"max_cache_size_mb": 16}, "disk": {"max_disk_cache_size_mb": 64, "write_buffer_mb": 8}})
    ours.wait_for_disk()
    read_all(ours, truth)
    answers = found = 0
    for number in range(ROUNDS):
        load = Load(ours.port, truth, number)
        time.sleep(0.3 + rng.random())
        ours.kill()
        assert load.join() == [], f"round {number}"
        answers += load.answers
        ours.io = "portable" if ours.io == "uring" else "uring"
        ours.config["server"]["threads"] = 1 + number % 3
        ours.start()
        ours.wait_for_disk()
        here = read_all(ours, truth)
        assert here > 0, f"round {number}: nothing was found on the disk"
        found += here
    print(f"{ROUNDS} kills, {answers} answers under load, {found} of {ROUNDS * len(KEYS)} objects found on the disk after them")
