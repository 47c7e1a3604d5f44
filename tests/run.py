"""Builds every combination, runs all tests, ends with the totals. Called by ./test.

Combinations: gcc release and clang ASan+UBSan run everything with both drivers; TSan runs what threads share; the others
build and run the unit tests.
"""
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import time
import xml.etree.ElementTree

TOP = pathlib.Path(__file__).resolve().parent.parent
BUILD = TOP / "build"
STAGES = ["house", "unit", "fuzz", "e2e"]  # and "long", with --long or by name
FUZZ_SECONDS = int(os.environ.get("YATA_FUZZ_SECONDS", "20"))
LONG_FUZZ_SECONDS = 300
LONG_CHURN_SECONDS = 30 * 60
LONG_CRASHES = 100_000
LONG_KILLS = 200
FAILURE_LINES = 15  # of what a failed test printed, said again at the end
JOBS = os.cpu_count() or 2

RELEASE = ["-Dbuildtype=release", "-Db_ndebug=false", "-Dwerror=true"]
# name: (compiler, meson options)
BUILDS = {
    "gcc-release": ("gcc", [*RELEASE, "-Dseeds=1000", "-Dchurn_seconds=20"]),
    "clang-asan": ("clang", ["-Dwerror=true", "-Dsanitize=address,undefined", "-Db_lundef=false"]),
    "clang-tsan": ("clang", ["-Dwerror=true", "-Dsanitize=thread", "-Db_lundef=false"]),
    "clang-release": ("clang", RELEASE),
    "gcc-no-uring": ("gcc", ["-Dwerror=true", "-Dio_uring=disabled"]),
}
# Built with liburing and run where a seccomp filter forbids it: what sees the driver.
FORBIDDEN_BUILD, FORBIDDEN_SUITES = "clang-release", ["io", "cache", "yata"]
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

    def add(self, name, outcome, printed=""):
        if outcome == "passed":
            self.passed += 1
        elif outcome == "skipped":
            self.skipped += 1
        else:
            self.failed += 1
            self.failures.append((name, printed))


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


def unit(name, suites=(), wrapper=None):
    start = time.monotonic()
    folder = BUILD / name
    arguments = [a for s in suites for a in ("--suite", s)]
    log = folder / "meson-logs/testlog.json"
    if wrapper:
        arguments += ["--wrapper", str(folder / wrapper)]
        log = log.with_stem(f"testlog-{pathlib.Path(wrapper).name}")
    log.unlink(missing_ok=True)
    run(["meson", "test", "-C", str(folder), "--no-rebuild", "--print-errorlogs", "-t", "2", *arguments])
    title = f"{name} {pathlib.Path(wrapper).name}" if wrapper else name
    for line in log.read_text().splitlines():
        test = json.loads(line)
        outcome = {"OK": "passed", "SKIP": "skipped", "EXPECTEDFAIL": "passed"}.get(test["result"], "failed")
        totals.add(f"{title}: {test['name']}", outcome,
                   f"{test.get('stdout', '')}{test.get('stderr', '')}exit code {test['returncode']}, {test['duration']:.1f} s")
    step(f"unit tests of {title}", start)


class Job:
    """A command with a log of its own. finish(code) adds to the totals; without one the exit code decides."""

    def __init__(self, name, command, env=None, finish=None):
        self.name, self.command, self.env = name, [str(word) for word in command], env or {}
        self.finish = finish or (lambda code: totals.add(name, "passed" if code == 0 else "failed", self.log.read_text(errors="replace")))
        self.log = BUILD / (name.replace(" ", "-") + ".log")

    def run(self):
        with self.log.open("w") as log:
            return run(self.command, env=self.env, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL).returncode

    def report(self, code):
        self.finish(code)
        lines = self.log.read_text(errors="replace").splitlines()
        print(f"{self.name}: exit code {code}: {lines[-1] if lines else ''}", flush=True)
        if code != 0:
            print("\n".join(lines)[-8000:], flush=True)


def together(jobs):
    """As many at a time as there are cores."""
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        for job, code in zip(jobs, pool.map(Job.run, jobs)):
            job.report(code)


def fuzz(seconds):
    if not build("clang-fuzz", *FUZZ_BUILD):
        return
    start = time.monotonic()
    jobs = []
    for path in sorted(p for p in (BUILD / "clang-fuzz/tests/fuzz").glob("fuzz_*") if os.access(p, os.X_OK) and p.is_file()):
        corpus = BUILD / "corpus" / path.name
        corpus.mkdir(parents=True, exist_ok=True)
        seeds = TOP / "tests/fuzz/seeds" / path.name.removeprefix("fuzz_")
        jobs.append(Job(f"fuzz {path.name}", [path, f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048",
                                              f"-artifact_prefix={BUILD}/", corpus, *([seeds] if seeds.is_dir() else [])]))
    together(jobs)
    step(f"{len(jobs)} fuzzers", start)


def e2e(name, driver, label="", arguments=(), env=None):
    """The job of running the end-to-end tests on a build."""
    title = f"e2e {name} {driver}{label}"
    report = BUILD / (title.replace(" ", "-") + ".xml")
    report.unlink(missing_ok=True)

    def finish(_code):
        if not report.exists():
            totals.add(f"{title}: no report", "failed")
            return
        for case in xml.etree.ElementTree.parse(report).iter("testcase"):
            broken = [b for b in (case.find("failure"), case.find("error")) if b is not None]
            outcome = "failed" if broken else "skipped" if case.find("skipped") is not None else "passed"
            totals.add(f"{title}: {case.get('name')}", outcome, "".join(b.text or "" for b in broken))

    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "tmp_path_retention_policy=failed",
               f"--basetemp={BUILD}/tmp-{title.replace(' ', '-')}", "tests/e2e", f"--junitxml={report}", *arguments]
    return Job(title, command, {"YATAGARASU": str(BUILD / name / "src/app/yatagarasu"), "YATA_IO": driver,
                                "YATA_SLOW_BUILD": "1" if "san" in name else "", **(env or {})}, finish)


def crashes():
    """The crash simulator on many more seeds than the unit tests have, and more deaths of a real process."""
    tests = BUILD / "gcc-release/tests/cache"
    share = LONG_CRASHES // JOBS
    return [Job(f"crashes {i + 1}", [tests / "test_crash_sim", 1_000_000 + i * share, share]) for i in range(JOBS)] + [
        Job("flipped bits", [tests / "test_media"]),
        Job("kills", [tests / "test_kill", LONG_KILLS]),
        e2e("gcc-release", "uring", "-kills", ["-k", "killed_under_load"], {"YATA_KILL_ROUNDS": str(LONG_KILLS)})]


def long_jobs():
    """What takes longer than CI may: --long."""
    differential = ("-long", ["-k", "differential"], {"YATA_DIFFERENTIAL_SECONDS": "600"})
    churn = [Job(f"churn {driver}", [BUILD / "gcc-release/tests/cache/test_churn", LONG_CHURN_SECONDS], {"YATA_IO": driver})
             for driver in ("uring", "portable")]
    names = [e2e("gcc-release", driver, "-names", ["-k", "looked_up_again"], {"YATA_LONG": "1"}) for driver in ("uring", "portable")]
    return crashes() + churn + names + [e2e(name, driver, *differential) for name in ("clang-asan", "clang-tsan") for driver in ("uring", "portable")]


def main():
    arguments = sys.argv[1:]
    long = "--long" in arguments
    stages = [a for a in arguments if a != "--long"] or STAGES
    for stage in stages:
        if stage not in [*STAGES, "long"]:
            sys.exit(f"unknown stage {stage}: {' '.join(STAGES)}")
    if long and "long" not in stages:
        stages = [*stages, "long"]
    BUILD.mkdir(exist_ok=True)
    wanted = {"house": ["gcc-release"], "unit": list(BUILDS), "e2e": E2E, "long": ["gcc-release", "clang-asan", "clang-tsan"]}
    names = [n for n in BUILDS if any(n in wanted.get(s, []) for s in stages)]
    built = {n for n in names if build(n, *BUILDS[n])}
    if "house" in stages and "unit" not in stages and "gcc-release" in built:
        unit("gcc-release", ["house"])
    if "unit" in stages:
        for name in names:
            if name in built:
                unit(name)
        if FORBIDDEN_BUILD in built:
            unit(FORBIDDEN_BUILD, FORBIDDEN_SUITES, "tests/io/without_uring")
    if "fuzz" in stages:
        fuzz(LONG_FUZZ_SECONDS if long else FUZZ_SECONDS)
    if "e2e" in stages:
        for name in E2E:
            if name in built:
                start = time.monotonic()
                together([e2e(name, driver) for driver in ("uring", "portable")])
                step(f"end to end, {name}, both drivers", start)
    if "long" in stages:
        start = time.monotonic()
        together(long_jobs())
        step("what takes long", start)
    for name, printed in totals.failures:
        print("\n".join([f"FAILED {name}", *("    " + line for line in printed.splitlines()[-FAILURE_LINES:])]))
    print(f"{totals.passed} passed, {totals.failed} failed, {totals.skipped} skipped")
    sys.exit(1 if totals.failed else 0)


main()
