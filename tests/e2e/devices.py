"""Devices that go wrong: our file system with faults (tests/faults/faultfs.c) and a small ext4 in a file. Both need root, the first
/dev/fuse and fuse3, the second a loop device; who lacks them gets a skip that says what is missing."""
import contextlib
import os
import pathlib
import shutil
import subprocess
import time

import pytest

import servers


def faultfs_binary():
    path = pathlib.Path(servers.binary()).parents[2] / "tests/faults/faultfs"
    if os.geteuid() != 0:
        pytest.skip("faultfs: mounting wants root")
    if not os.path.exists("/dev/fuse"):
        pytest.skip("faultfs: there is no /dev/fuse")
    if not path.exists():
        pytest.skip("faultfs: not built, libfuse3 was missing")
    return path


def wait_mounted(folder, process):
    end = time.monotonic() + 20
    while not os.path.ismount(folder):
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"faultfs did not mount {folder}")
        time.sleep(0.02)


class FaultFs:
    """`device` is the path of its one file; rule("read EIO") sets what goes wrong, rule() ends it."""

    def __init__(self, folder):
        self.mount, self.control, self.backing = folder / "mount", folder / "control", folder / "backing"
        self.mount.mkdir(parents=True)
        self.device = self.mount / "device"

    def rule(self, *lines):
        new = self.control.with_suffix(".new")
        new.write_text("".join(f"{line}\n" for line in lines))
        new.rename(self.control)

    def __enter__(self):
        self.rule()
        self.process = subprocess.Popen([faultfs_binary(), self.backing, self.control, self.mount])
        wait_mounted(self.mount, self.process)
        return self

    def __exit__(self, *_):
        self.rule()  # nothing waits in it any more
        self.process.terminate()
        self.process.wait(20)
        if os.path.ismount(self.mount):
            subprocess.run(["umount", "-l", self.mount], check=False)
        self.backing.unlink(missing_ok=True)


def command(*words):
    return subprocess.run([str(w) for w in words], capture_output=True, text=True, check=True)


class Ext4:
    """An ext4 of `mib` MiB in a file, mounted by a loop device; the file may be one of a FaultFs."""

    def __init__(self, folder, mib, image=None, options=""):
        self.image, self.mount, self.mib = image or folder / "image", folder / "mount", mib
        self.options = ",".join(["loop", *options.split()])
        self.mount.mkdir(parents=True)
        self.device = self.mount / "device"

    def __enter__(self):
        if os.geteuid() != 0:
            pytest.skip("ext4: mounting wants root")
        if shutil.which("mkfs.ext4") is None:
            pytest.skip("ext4: there is no mkfs.ext4")
        with self.image.open("ab") as image:
            image.truncate(self.mib << 20)
        command("mkfs.ext4", "-q", "-F", "-m", "0", self.image)
        try:
            command("mount", "-o", self.options, self.image, self.mount)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"ext4: no loop device: {error.stderr.strip()}")
        return self

    def __exit__(self, *_):
        with contextlib.suppress(subprocess.CalledProcessError):
            command("umount", self.mount)
        with contextlib.suppress(OSError):
            self.image.unlink()


class LoopDevice:
    """A block device of `mib` MiB; entering gives its path."""

    def __init__(self, image, mib):
        self.image, self.mib = image, mib

    def __enter__(self):
        if os.geteuid() != 0:
            pytest.skip("loop device: wants root")
        with self.image.open("wb") as image:
            image.truncate(self.mib << 20)
        try:
            self.path = command("losetup", "-f", "--show", self.image).stdout.strip()
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"loop device: {getattr(error, 'stderr', None) or error}")
        return self.path

    def __exit__(self, *_):
        command("losetup", "-d", self.path)
        self.image.unlink()
