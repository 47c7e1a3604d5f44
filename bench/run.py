#!/usr/bin/env python3
"""Yatagarasu beside nginx, Varnish and a bare loop: `python3 bench/run.py` builds, measures and prints a report.

Hits: for each working set all servers are started and warmed (every object read once and compared byte by byte), then
rounds in alternation, each server once a round, in an order that rotates. Measured in each: CPU of the server (all its
threads, /proc), CPU of the client, requests per second. What is compared are the ratios within a round; their median
over the rounds is reported with their spread, since the machine's speed drifts from minute to minute.

Cold: one object of 1 GiB through an empty cache with both tiers on, beside nginx's proxy_cache, with fio's sequential
write to the same file system in the same run.

The server has one core, client and origin the other. It needs root or at least two cores to pin to, and about 6 GiB of
memory and 8 GiB of disk.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import peers  # noqa: E402
import report  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
PACKAGES = {"nginx": "nginx-core", "varnishd": "varnish", "varnishncsa": "varnish", "fio": "fio", "meson": "meson",
            "ninja": "ninja-build", "taskset": "util-linux"}


class Set:
    def __init__(self, name, count, object_bytes, connections, part_bytes=0):
        self.name, self.count, self.object_bytes = name, count, object_bytes
        self.connections, self.part_bytes = connections, part_bytes
        self.read_bytes = 256 * KIB if object_bytes >= MIB else 64 * KIB
        self.folder = name.replace(" ", "").lower()

    def bytes(self):
        return self.count * self.object_bytes


SETS = [
    Set("1 KiB", 10000, KIB, 32),
    Set("16 KiB", 10000, 16 * KIB, 32),
    Set("100 KiB", 10000, 100 * KIB, 32),
    Set("1 MiB", 512, MIB, 16),
    Set("10 MiB", 52, 10 * MIB, 16),
    Set("64 KiB of 1 GiB", 1, GIB, 32, part_bytes=64 * KIB),
]


def require_programs():
    missing = sorted({package for program, package in PACKAGES.items() if not shutil.which(program)})
    if missing:
        sys.exit("missing: apt-get install " + " ".join(missing))
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("the benchmark needs two cores")


def build():
    """A release build of its own, so that a developer's sanitizers don't end up in figures."""
    target = os.path.join(ROOT, "build-bench")
    quiet = {"stdout": subprocess.DEVNULL}
    if not os.path.exists(os.path.join(target, "build.ninja")):
        subprocess.run(["meson", "setup", target, ROOT, "-Dbuildtype=release", "-Dbench=true", "-Dtests=false"],
                       check=True, **quiet)
    subprocess.run(["ninja", "-C", target], check=True, **quiet)
    return target


def load(bench, server, working_set, *more):
    """Runs the client; returns what it says."""
    command = ["taskset", "-c", str(peers.LOAD_CORE), bench.client, "--port", str(server.port), "--prefix",
               f"/f/{working_set.folder}/", "--count", str(working_set.count), "--bytes",
               str(working_set.object_bytes), "--read", str(working_set.read_bytes), *map(str, more)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{server.name}, {working_set.name}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def measure(bench, server, working_set, seconds, seed):
    server.trim_logs()
    part = ["--range", working_set.part_bytes] if working_set.part_bytes else []
    before_ns = server.cpu_ns()
    result = load(bench, server, working_set, "--connections", working_set.connections, "--seconds", seconds, "--seed",
                  seed, *part)
    result["server_us"] = (server.cpu_ns() - before_ns) / 1e3 / result["requests"]
    result["both_us"] = result["server_us"] + result["client_us"]
    result["per_second"] = result["requests"] / result["seconds"]
    return result


def start_servers(bench, origin, working_set):
    memory_bytes = working_set.bytes() * 5 // 4 + 256 * MIB
    starters = {
        "floor": lambda: peers.start_floor(bench.folder, bench.floor, working_set.count, working_set.object_bytes),
        "nginx": lambda: peers.start_nginx_cache(bench.folder, origin, memory_bytes),
        "varnish": lambda: peers.start_varnish(bench.folder, origin, memory_bytes),
        "uring": lambda: peers.start_yatagarasu(bench.folder, bench.program, "uring", origin, memory_bytes),
        "portable": lambda: peers.start_yatagarasu(bench.folder, bench.program, "portable", origin, memory_bytes),
    }
    return [starters[name]() for name in bench.servers]


def make_objects(bench, working_set):
    folder = os.path.join(bench.folder, "objects", "f", working_set.folder)
    os.makedirs(folder)
    subprocess.run([bench.objects, folder, str(working_set.count), str(working_set.object_bytes)], check=True)
    return folder


def hits(bench, working_set):
    folder = make_objects(bench, working_set)
    servers = []
    rounds = {name: [] for name in bench.servers}
    origin = peers.start_origin(bench.folder, os.path.join(bench.folder, "objects"))
    try:
        servers = start_servers(bench, origin, working_set)
        for server in servers:
            load(bench, server, working_set, "--each", "--verify", "--connections", min(8, working_set.count))
            measure(bench, server, working_set, 1, 99)
        os.sync()
        asked = peers.origin_requests(origin)
        for n in range(bench.rounds):
            for i in range(len(servers)):
                server = servers[(i + n) % len(servers)]
                rounds[server.name].append(measure(bench, server, working_set, bench.seconds, n + 1))
        asked = peers.origin_requests(origin) - asked - 1
    finally:
        for server in servers + [origin]:
            server.stop()
        shutil.rmtree(folder)
    return {"name": working_set.name, "rounds": rounds, "origin_requests": asked}


# ---- cold ----


def fio_rate(bench):
    """Bytes per second of a sequential direct write."""
    name = os.path.join(bench.folder, "fio.data")
    done = subprocess.run(["fio", "--name=seq", "--rw=write", "--bs=1M", "--size=1G", "--direct=1", "--ioengine=libaio",
                           "--iodepth=8", f"--filename={name}", "--output-format=json"], capture_output=True,
                          text=True, check=True)
    os.remove(name)
    return json.loads(done.stdout[done.stdout.index("{"):])["jobs"][0]["write"]["bw_bytes"]


def cold_fetch(bench, server, working_set, n):
    before_ns = server.cpu_ns()
    result = load(bench, server, working_set, "--each", "--connections", 1, "--first", n)
    return {"seconds": result["seconds"], "cpu_s": (server.cpu_ns() - before_ns) / 1e9, "before_ns": before_ns}


def follow_writes(server, result, body_bytes):
    """Waits until what is kept is on disk, at most 10 s after the fetch."""
    end = time.monotonic() + 10
    while True:
        now = peers.metrics(server)
        share = (now["yatagarasu_disk_payload_bytes_total"] - result["payload_before"]) / body_bytes
        if share >= 0.9999 or time.monotonic() > end:
            break
        time.sleep(0.5)
    result["share"] = min(share, 1.0)
    result["drops"] = now["yatagarasu_disk_drops_total"]
    result["cpu_with_writes_s"] = (server.cpu_ns() - result["before_ns"]) / 1e9


def cold(bench):
    one = Set("1 GiB cold", 1, GIB, 1)
    folder = make_objects(bench, one)
    for n in range(1, bench.cold_rounds):
        os.link(os.path.join(folder, "000000"), os.path.join(folder, f"{n:06d}"))
    names = [name for name in ("nginx", "uring", "portable") if name in bench.servers]
    rounds, rates = {name: [] for name in names}, [fio_rate(bench)]
    origin = peers.start_origin(bench.folder, os.path.join(bench.folder, "objects"))
    try:
        for n in range(bench.cold_rounds):
            for i in range(len(names)):
                name = names[(i + n) % len(names)]
                if name == "nginx":
                    server = peers.start_nginx_cache(bench.folder, origin, 0)
                else:
                    server = peers.start_yatagarasu(bench.folder, bench.program, name, origin, disk_mb=4096)
                try:
                    os.sync()
                    time.sleep(0.5)
                    before = peers.metrics(server)["yatagarasu_disk_payload_bytes_total"] if name != "nginx" else 0
                    result = cold_fetch(bench, server, one, n)
                    result["payload_before"] = before
                    if name != "nginx":
                        follow_writes(server, result, GIB)
                    rounds[name].append(result)
                finally:
                    server.stop()
    finally:
        origin.stop()
        shutil.rmtree(folder)
    rates.append(fio_rate(bench))
    return {"rounds": rounds, "fio_bytes_per_s": rates}


def machine():
    def first(command):
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()

    with open("/proc/cpuinfo") as f:
        model = next(line.split(":")[1].strip() for line in f if line.startswith("model name"))
    return {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release(),
            "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB),
            "commit": first(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"]), "date": time.strftime("%Y-%m-%d")}


def save(bench, results, started):
    """After each part, so that a run that is stopped leaves what it has."""
    results["minutes"] = round((time.monotonic() - started) / 60, 1)
    with open(bench.json, "w") as f:
        json.dump(results, f, indent=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3 rounds of 1 s")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=2, help="of each measurement")
    parser.add_argument("--only", help="names of working sets, with commas; `cold` is one")
    parser.add_argument("--servers", default="floor,nginx,varnish,uring,portable")
    parser.add_argument("--program", help="the server to measure instead of a fresh release build")
    parser.add_argument("--dir", default="/var/tmp", help="a folder on the file system to measure")
    parser.add_argument("--doc", help="a Markdown file whose part between the two `results` marks is replaced")
    parser.add_argument("--json", default=os.path.join(ROOT, "build-bench", "results.json"), help="where all figures go")
    bench = parser.parse_args()
    require_programs()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers and folders go
    if bench.quick:
        bench.rounds, bench.seconds = 3, 1
    bench.cold_rounds = bench.rounds
    bench.servers = bench.servers.split(",")
    only = [name.strip() for name in bench.only.split(",")] if bench.only else None
    started = time.monotonic()
    bench.folder = tempfile.mkdtemp(prefix="yatagarasu-bench-", dir=bench.dir)
    try:
        target = build()
        bench.client, bench.floor, bench.objects = (
            os.path.join(target, "bench", "bench_" + name) for name in ("load", "floor", "objects"))
        bench.program = bench.program or os.path.join(target, "src", "app", "yatagarasu")
        results = {"machine": machine(), "seconds": bench.seconds, "sets": [], "cold": None}
        for working_set in SETS:
            if only is None or working_set.name in only:
                print(f"{working_set.name} ...", file=sys.stderr)
                results["sets"].append(hits(bench, working_set))
                save(bench, results, started)
        if only is None or "cold" in only:
            print("cold ...", file=sys.stderr)
            results["cold"] = cold(bench)
            save(bench, results, started)
    finally:
        shutil.rmtree(bench.folder, ignore_errors=True)
    print(report.markdown(results))
    if bench.doc:
        report.replace_in(bench.doc, results)


if __name__ == "__main__":
    main()
