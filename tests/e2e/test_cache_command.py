"""What an operator types: `yatagarasu cache ...` against the running server."""
import json
import os
import pty
import signal
import subprocess
import threading

import pytest

import servers
from scripted import apart
from wire import ask, wait_until


@pytest.fixture
def origin():
    with apart([("", "s", f"a/{i}") for i in range(5)]) as server:
        for i in range(5):
            server.put(f"a/{i}", b"x" * 1000, ETag=f'"{i}"', Surrogate_Key="red" if i else "blue")
        yield server


@pytest.fixture
def ours(origin, yatagarasu):
    ours = yatagarasu([servers.s3_bucket("s", origin, timeout=120), servers.s3_bucket("t", origin)])
    ours.wait_for_disk()
    return ours


def clean_environment(**more):
    return {**{name: value for name, value in os.environ.items() if not name.startswith("YATAGARASU_ADMIN")}, **more}


def command(ours, *arguments, address=True, env=None):
    flags = ["--address", f"127.0.0.1:{ours.admin_port}"] if address else []
    return subprocess.run([servers.binary(), "cache", *arguments, *flags], capture_output=True, text=True, timeout=240,
                          env=clean_environment(**(env or {})))


def well(ours, *arguments, **kwargs):
    done = command(ours, *arguments, **kwargs)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def cached(ours, key, bucket="s"):
    return ask(ours.port, f"/{bucket}/{key}").cache == "HIT"


def test_stats_and_info(ours):
    ask(ours.port, "/s/a/1")
    assert wait_until(lambda: json.loads(well(ours, "stats", "s"))["requests"] == 1)
    assert [bucket["bucket"] for bucket in json.loads(well(ours, "stats"))["buckets"]] == ["s", "t"]
    info = json.loads(well(ours, "info", "s", "a/1"))
    assert info["stored"] and info["etag"] == '"1"'
    assert json.loads(well(ours, "info", "s", "a b/%:&?"))["key"] == "a b/%:&?"
    refused = command(ours, "stats", "nobody")
    assert refused.returncode == 1 and refused.stdout == ""
    assert refused.stderr == "yatagarasu cache: the server answers 404: no bucket is configured under this name\n"


def test_purge(ours):
    fill = lambda: [ask(ours.port, f"/s/a/{i}") for i in range(4)]  # noqa: E731
    fill()
    assert well(ours, "purge", "s", "a/1") == "purged a/1 of bucket s, 1000 bytes were stored\n"
    assert well(ours, "purge", "s", "a/1") == "purged a/1 of bucket s, nothing was stored\n"
    assert [cached(ours, f"a/{i}") for i in range(4)] == [True, False, True, True]
    assert well(ours, "purge", "s", "--tag", "red") == "purged bucket s, tag red\n"
    assert [cached(ours, f"a/{i}") for i in range(4)] == [True, False, False, False]
    assert well(ours, "purge", "--prefix=a/2", "s") == "purged bucket s, prefix a/2\n"
    assert [cached(ours, f"a/{i}") for i in range(4)] == [True, True, False, True]
    assert well(ours, "purge", "s", "--all", "--soft") == "purged bucket s, softly\n"
    assert json.loads(well(ours, "info", "s", "a/1"))["softly_purged"]
    assert well(ours, "purge", "--all") == "purged everything\n"
    assert not json.loads(well(ours, "info", "s", "a/1"))["stored"]


def test_of_an_http_origin(origin, yatagarasu):
    ours = yatagarasu([{"name": "h", "path_prefix": "/h", "http": {"endpoint": origin.endpoint + "/o"}}])
    origin.put("a%20(b)", b"x" * 1000, Cache_Control="max-age=60")
    for target in "/h/a%20(b)", "/h/a%20(b)?q=1":
        assert ask(ours.port, target).status == 200
    refused = command(ours, "info", "h", "/a (b)")
    assert refused.returncode == 1 and "host" in refused.stderr
    for query in [], ["--query=q=1"]:
        assert json.loads(well(ours, "info", "h", "/a (b)", "--host", "test", *query))["stored"]
    assert not json.loads(well(ours, "info", "h", "/a (b)", "--host", "test", "--query", "q=2&r"))["stored"]
    assert well(ours, "purge", "h", "/a (b)", "--host=test", "--soft") == "purged /a (b) of bucket h, 1000 bytes were stored, softly\n"
    assert well(ours, "purge", "h", "/a (b)") == "purged /a (b) of bucket h; with --host it is told what was stored\n"
    assert well(ours, "purge", "h", "/a (b)", "--host=test", "--query=q=1") == "purged /a (b) of bucket h, nothing was stored\n"
    refused = command(ours, "prewarm", "h", "--all", "--host", "test")
    assert refused.returncode == 1 and '400: "prefix"' in refused.stderr
    assert well(ours, "prewarm", "h", "/a (b)", "--host=test").endswith("done: 1 fetched, 0 stored before, 0 not to be stored, 0 failed\n")
    assert ask(ours.port, "/h/a%20(b)").cache == "HIT"
    origin.put("v", b"x", Cache_Control="max-age=60", Vary="X-A")
    ask(ours.port, "/h/v", {"X-A": "1"})
    assert well(ours, "purge", "h", "v", "--host=test") == "purged v of bucket h, nothing was stored for clients without x-a\n"


def test_all_must_be_meant(ours):
    ask(ours.port, "/s/a/1")
    for arguments, names in (((), "everything"), (("s",), "whole bucket"), (("s", "--soft"), "whole bucket"), (("s", "--prefix", ""), "--all"),
                             (("s", "a/1", "--all"), "not both"), (("s", ""), "empty"), (("--prefix", "a", "--all"), "not both")):
        refused = command(ours, "purge", *arguments)
        assert refused.returncode == 2 and names in refused.stderr and refused.stdout == "", refused
    assert cached(ours, "a/1")


def test_prewarm(ours, origin):
    out = well(ours, "prewarm", "s", "a/0", "a/1")
    assert out.splitlines()[0] == "job 1" and out.splitlines()[-1] == "done: 2 fetched, 0 stored before, 0 not to be stored, 0 failed"
    assert "\033" not in out and "\r" not in out and cached(ours, "a/1")
    done = command(ours, "prewarm", "s", "a/1", "gone", "--rate", "1000", "--concurrency=1")
    assert done.returncode == 1 and done.stderr == "yatagarasu cache: 404 gone\n"
    assert done.stdout.endswith("done: 0 fetched, 1 stored before, 0 not to be stored, 1 failed\n")
    assert well(ours, "prewarm", "s", "a/2", "--detach") == "job 3\n"
    assert wait_until(lambda: json.loads(well(ours, "jobs", "3"))["state"] == "done")
    assert [job["id"] for job in json.loads(well(ours, "jobs"))["jobs"]] == [3, 2, 1]
    refused = command(ours, "prewarm", "nobody", "--all")
    assert refused.returncode == 1 and '400: "bucket"' in refused.stderr
    assert command(ours, "cancel", "9").returncode == 1
    origin.broken[""] = 403  # its list
    done = command(ours, "prewarm", "s", "--prefix", "a/")
    assert done.returncode == 1 and "failed, not allowed, Broken: 0 fetched" in done.stdout


def test_interrupt_cancels(ours, origin):
    origin.held["a/0"] = threading.Event()
    process = subprocess.Popen([servers.binary(), "cache", "prewarm", "s", "a/0", "--address", f"127.0.0.1:{ours.admin_port}"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_environment())
    assert wait_until(lambda: origin.asked("a/0"))
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=240)
    assert process.returncode == 1 and out.splitlines()[-1].startswith("canceled: 0 fetched")
    origin.held["a/0"].set()


def test_cancel(ours, origin):
    origin.held["a/0"] = threading.Event()
    assert well(ours, "prewarm", "s", "a/0", "--detach") == "job 1\n"
    assert json.loads(well(ours, "cancel", "1"))["state"] in ("canceling", "canceled")
    assert wait_until(lambda: json.loads(well(ours, "jobs", "1"))["state"] == "canceled")
    origin.held["a/0"].set()


def test_bar_on_a_terminal(ours):
    main, side = pty.openpty()
    process = subprocess.Popen([servers.binary(), "cache", "prewarm", "s", "a/0", "a/1", "--address", f"127.0.0.1:{ours.admin_port}"],
                               stdin=side, stdout=side, stderr=side, env=clean_environment())
    os.close(side)
    out = b""
    try:
        while piece := os.read(main, 4096):
            out += piece
    except OSError:  # the other side is closed
        pass
    os.close(main)
    assert process.wait(240) == 0
    assert b"\r[##############################] 2/2 100%" in out and out.endswith(b"done: 2 fetched, 0 stored before, 0 not to be stored, 0 failed\r\n")


# ---- where the server is ----

@pytest.fixture
def guarded(origin, yatagarasu):
    return yatagarasu([servers.s3_bucket("s", origin)], admin={"token": "secret-token"})


def test_address_and_token(guarded):
    address, config = f"127.0.0.1:{guarded.admin_port}", str(guarded.folder / "config.yaml")
    refused = command(guarded, "stats")
    assert refused.returncode == 1 and "401: the admin token is required" in refused.stderr
    assert command(guarded, "stats", "--token", "another-token").returncode == 1
    well(guarded, "stats", "--token", "secret-token")
    well(guarded, "stats", address=False, env={"YATAGARASU_ADMIN": address, "YATAGARASU_ADMIN_TOKEN": "secret-token"})
    well(guarded, "stats", "-c", config, address=False)
    # flags before the environment before the configuration
    assert command(guarded, "stats", "-c", config, address=False, env={"YATAGARASU_ADMIN_TOKEN": "another-token"}).returncode == 1
    well(guarded, "stats", "-c", config, "--token=secret-token", address=False, env={"YATAGARASU_ADMIN_TOKEN": "another-token"})


def test_no_answer(ours):
    port = servers.free_port()
    done = command(ours, "stats", "--address", f"127.0.0.1:{port}", address=False)
    assert done.returncode == 3 and done.stdout == "" and f"127.0.0.1:{port}" in done.stderr
    for address in ("127.0.0.1/x", "a b", "user@127.0.0.1:1", "x" * 400):
        assert command(ours, "stats", "--address", address, address=False).returncode == 2
    done = command(ours, "stats", "-c", "/nowhere.yaml", address=False)
    assert done.returncode == 2 and "/nowhere.yaml" in done.stderr


def test_help_and_wrong_arguments(ours):
    for arguments in (("help",), ("--help",), ("purge", "--help")):
        assert well(ours, *arguments, address=False).startswith("usage: yatagarasu cache COMMAND")
    for arguments in ((), ("nonsense",), ("info", "s"), ("stats", "s", "t"), ("jobs", "x"), ("cancel",), ("prewarm", "s"), ("prewarm",),
                      ("prewarm", "s", "k", "--prefix", "p"), ("stats", "--soft"), ("purge", "s", "--nonsense"), ("purge", "s", "--tag"),
                      ("prewarm", "s", "k", "--rate", "0"), ("prewarm", "s", "k", "--detach=1")):
        done = command(ours, *arguments, address=False)
        assert done.returncode == 2 and done.stdout == "" and done.stderr.endswith("--help tells more\n"), done
    assert "cache" in subprocess.run([servers.binary(), "--help"], capture_output=True, text=True).stdout
