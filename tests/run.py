"""Builds every combination, runs all tests, ends with the totals. Called by ./test.

Combinations: gcc release and clang ASan+UBSan run everything with both drivers; TSan runs what threads share; the others
build and run the unit tests.
"""
import json
import os
import pathlib
import subprocess
import sys
import time
import xml.etree.ElementTree

TOP = pathlib.Path(__file__).resolve().parent.parent
BUILD = TOP / "build"
STAGES = ["house", "unit", "fuzz", "e2e"]
FUZZ_SECONDS = int(os.environ.get("YATA_FUZZ_SECONDS", "20"))
JOBS = os.cpu_count() or 2

RELEASE = ["-Dbuildtype=release", "-Db_ndebug=false", "-Dwerror=true"]
# name: (compiler, meson options)
BUILDS = {
    "gcc-release": ("gcc", [*RELEASE, "-Dseeds=1000"]),
    "clang-asan": ("clang", ["-Dwerror=true", "-Dsanitize=address,undefined", "-Db_lundef=false"]),
    "clang-tsan": ("clang", ["-Dwerror=true", "-Dsanitize=thread", "-Db_lundef=false"]),
    "clang-release": ("clang", RELEASE),
    "gcc-no-uring": ("gcc", ["-Dwerror=true", "-Dio_uring=disabled"]),
}
FUZZ_BUILD = ("clang", ["-Dtests=false", "-Dfuzzers=true", "-Dsanitize=address,undefined,fuzzer-no-link", "-Db_lundef=false"])
E2E = ["gcc-release", "clang-asan"]
SANITIZER_ENV = {
    "ASAN_OPTIONS": "abort_on_error=1:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": f"suppressions={TOP}/tests/tsan.supp:halt_on_error=1:second_deadlock_stack=1",
}


class Totals:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.failures = []

    def add(self, name, outcome):
        if outcome == "passed":
            self.passed += 1
        elif outcome == "skipped":
            self.skipped += 1
        else:
            self.failed += 1
            self.failures.append(name)


totals = Totals()


def run(command, **kwargs):
    env = {**os.environ, **SANITIZER_ENV, **kwargs.pop("env", {})}
    return subprocess.run(command, cwd=TOP, env=env, **kwargs)


def step(name, start):
    print(f"--- {name}: {time.monotonic() - start:.0f} s", flush=True)


def build(name, compiler, options):
    start = time.monotonic()
    folder = BUILD / name
    setup = ["meson", "setup", str(folder), *options]
    if (folder / "build.ninja").exists():
        setup.append("--reconfigure")
    done = run(setup, env={"CC": compiler}, capture_output=True, text=True)
    if done.returncode == 0:
        done = run(["ninja", "-C", str(folder)], capture_output=True, text=True)
    if done.returncode != 0:
        print(done.stdout[-8000:], done.stderr[-4000:])
    totals.add(f"build {name}", "passed" if done.returncode == 0 else "failed")
    step(f"build {name}", start)
    return done.returncode == 0


def unit(name, suites=()):
    start = time.monotonic()
    folder = BUILD / name
    arguments = [a for s in suites for a in ("--suite", s)]
    run(["meson", "test", "-C", str(folder), "--no-rebuild", "--print-errorlogs", "-t", "2", *arguments])
    for line in (folder / "meson-logs/testlog.json").read_text().splitlines():
        test = json.loads(line)
        outcome = {"OK": "passed", "SKIP": "skipped", "EXPECTEDFAIL": "passed"}.get(test["result"], "failed")
        totals.add(f"{name}: {test['name']}", outcome)
    step(f"unit tests of {name}", start)


def fuzz(seconds):
    if not build("clang-fuzz", *FUZZ_BUILD):
        return
    start = time.monotonic()
    fuzzers = sorted(p for p in (BUILD / "clang-fuzz/tests/fuzz").glob("fuzz_*") if os.access(p, os.X_OK) and p.is_file())
    running = []

    def finish(entry):
        path, process, log = entry
        code = process.wait()
        totals.add(f"fuzz {path.name}", "passed" if code == 0 else "failed")
        if code != 0:
            print(log.read_text()[-4000:])

    for path in fuzzers:
        corpus = BUILD / "corpus" / path.name
        corpus.mkdir(parents=True, exist_ok=True)
        seeds = TOP / "tests/fuzz/seeds" / path.name.removeprefix("fuzz_")
        log = BUILD / f"{path.name}.log"
        command = [str(path), f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048",
                   f"-artifact_prefix={BUILD}/", str(corpus), *([str(seeds)] if seeds.is_dir() else [])]
        if len(running) >= JOBS:
            finish(running.pop(0))
        running.append((path, subprocess.Popen(command, cwd=TOP, env={**os.environ, **SANITIZER_ENV},
                                               stdout=log.open("w"), stderr=subprocess.STDOUT), log))
    for entry in running:
        finish(entry)
    step(f"{len(fuzzers)} fuzzers", start)


def e2e(name, driver, arguments=(), env=None):
    start = time.monotonic()
    report = BUILD / f"e2e-{name}-{driver}.xml"
    report.unlink(missing_ok=True)
    run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "tmp_path_retention_policy=failed",
         f"--basetemp={BUILD}/e2e-tmp", "tests/e2e", f"--junitxml={report}", *arguments],
        env={"YATAGARASU": str(BUILD / name / "src/app/yatagarasu"), "YATA_IO": driver,
             "YATA_SLOW_BUILD": "1" if "san" in name else "", **(env or {})})
    if not report.exists():
        totals.add(f"e2e {name} {driver}: no report", "failed")
        return
    for case in xml.etree.ElementTree.parse(report).iter("testcase"):
        broken = case.find("failure") is not None or case.find("error") is not None
        outcome = "failed" if broken else "skipped" if case.find("skipped") is not None else "passed"
        totals.add(f"e2e {name} {driver}: {case.get('name')}", outcome)
    step(f"end to end, {name}, {driver}", start)


def main():
    arguments = sys.argv[1:]
    long = "--long" in arguments
    stages = [a for a in arguments if a != "--long"] or STAGES
    for stage in stages:
        if stage not in STAGES:
            sys.exit(f"unknown stage {stage}: {' '.join(STAGES)}")
    BUILD.mkdir(exist_ok=True)
    wanted = {"house": ["gcc-release"], "unit": list(BUILDS), "e2e": E2E + (["clang-tsan"] if long else [])}
    names = [n for n in BUILDS if any(n in wanted.get(s, []) for s in stages)]
    built = {n for n in names if build(n, *BUILDS[n])}
    if "house" in stages and "unit" not in stages and "gcc-release" in built:
        unit("gcc-release", ["house"])
    if "unit" in stages:
        for name in names:
            if name in built:
                unit(name)
    if "fuzz" in stages:
        fuzz(FUZZ_SECONDS if not long else 30 * 60)
    if "e2e" in stages:
        for name in E2E:
            for driver in ("uring", "portable"):
                if name in built:
                    e2e(name, driver)
        if long:
            for name in ("clang-asan", "clang-tsan"):
                for driver in ("uring", "portable"):
                    if name in built:
                        e2e(name, driver, ["-k", "differential or flights"], {"YATA_DIFFERENTIAL_SECONDS": "600"})
    for failure in totals.failures:
        print(f"FAILED {failure}")
    print(f"{totals.passed} passed, {totals.failed} failed, {totals.skipped} skipped")
    sys.exit(1 if totals.failed else 0)


main()
