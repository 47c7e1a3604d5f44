"""Installs into a folder and uses the library from there, as another program would: shared and static, from C and C++.

usage: consumer.py SOURCE_ROOT BUILD_ROOT CC WITHOUT_URING

The last one runs a program where io_uring is forbidden: with it, the driver that examples get is the portable one.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

source, build, compiler = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3].split()
compiler = [word for word in compiler if not word.endswith("ccache")]
DRIVERS = {"as the kernel allows": []}
if subprocess.run([sys.argv[4], "true"]).returncode == 0:
    DRIVERS["portable"] = [sys.argv[4]]
failures = []


def run(command, **kwargs):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **kwargs)
    if done.returncode != 0:
        failures.append(f"{' '.join(str(word) for word in command)}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def check(right, what):
    if not right:
        failures.append(what)


def symbols(path, *options):
    """Of what is defined and global."""
    listing = run(["nm", "-g", "--defined-only", *options, path])
    return {line.split()[-1].split("@")[0] for line in listing.splitlines() if len(line.split()) == 3}


def declared(header):
    """The functions of yata.h."""
    text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.S)
    text = re.sub(r"typedef .*?;", "", text, flags=re.S)
    return set(re.findall(r"\b(yata_\w+)\(", text))


def examples(prefix, folder, libraries):
    """Compiles and runs each example; `libraries` makes the end of the command line."""
    env = {**os.environ, "LD_LIBRARY_PATH": str(libraries["folder"])}
    for kind in ("shared", "static"):
        for path in sorted((source / "examples").glob("*.c")):
            program = folder / f"{path.stem}-{kind}"
            run([*compiler, "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-I", prefix / "include", path, "-o", program,
                 *libraries[kind]])
            if not program.exists():
                continue
            linked = "libyata.so.1" in run(["readelf", "-d", program])
            check(linked == (kind == "shared"), f"{program.name} is linked to the other library")
            for driver, under in DRIVERS.items():
                example([*under, program], path, driver, folder / "cache.data", env)


def example(command, path, driver, cache, env):
    cache.unlink(missing_ok=True)
    arguments = [cache, path] if path.stem == "memo" else [cache]
    said = run([*command, *arguments], env=env, timeout=180)
    print(f"{path.stem}, {driver}: {said}", end="")
    if path.stem == "memo":
        check("(counted)" in said, "the memo remembers what it never saw")
        again = run([*command, *arguments], env=env, timeout=180)
        check("(remembered)" in again, f"the memo forgot: {again}")


def manual(prefix, names):
    pages = {page.name: page for page in (prefix / "share/man").glob("man*/*")}
    for name in ("libyata.3", "yata-bench.1", "yatagarasu.1", "yatagarasu.yaml.5"):
        check(name in pages, f"{name} is not installed")
    if shutil.which("groff"):
        for page in pages.values():
            done = subprocess.run(["groff", "-man", "-ww", "-z", "-Tutf8", str(page)], capture_output=True, text=True)
            check(not done.stderr, f"{page.name}: {done.stderr}")
    page = pages["libyata.3"].read_text()
    for name in names:
        check(re.search(rf"\b{name}\(", page), f"libyata(3) does not tell of {name}")
    for name in set(re.findall(r"\b(yata_\w+)\(", page)) - names:
        check(False, f"libyata(3) tells of {name}, which is not there")
    for program in ("yata-bench", "yatagarasu"):
        page = re.sub(r"\\f.", "", pages[f"{program}.1"].read_text()).replace("\\-", "-")
        usage = run([prefix / "bin" / program, "--help"])
        if program == "yatagarasu":
            usage += run([prefix / "bin" / program, "cache", "--help"])
        option = r"(?<![\w-])--[a-z]+\b"
        told, known = set(re.findall(option, page)), set(re.findall(option, usage))
        check(told == known, f"{program}: --help and manual differ in {sorted(told ^ known)}")
    page = pages["yatagarasu.yaml.5"].read_text().replace("\\-", "-")
    for key in re.findall(r'"([a-z_\[\]]+(?:\.[a-z0-9_\[\]]+)+)"', (source / "src/app/config_table.c").read_text()):
        check(key in page, f"yatagarasu.yaml(5) does not tell of {key}")


def main():
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as name:
        folder = pathlib.Path(name)
        run(["meson", "install", "-C", build, "--no-rebuild", "--quiet", "--destdir", folder])
        package = next(folder.rglob("yata.pc"), None)
        if package is None:
            sys.exit("\n".join([*failures, "yata.pc is not installed"]))
        library = package.parent.parent
        prefix = next(folder.rglob("include/yata.h")).parent.parent
        pkg_config = ["pkg-config", f"--define-variable=prefix={prefix}", f"--define-variable=libdir={library}"]
        env = {**os.environ, "PKG_CONFIG_PATH": str(package.parent)}
        flags = run([*pkg_config, "--libs", "yata"], env=env).split()
        private = [word for word in run([*pkg_config, "--libs", "--static", "yata"], env=env).split() if word != "-lyata"]
        check("-lyata" in flags and not any("uv" in word for word in flags), f"a program needs libyata alone: {flags}")
        version = run([*pkg_config, "--modversion", "yata"], env=env).strip()

        header = prefix / "include/yata.h"
        numbers = [re.search(rf"YATA_VERSION_{part} (\d+)", header.read_text())[1] for part in ("MAJOR", "MINOR", "PATCH")]
        check(version == ".".join(numbers), f"yata.h is {numbers}, yata.pc {version}")
        check((library / f"libyata.so.{numbers[0]}").exists(), "the soname is not the major version")

        names = declared(header)
        check(len(names) > 30, f"yata.h declares {len(names)} functions?")
        shared, static = symbols(library / "libyata.so", "-D"), symbols(library / "libyata.a")
        check(static == names, f"static: {sorted(static ^ names)}")
        check({name for name in shared if not name.startswith("YATA_")} == names, f"shared: {sorted(shared ^ names)}")

        examples(prefix, folder, {"folder": library, "shared": [*flags, "-pthread"],
                                  "static": [library / "libyata.a", *private, "-pthread"]})
        for compile_cpp in filter(shutil.which, ("g++", "clang++")):
            unit = folder / "unit.cc"
            unit.write_text('#include <yata.h>\nint main() { return yata_version() != YATA_VERSION; }\n')
            run([compile_cpp, "-std=c++11", "-Wall", "-Wextra", "-pedantic", "-Werror", "-I", prefix / "include", unit, "-o",
                 folder / "unit", *flags])
            run([folder / "unit"], env={**os.environ, "LD_LIBRARY_PATH": str(library)})
        manual(prefix, names)
    for failure in failures:
        print("FAILED", failure)
    print(f"{len(names)} functions, {len(failures)} failures")
    sys.exit(1 if failures else 0)


main()
