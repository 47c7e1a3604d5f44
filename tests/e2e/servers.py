"""Processes that the tests start: versitygw, moto, the faulty origin, Yatagarasu itself."""
import collections
import contextlib
import ctypes
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time
import weakref

import boto3
import botocore.config
import pytest

from wire import wait_until

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent.parent
KEYS = {"access": "testaccess", "secret": "testsecret"}
START_SECONDS = 60


def driver():
    return os.environ.get("YATA_IO", "portable")


def binary():
    path = os.environ.get("YATAGARASU") or str(TOP / "build/gcc-release/src/app/yatagarasu")
    if not os.access(path, os.X_OK):
        pytest.fail(f"no binary at {path}")
    return path


kept_ports = collections.deque(maxlen=600)  # bound, not listening; by then their servers have ended


def free_port():
    """A port that nobody else is given: a socket that is bound to it, and lets only who asks for this very port bind it, too, is kept.
    Else another test run, or a client's end of a connection, may have it before the server that it is for, which then waits while
    somebody else answers."""
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", 0))
    kept_ports.append(s)
    return s.getsockname()[1]


XXH3 = ctypes.CDLL("libxxhash.so.0").XXH3_64bits
XXH3.restype, XXH3.argtypes = ctypes.c_uint64, [ctypes.c_char_p, ctypes.c_size_t]


def purge_slot(endpoint, bucket, key):
    """Objects are purged by slots (src/cache/purges.h): a purge of one costs another of its slot a miss. Once in 8,192 pairs, by ports and
    other names that nobody chooses; a test that wants a hit there takes names that are apart."""
    name = f"{endpoint}\0{bucket}\0{key}\0".encode()
    return XXH3(name, len(name)) % 8192


def slots_differ(names):
    """Whether no two of them, (endpoint, bucket, key), share a slot."""
    return len({purge_slot(*name) for name in names}) == len(names)


def wait_for_port(port, process, host="127.0.0.1"):
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args[0]} ended with {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args[0]} does not listen on {port}")


def wait_until_refused(port, host="127.0.0.1"):
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            return
        time.sleep(0.02)
    raise RuntimeError(f"{port} still listens")


class Server:
    process = None
    port = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def spawn(self, command, log, **kwargs):
        self.log = log
        self.process = subprocess.Popen(command, stdout=open(log, "ab"), stderr=subprocess.STDOUT, **kwargs)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}"

    def client(self, **kwargs):
        return boto3.client("s3", endpoint_url=self.endpoint, aws_access_key_id=KEYS["access"],
                            aws_secret_access_key=KEYS["secret"], region_name="us-east-1",
                            config=botocore.config.Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1},
                                                          **kwargs))


class Versitygw(Server):
    """Checks signatures. Objects are files below root."""

    def __init__(self, folder, *options, port=None):
        self.folder, self.options, self.port = folder, options, port

    def start(self):
        path = os.environ.get("YATA_VERSITYGW")
        if not path:
            if os.environ.get("CI"):
                pytest.fail("CI must run the versitygw part")
            pytest.skip("versitygw is not there: no Go to build it with")
        self.port = self.port or free_port()
        self.root = self.folder / "root"
        self.root.mkdir(exist_ok=True)
        self.spawn([path, "--access", KEYS["access"], "--secret", KEYS["secret"], "--region", "us-east-1", "--port",
                    f"127.0.0.1:{self.port}", *self.options, "posix", str(self.root)], self.folder / "log")
        wait_for_port(self.port, self.process)


class Moto(Server):
    """Stores any key name. Checks no signature by default."""

    def __init__(self, folder):
        self.folder = folder

    def start(self):
        self.port = free_port()
        command = [sys.executable, str(HERE / "moto_server.py"), "-H", "127.0.0.1", "-p", str(self.port)]
        self.spawn(command, self.folder / "log", env={**os.environ, "MOTO_ALLOW_NONEXISTENT_REGION": "true"})
        wait_for_port(self.port, self.process)


class Faulty(Server):
    """Our own origin for what real servers won't do: see faulty_origin.py."""

    def start(self, port=0):
        self.process = subprocess.Popen([sys.executable, str(HERE / "faulty_origin.py"), "--port", str(port or free_port())], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.port = int(re.search(r"(\d+)\s*$", self.process.stdout.readline()).group(1))
        wait_for_port(self.port, self.process)

    def stats(self):
        status, _, body = get(self.port, "/_control/stats")
        assert status == 200
        return json.loads(body)


def s3_bucket(name, server, prefix=None, bucket=None, **s3):
    """A bucket entry of the configuration, for an S3 server with our test keys."""
    s3 = {"bucket": bucket or name, "region": "us-east-1", "endpoint": server.endpoint, "access_key": KEYS["access"],
          "secret_key": KEYS["secret"], "timeout": 10, **s3}
    return {"name": name, "path_prefix": prefix or f"/{name}", "s3": {k: v for k, v in s3.items() if v is not None}}


def file_bucket(name, folder, prefix=None, **more):
    return {"name": name, "path_prefix": prefix or f"/{name}", "s3": {"bucket": name, "endpoint": f"file://{folder}"},
            **more}


running = weakref.WeakSet()  # ours that were started


def given_up():
    return sum(ours.given_up() for ours in list(running) if ours.process and ours.process.poll() is None)


class Yatagarasu(Server):
    """One process of ours. `keys` are merged over a small default configuration (memory and disk tier on)."""

    count = 0

    def __init__(self, folder, buckets, io=None, arguments=(), env=None, **keys):
        Yatagarasu.count += 1
        self.folder = pathlib.Path(folder) / f"yata{Yatagarasu.count}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.io, self.arguments, self.env = io or driver(), arguments, env or {}
        self.port, self.admin_port = free_port(), free_port()
        self.config = {
            "server": {"address": "127.0.0.1", "port": self.port, "threads": 2},
            "admin": {"address": "127.0.0.1", "port": self.admin_port},
            "logging": {"level": "debug", "output": str(self.folder / "error.log"),
                        "access": str(self.folder / "access.log")},
            "cache": {"enabled": True, "cache_layers": ["memory", "disk"],
                      "memory": {"max_cache_size_mb": 64, "max_item_size_mb": 64, "default_ttl_seconds": 3600},
                      "disk": {"enabled": True, "cache_dir": str(self.folder / "cache"), "max_disk_cache_size_mb": 512}},
            "buckets": buckets,
        }
        merge(self.config, keys)

    def write(self):
        path = self.folder / "config.yaml"
        path.write_text(json.dumps(self.config, indent=1))  # JSON is YAML
        return path

    def start(self, wait=True):
        command = [binary(), "-c", str(self.write()), "--io", self.io, *self.arguments]
        self.spawn(command, self.folder / "stdio.log", env={**os.environ, **self.env})
        running.add(self)
        if wait:
            wait_for_port(self.port, self.process)
            wait_for_port(self.admin_port, self.process)
        return self

    def given_up(self):
        """Requests that went on without a disk that kept them waiting."""
        with contextlib.suppress(Exception):  # it may be dead, or hang
            return int(self.metrics()["yatagarasu_gave_up_on_disk_total"])
        return 0

    def wait_for_disk(self):
        """Until the disk tier has read what it holds."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            metrics = self.metrics()
            if metrics["yatagarasu_disk_attached"] == 1 and metrics["yatagarasu_disk_recovering"] == 0:
                return
            time.sleep(0.05)
        raise AssertionError(self.admin("/ready")[2])

    def kill(self):
        """SIGKILL; returns once the kernel has closed the listener, which a ring keeps open for a moment."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process = None
        wait_until_refused(self.port)
        wait_until_refused(self.admin_port)

    def terminate(self, timeout=60):
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout)
        self.process = None
        return code

    def restart(self):
        assert self.terminate() == 0
        return self.start()

    def stop(self):
        """Stops it; returns what was wrong: a crash, a sanitizer's report, a bad exit."""
        problems = []
        if self.process:
            if self.process.poll() is None:
                try:
                    code = self.terminate()
                    if code != 0:
                        problems.append(f"exit code {code}")
                except subprocess.TimeoutExpired:
                    problems.append("did not stop on SIGTERM")
                    self.process.kill()
                    self.process.wait()
            else:
                problems.append(f"had ended with {self.process.returncode}")
        output = (self.folder / "stdio.log").read_text(errors="replace")
        if re.search(r"bug: check failed|Sanitizer|runtime error", output):
            problems.append(output[-6000:])
        elif problems:
            problems.append(output[-2000:])
        return problems

    def get(self, path, headers=None, method="GET"):
        return get(self.port, path, headers, method)

    def admin(self, path, headers=None, method="GET", body=None):
        return get(self.admin_port, path, headers, method, body)

    def read_log(self, name, texts):
        """What the file holds once it has these texts: the writer is a thread of its own. Without any, after a moment."""
        path = self.folder / name

        def read():
            return path.read_text(errors="replace") if path.exists() else ""

        if not texts:
            time.sleep(0.3)
        elif not wait_until(lambda: all(text in read() for text in texts)):
            raise AssertionError(f"{name}: {texts} are not in {read()[-3000:]}")
        return read()

    def access_log(self, *answers):
        """Parsed lines, those of these answers among them."""
        text = self.read_log("access.log", [answer.get("X-Request-ID") for answer in answers])
        return [json.loads(line) for line in text[:text.rfind("\n") + 1].splitlines()]

    def error_log(self, *texts):
        return self.read_log("error.log", texts)

    def counted(self):
        """Waits until every request that was answered is counted, which is a little later, and returns the metrics."""
        assert wait_until(lambda: self.metrics()["yatagarasu_requests_in_progress"] == 0)
        return self.metrics()

    def metrics(self):
        status, _, body = self.admin("/metrics")
        assert status == 200
        values = {}
        for line in body.decode().splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                values[name] = float(value)
        return values


def merge(into, keys):
    for key, value in keys.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        elif value is None:
            into.pop(key, None)
        else:
            into[key] = value


def get(port, path, headers=None, method="GET", body=None, timeout=60):
    """One request on a connection of its own: (status, headers as a dict with lower-case names, body)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()
