"""Random requests at Yatagarasu while objects are replaced and the process is restarted: every answer must be what some version
that the origin had says. Memory and disk are small, so that eviction runs all the time; the seed also chooses threads, chunk sizes
(another after a restart) and admission.

YATA_DIFFERENTIAL_SECONDS (60), YATA_DIFFERENTIAL_SEED and YATA_DIFFERENTIAL_RESTARTS ("term kill") set a run. Origins: a directory, with objects that stay, objects
replaced by rename (ttl 0 and 1 s) and deleted ones; versitygw with objects that stay; moto with replaced ones, their ttl from
Cache-Control; the faulty origin.
"""
import asyncio
import hashlib
import os
import random
import secrets
import time

import pytest

import differential
import servers
import truth
from faulty_origin import pattern

KIB, MIB = 1024, 1024 * 1024
SMALL = [0, 1, 100, 10 * KIB, 16 * KIB - 1, 16 * KIB, 16 * KIB + 1, 256 * KIB - 1, 256 * KIB, 256 * KIB + 1, 512 * KIB - 1,
         512 * KIB + 1, MIB + 7]


class Directory:
    """A folder as origin. Objects are replaced by rename; the modification time is a count, so that every tag is unique."""

    def __init__(self, folder):
        self.folder, self.spare, self.count = folder / "objects", folder / "spare", 0
        self.folder.mkdir(parents=True)
        self.spare.mkdir()

    def replace(self, target, key, size):
        self.count += 1
        version = target.begin(size, f"{target.path}/{self.count}")
        path = self.folder / key
        if size is None:
            path.unlink(missing_ok=True)
        else:
            spare = self.spare / "next"
            spare.write_bytes(version.data)
            modified_ns = (1_600_000_000 + self.count) * 10**9
            os.utime(spare, ns=(modified_ns, modified_ns))
            status = spare.stat()
            version.etag = f'"{status.st_ino:x}-{size:x}-{modified_ns:x}"'
            version.last_modified = modified_ns // 10**9
            version.fields = {"content-type": "application/octet-stream"}
            path.parent.mkdir(parents=True, exist_ok=True)
            spare.rename(path)
        target.replace(version)


class S3:
    def __init__(self, server, bucket):
        self.client, self.bucket, self.count = server.client(), bucket, 0
        self.client.create_bucket(Bucket=bucket)

    def replace(self, target, key, size, **more):
        self.count += 1
        version = target.begin(size, f"{target.path}/{self.count}")
        version.etag = f'"{hashlib.md5(version.data).hexdigest()}"'
        version.fields = {"x-amz-meta-count": str(self.count), "content-type": "text/x-test"}
        if "CacheControl" in more:
            version.fields["cache-control"] = more["CacheControl"]
        self.client.put_object(Bucket=self.bucket, Key=key, Body=version.data, ContentType="text/x-test",
                               Metadata={"count": str(self.count)}, **more)
        head = self.client.head_object(Bucket=self.bucket, Key=key)
        assert head["ETag"] == version.etag
        version.last_modified = int(head["LastModified"].timestamp())
        target.replace(version)


def still_objects(directory):
    """Objects that stay; together more than the disk tier holds."""
    sizes = SMALL + [3 * MIB, 24 * MIB, 80 * MIB] + [2 * MIB + i for i in range(24)]
    targets = []
    for i, size in enumerate(sizes):
        key = f"still {i}/ü+{size}.bin"
        target = truth.Object("/still/" + differential.quoted(key), ttl=3600)
        directory.replace(target, key, size)
        targets.append(target)
    return targets


class Volatile:
    """Objects that are replaced. Each entry: what it is, and how a new version is made."""

    def __init__(self):
        self.entries = []

    def add(self, target, make):
        self.entries.append((target, make))
        make(random.Random(target.path))

    async def replace(self, rng):
        target, make = rng.choice(self.entries)
        await asyncio.to_thread(make, rng)


def replaced_files(volatile, directory, bucket, ttl):
    for i, size in enumerate([100, 10 * KIB, 16 * KIB, 16 * KIB + 1, 256 * KIB, 700 * KIB, 2 * MIB]):
        key = f"{bucket}-{i}"
        target = truth.Object(f"/{bucket}/{key}", ttl=ttl)

        def make(rng, target=target, key=key, size=size, i=i):
            gone = i == 1 and target.versions and target.current.size is not None and rng.random() < 0.3
            other = rng.choice([size, size, size + 1, size // 2, size + 300 * KIB])
            directory.replace(target, key, None if gone else other)

        volatile.add(target, make)


def replaced_s3(volatile, s3):
    for i, (size, control, ttl) in enumerate([(100, "max-age=1", 1), (300 * KIB, "max-age=1", 1), (20 * KIB, "no-cache", 0),
                                              (5 * KIB, "no-store", 0), (600 * KIB, "private", 0), (64 * KIB, "s-maxage=2, max-age=0", 2)]):
        key = f"changing {i}"
        target = truth.Object("/moto/" + differential.quoted(key), ttl=ttl, dates_exact=False)

        def make(rng, target=target, key=key, size=size, control=control):
            s3.replace(target, key, rng.choice([size, size, size + 1000]), CacheControl=control)

        volatile.add(target, make)


def seldom_asked(volatile, directory):
    """Objects that are replaced though their time to live is long: the new version is seen only by who forces us to ask for it."""
    for i, size in enumerate([1000, 300 * KIB, 900 * KIB]):
        key = f"lazy-{i}"
        target = truth.Object(f"/lazy/{key}", ttl=3600)

        def make(rng, target=target, key=key, size=size):
            directory.replace(target, key, size)

        volatile.add(target, make)


def constant_s3(s3):
    targets = []
    for i, size in enumerate([0, 1, 16 * KIB + 1, 256 * KIB + 1, 5 * MIB]):
        target = truth.Object(f"/gateway/stays-{i}", ttl=3600, dates_exact=False)
        s3.replace(target, f"stays-{i}", size)
        targets.append(target)
    return targets


def rough_objects():
    """Of the faulty origin, every answer of which breaks, is late, or ignores the range: resumed and sorted out, so never seen."""
    targets = []
    for size, fault in [(3_000_000, "reset-body,at=1400000"), (5_000_000, "truncate,at=1500000"), (700_000, "ignore-range"), (300_000, "slow-head,ms=30"),
                        (600_000, "slow-body,at=100000,ms=50"), (900_000, "early-hints")]:
        key = f"{fault},size={size},n=0"
        target = truth.Object("/rough/" + differential.quoted(key), ttl=3600)
        version = target.begin(size, key)
        version.data, version.etag, version.last_modified = pattern(0, size, 1), '"v1"', 784111777
        target.replace(version)
        targets.append(target)
    return targets


def bucket(name, where, ttl):
    made = servers.file_bucket(name, where.folder) if isinstance(where, Directory) else servers.s3_bucket(name, where)
    # What is missing is asked about each time: the model knows no memory of that.
    return {**made, "cache": {"ttl_seconds": ttl, "status_ttl": [{"status": 404, "ttl_seconds": 0}]}}


@pytest.fixture
def gateway(request):
    try:
        return request.getfixturevalue("versitygw")
    except pytest.skip.Exception:
        return None


def test_differential(tmp_path, yatagarasu, moto, gateway, faulty):
    seconds = float(os.environ.get("YATA_DIFFERENTIAL_SECONDS", "60"))
    seed = os.environ.get("YATA_DIFFERENTIAL_SEED") or secrets.token_hex(4)
    print(f"YATA_DIFFERENTIAL_SEED={seed}")
    still, live, brief, lazy = (Directory(tmp_path / name) for name in ("still", "live", "brief", "lazy"))
    volatiles = [Volatile(), Volatile(), Volatile()]
    targets = still_objects(still) + rough_objects()
    replaced_files(volatiles[0], live, "live", 0)
    replaced_files(volatiles[1], brief, "brief", 1)
    replaced_s3(volatiles[2], S3(moto, "moto"))
    seldom_asked(volatiles[1], lazy)
    buckets = [bucket("rough", faulty, 3600), bucket("still", still, 3600), bucket("lazy", lazy, 3600), bucket("live", live, 0), bucket("brief", brief, 1), bucket("moto", moto, 3600)]
    if gateway:
        targets += constant_s3(S3(gateway, "gateway"))
        buckets.append(bucket("gateway", gateway, 3600))
    choose = random.Random(seed)
    ours = yatagarasu(buckets, server={"threads": choose.choice([1, 2, 2, 3])}, cache={
        "chunk_size_kb": choose.choice([64, 256, 256, 1024]), "memory": {"max_cache_size_mb": choose.choice([16, 16, 40])},
        "disk": {"max_disk_cache_size_mb": 64, "write_buffer_mb": 8, "admission": choose.choice(["always", "always", "second_request"])}})
    print({"threads": ours.config["server"]["threads"], **ours.config["cache"]})
    targets += [target for volatile in volatiles for target, _ in volatile.entries]
    random.Random(seed).shuffle(targets)

    async def restart(kind):
        await asyncio.to_thread(ours.kill if kind == "kill" else ours.terminate)
        ours.config["cache"]["chunk_size_kb"] = choose.choice([64, 256, 256, 1024])
        await asyncio.to_thread(ours.start)

    run = differential.Run(ours.port, targets, seed, replacers=[v.replace for v in volatiles],
                           restart=restart,
                           restarts=os.environ.get("YATA_DIFFERENTIAL_RESTARTS", "term kill").split(),
                           restart_every=max(5, seconds / 8))
    began = time.monotonic()
    wrong = None
    try:
        asyncio.run(run.run(seconds))
    except differential.Wrong as error:
        wrong = str(error)
    finally:
        print(f"{time.monotonic() - began:.0f} s:", ", ".join(f"{k} {v}" for k, v in sorted(run.counts.items())))
    if wrong:
        pytest.fail(wrong, pytrace=False)
    changing = run.counts["refused while changing"]
    assert run.counts["right"] > 20 * changing, f"{changing} refused while changing"
    assert run.counts["right"] > 100
