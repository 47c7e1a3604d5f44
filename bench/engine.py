#!/usr/bin/env python3
"""The disk cache engine beside fio: `python3 bench/engine.py` builds, measures and prints a report.

Both I/O drivers, fio and a bare thread pool take turns within each round, in an order that rotates; figures are medians
over the rounds, ratios are made within a round. All of it is on one file system with O_DIRECT, and fio reads the
engine's own device file with the block size that the engine's reads have, so the working set is the same one and the
memory tier can't help. Each part can be run alone (`--only reads,put`); what other parts measured before is kept in
--json, and the report is made of all of it. `--only published` measures what the expectations that this project began with
are about, and prints them beside.

It needs fio, two cores, 16 GiB of disk, 1 GiB of memory and a machine that does nothing else; about 15 minutes.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import engine_report  # noqa: E402
from run import build, machine  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TRACES = os.path.join(os.environ.get("YATA_VECTORS", os.path.join(ROOT, "..", "shared", "vectors")), "traces")
DRIVERS = ["uring", "portable"]
DEPTHS = [1, 16, 64, 256]
KIB, MIB = 1 << 10, 1 << 20


class Bench:
    def __init__(self, options, folder):
        self.rounds, self.seconds, self.folder = options.rounds, options.seconds, folder
        self.program = os.path.join(build(), "bench", "yata", "yata-bench")
        self.small = options.small

    def path(self, name):
        return os.path.join(self.folder, name)

    def yata(self, command, *more, pinned=False, stdin=None):
        """One run of yata-bench: its results, a list where it prints several."""
        words = (["taskset", "-c", "0"] if pinned else []) + [self.program, command, "--json", *map(str, more)]
        done = subprocess.run(words, stdin=stdin, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(words)}: {done.stderr.strip()}")
        results = [json.loads(line) for line in done.stdout.splitlines()]
        return results[0] if len(results) == 1 else results

    def fio(self, file, *more, jobs=1, pinned=False, side="read"):
        words = (["taskset", "-c", "0"] if pinned else []) + [
            "fio", "--name=x", f"--filename={file}", "--direct=1", "--thread", f"--numjobs={jobs}", "--group_reporting",
            "--norandommap", "--randrepeat=0", "--lat_percentiles=1", "--clat_percentiles=0",
            "--percentile_list=50:99:99.9", "--output-format=json", *map(str, more)]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(words)}: {done.stderr.strip()}")
        job = json.loads(done.stdout[done.stdout.index("{"):])["jobs"][0]
        part = job[side]
        # usr_cpu and sys_cpu are shares of the jobs' summed run time
        cpu_us = (job["usr_cpu"] + job["sys_cpu"]) / 100 * part["runtime"] * 1e3 * jobs / max(part["total_ios"], 1)
        percentiles = list(part["lat_ns"]["percentile"].values())
        return {"ops_s": part["iops"], "mib_s": part["bw_bytes"] / MIB, "cpu_us": cpu_us,
                "p50_us": percentiles[0] / 1e3, "p99_us": percentiles[1] / 1e3, "p999_us": percentiles[2] / 1e3}

    def timed(self):
        return ["--time_based", f"--runtime={round(1000 * self.seconds)}ms", "--ramp_time=300ms"]

    def fio_reads(self, engine, file, block, depth, pinned=False):
        how = [f"--iodepth={depth}"] if engine == "io_uring" else []
        return self.fio(file, "--readonly", "--rw=randread", f"--bs={block}", "--blockalign=4096", f"--ioengine={engine}", *how,
                        *self.timed(), jobs=1 if engine == "io_uring" else depth, pinned=pinned)

    def alternate(self, contestants):
        """contestants: name -> function; each once a round, in an order that rotates."""
        names, rounds = list(contestants), {name: [] for name in contestants}
        for n in range(self.rounds):
            for i in range(len(names)):
                name = names[(i + n) % len(names)]
                rounds[name].append(contestants[name]())
        return rounds


# ---- parts; each returns what is kept under its name ----


def filled(bench, name, item_bytes):
    """A device full of items of that size, kept for later parts; the options that name it."""
    size_mib = 256 if bench.small else 3072
    count = size_mib * MIB * 8 // 10 // (item_bytes + 160)
    options = ["--file", bench.path(name), "--size", size_mib, "--bytes", item_bytes, "--items", count]
    if not os.path.exists(bench.path(name)):
        bench.yata("fill", *options)
    return options


def reads_at(bench, depth, pinned=False):
    options = filled(bench, "items.data", 4096) + ["--seconds", bench.seconds, "--depth", depth]
    file, block = bench.path("items.data"), 8 * KIB
    contestants = {driver: lambda driver=driver: bench.yata("get", "--io", driver, *options, pinned=pinned)
                   for driver in DRIVERS}
    contestants["fio io_uring"] = lambda: bench.fio_reads("io_uring", file, block, depth, pinned)
    contestants["fio psync"] = lambda: bench.fio_reads("psync", file, block, depth, pinned)
    contestants["bare pool"] = lambda: bench.yata("pool", "--file", file, "--bytes", block, "--depth", depth, "--seconds",
                                                  bench.seconds, pinned=pinned)
    return bench.alternate(contestants)


def part_reads(bench):
    return {str(depth): reads_at(bench, depth) for depth in DEPTHS}


def part_pinned(bench):
    return reads_at(bench, 64, pinned=True)


def part_objects(bench, depth=8):
    chunk = 256 * KIB
    options = filled(bench, "chunks.data", chunk) + ["--seconds", bench.seconds, "--depth", depth]
    file, block = bench.path("chunks.data"), chunk + 4 * KIB
    contestants = {driver: lambda driver=driver: bench.yata("object", "--io", driver, *options) for driver in DRIVERS}
    contestants["fio io_uring"] = lambda: bench.fio_reads("io_uring", file, block, depth)
    contestants["fio psync"] = lambda: bench.fio_reads("psync", file, block, depth)
    return bench.alternate(contestants)


def part_put(bench):
    size_mib, result = 256 if bench.small else 1024, {}
    for item_bytes, op_bytes in ((4 * KIB, 256 * KIB), (MIB, MIB)):
        options = ["--file", bench.path("put.data"), "--size", size_mib, "--total", 3 * size_mib, "--bytes", item_bytes]
        contestants = {driver: lambda driver=driver: bench.yata("put", "--io", driver, *options) for driver in DRIVERS}
        contestants["fio io_uring"] = lambda: bench.fio(
            bench.path("put.data"), "--rw=write", f"--bs={op_bytes}", "--ioengine=io_uring", "--iodepth=8", "--overwrite=1",
            f"--size={size_mib}m", f"--io_size={3 * size_mib}m", side="write")
        result[str(item_bytes)] = bench.alternate(contestants)
    os.remove(bench.path("put.data"))
    return result


def part_durable(bench):
    options = ["--file", bench.path("durable.data"), "--size", 256, "--seconds", bench.seconds]
    contestants = {driver: lambda driver=driver: bench.yata("durable", "--io", driver, *options) for driver in DRIVERS}
    for engine in ("io_uring", "psync"):
        contestants["fio " + engine] = lambda engine=engine: fio_durable(bench, engine)
    result = bench.alternate(contestants)
    os.remove(bench.path("durable.data"))
    return result


def fio_durable(bench, engine):
    """fio counts its writes; the time of one is the run's over their number, its syncs included."""
    run = bench.fio(bench.path("durable.data"), "--rw=write", "--bs=8k", f"--ioengine={engine}", "--fdatasync=1",
                    "--overwrite=1", "--size=200m", *bench.timed(), side="write")
    for name in ("p50_us", "p99_us", "p999_us"):
        del run[name]  # of the writes alone
    return run


def part_mix(bench):
    options = ["--file", bench.path("mix.data"), "--size", 256 if bench.small else 512, "--depth", 16, "--seconds", bench.seconds]
    rounds = bench.alternate({driver: lambda driver=driver: bench.yata("mix", "--io", driver, *options) for driver in DRIVERS})
    os.remove(bench.path("mix.data"))
    return {f"{name}, {what}": [run[i] for run in runs] for name, runs in rounds.items()
            for i, what in enumerate(("gets alone", "with puts and eviction"))}


def part_memory(bench):
    return bench.alternate({f"{n} thread{'s' if n > 1 else ''}": lambda n=n: bench.yata("memory", "--threads", n, "--seconds", 1)
                            for n in (1, 2)})


def part_many(bench):
    count = 200000 if bench.small else 10000000
    size_mib = int(count * 660 / MIB) + 600
    options = ["--file", bench.path("many.data"), "--size", size_mib, "--bytes", 512, "--items", count]
    result = {"fill": bench.yata("fill", "--plain", *options), "index": bench.yata("index", *options)}
    contestants = {}
    for driver in DRIVERS:
        contestants[f"{driver}, after a clean stop"] = lambda driver=driver: bench.yata("open", "--io", driver, *options)
        contestants[f"{driver}, after a kill"] = lambda driver=driver: bench.yata("open", "--kill", "--io", driver, *options)
    result["open"] = bench.alternate(contestants)
    os.remove(bench.path("many.data"))
    return result


def trace_runs(bench, command):
    if not os.path.isdir(TRACES):
        print(f"no traces in {TRACES}: their part is left out", file=sys.stderr)
        return None
    result = {"cloudphysics": [], "adaptsize": []}
    for name, shares in (("cloudphysics.txt.xz", [None]), ("adaptsize.trace.xz", [0.1, 0.2, 0.5])):
        text = subprocess.run(["xz", "-dc", os.path.join(TRACES, name)], stdout=subprocess.PIPE, check=True).stdout
        plain = bench.path("trace.txt")
        with open(plain, "wb") as f:
            f.write(text)
        for share in shares:
            if command == "disktrace" and share == 0.1:
                continue  # less than 32 segments of 1 MiB
            runs = bench.yata(command, "--trace", plain, *(["--share", share] if share else []))
            result[name.split(".")[0]] += runs if isinstance(runs, list) else [runs]
    return result


def part_trace(bench):
    return trace_runs(bench, "trace")


def part_disktrace(bench):
    return trace_runs(bench, "disktrace")


def part_published(bench):
    """Latency times rate of the published figures is the number in flight: 4, 1 and 1."""
    result = {"4 KiB read": reads_at(bench, 4), "write + fsync": part_durable(bench)}
    result["10 MiB read"] = part_objects(bench, 8)
    return result


PARTS = {"reads": part_reads, "pinned": part_pinned, "objects": part_objects, "put": part_put, "durable": part_durable,
         "mix": part_mix, "memory": part_memory, "many": part_many, "trace": part_trace, "disktrace": part_disktrace,
         "published": part_published}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each measurement")
    parser.add_argument("--only", help="parts, with commas: " + ", ".join(PARTS))
    parser.add_argument("--small", action="store_true", help="small devices and few items: to see that it works")
    parser.add_argument("--dir", default="/var/tmp", help="a folder on the file system to measure")
    parser.add_argument("--keep", action="store_true", help="filled devices stay in the folder, for the next part")
    parser.add_argument("--json", default=os.path.join(ROOT, "build-bench", "engine.json"), help="where all figures are kept")
    parser.add_argument("--doc", help="a Markdown file whose part between the two `engine results` marks is replaced")
    options = parser.parse_args()
    if not shutil.which("fio"):
        sys.exit("missing: apt-get install fio")
    only = options.only.split(",") if options.only else list(PARTS)
    if set(only) - set(PARTS):
        sys.exit(f"no such part: {', '.join(set(only) - set(PARTS))}")
    folder = os.path.join(options.dir, "yata-engine") if options.keep else tempfile.mkdtemp(prefix="yata-engine-", dir=options.dir)
    os.makedirs(folder, exist_ok=True)
    results = {"parts": {}}
    if options.only and os.path.exists(options.json):
        with open(options.json) as f:
            results = json.load(f)
    try:
        bench = Bench(options, folder)
        for name in only:
            started = time.monotonic()
            part = PARTS[name](bench)
            results["parts"][name] = part
            results["machine"] = machine()
            print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr)
            with open(options.json, "w") as f:
                json.dump(results, f, indent=1)
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    print(engine_report.markdown(results))
    if options.doc:
        engine_report.replace_in(options.doc, results)


if __name__ == "__main__":
    main()
