"""The house rules that matter, held by a test: prints each breach with its place; exits 1 if there is one.

usage: check.py SOURCE_ROOT BUILD_ROOT CC
"""
import pathlib
import re
import subprocess
import sys
import tempfile

# What each layer may include and link, besides itself.
LAYERS = {
    "base": [],
    "io": ["base"],
    "cache": ["io", "base"],
    "yata": ["cache", "io", "base"],
    "http": ["io", "base"],
    "origin": ["io", "base"],
    "proxy": ["origin", "cache", "http", "io", "base"],
    "app": ["proxy", "origin", "cache", "http", "io", "base"],
}
LIBRARIES = ["-luv", "-lcurl", "-lcrypto", "-lssl", "-lexpat", "-lyaml", "-ljansson", "-lxxhash", "-luring", "-lpthread"]
BANNED = {"strcpy", "strcat", "sprintf", "vsprintf", "gets", "atoi", "atol", "atoll", "strtok", "strncpy", "strncat",
          "rand", "srand", "random", "alloca", "tmpnam", "mktemp", "system", "popen", "fork"}
DESCRIPTOR_CALLS = {"open", "open64", "openat", "openat64", "creat", "close", "read", "write", "pread", "pread64", "pwrite",
                    "pwrite64", "readv", "writev", "preadv", "pwritev", "preadv64", "pwritev64", "socket", "bind", "listen",
                    "accept", "accept4", "connect", "send", "sendto", "sendmsg", "recv", "recvfrom", "recvmsg", "shutdown",
                    "setsockopt", "getsockopt", "poll", "ppoll", "select", "epoll_create1", "epoll_ctl", "epoll_wait",
                    "eventfd", "timerfd_create", "signalfd", "pipe", "pipe2", "dup", "dup2", "dup3", "fcntl", "fcntl64",
                    "ioctl", "flock", "fsync", "fdatasync", "fallocate", "fallocate64", "posix_fallocate",
                    "posix_fallocate64", "ftruncate", "ftruncate64", "sendfile", "sendfile64", "splice", "vmsplice", "tee",
                    "lseek", "lseek64", "fstat", "fstat64", "unlink", "rename", "mkdir", "opendir", "fopen", "fopen64",
                    "fdopen", "freopen", "freopen64", "syscall"}


def main():
    source, build, compiler = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3].split()
    breaches = []

    for layer, lower in LAYERS.items():
        for path in sorted((source / "src" / layer).glob("*.[ch]")):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                found = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
                if found and found.group(1).split("/")[0] not in [layer, *lower]:
                    breaches.append(f"{path.relative_to(source)}:{number}: {layer} may not include {found.group(1)}")

    headers = sorted((source / "src").glob("*/*.h"))
    with tempfile.TemporaryDirectory() as folder:
        for header in headers:
            unit = pathlib.Path(folder) / "alone.c"
            unit.write_text(f'#include "{header.relative_to(source / "src")}"\n')
            done = subprocess.run([*compiler, "-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-fsyntax-only",
                                   "-I", str(source / "src"), "-I", str(source / "include"), str(unit)], capture_output=True, text=True)
            if done.returncode:
                breaches.append(f"{header.relative_to(source)}: does not compile alone:\n{done.stderr[:500]}")

        uring = "uring.c.o" in subprocess.run(["nm", "-A", str(build / "src/io/libio.a")], capture_output=True,
                                              text=True).stdout
        for layer, lower in LAYERS.items():
            archive = build / "src" / layer / f"lib{layer}.a"
            below = [str(build / "src" / l / f"lib{l}.a") for l in lower]
            libraries = [l for l in LIBRARIES if uring or l != "-luring"]
            done = subprocess.run([*compiler, "-shared", "-o", f"{folder}/layer.so", "-Wl,--whole-archive", str(archive),
                                   "-Wl,--no-whole-archive", "-Wl,--start-group", *below, "-Wl,--end-group",
                                   "-Wl,--no-undefined", *libraries], capture_output=True, text=True)
            if done.returncode:
                breaches.append(f"{layer} does not link with the layers below it alone:\n{done.stderr[:800]}")

    # The public header: for C99 and C++ programs too, and the proxy and its layers do without it.
    public = source / "include/yata.h"
    for language in (["-x", "c", "-std=c99", "-pedantic"], ["-x", "c++", "-std=c++11", "-pedantic"]):
        done = subprocess.run([*compiler, *language, "-Wall", "-Wextra", "-Werror", "-fsyntax-only", str(public)],
                              capture_output=True, text=True)
        if done.returncode:
            breaches.append(f"include/yata.h: {' '.join(language)}:\n{done.stderr[:500]}")
    for path in sorted((source / "src").glob("*/*.[ch]")):
        if path.parent.name != "yata" and re.search(r'include\s+[<"]yata\.h[">]', path.read_text()):
            breaches.append(f"{path.relative_to(source)}: only src/yata knows yata.h")

    for layer in LAYERS:
        archive = build / "src" / layer / f"lib{layer}.a"
        listing = subprocess.run(["nm", "-A", "-u", str(archive)], capture_output=True, text=True, check=True).stdout
        for line in listing.splitlines():
            place, _, symbol = line.rpartition(" ")
            name = re.sub(r"^__(.*)_chk$", r"\1", symbol)
            place = place.split(":")[1] if ":" in place else place
            if name in BANNED:
                breaches.append(f"{layer}: {place} calls {name}, which is banned")
            if layer not in ("io",) and name in DESCRIPTOR_CALLS:
                breaches.append(f"{layer}: {place} calls {name}: descriptors belong to io/")

    for breach in breaches:
        print(breach)
    print(f"{len(headers)} headers, {len(LAYERS)} layers, {len(breaches)} breaches")
    sys.exit(1 if breaches else 0)


main()
