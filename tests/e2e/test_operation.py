"""What an operator does: checks a configuration, starts, looks at the admin listener, stops; and what goes wrong meanwhile."""
import fcntl
import http.client
import json
import shutil
import signal
import socket
import subprocess
import time

import pytest

import servers
from wire import wait_until

LARGE = bytes(range(256)) * (32 << 12)  # 32 MiB


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "objects"
    path.mkdir()
    (path / "small").write_bytes(b"small")
    (path / "large").write_bytes(LARGE)
    return path


def sample(folder):
    return [servers.file_bucket("sample", folder)]


def start_download(ours):
    """A request whose answer nobody reads beyond its first bytes."""
    client = socket.create_connection(("127.0.0.1", ours.port))
    client.sendall(b"GET /sample/large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert client.recv(100).startswith(b"HTTP/1.1 200")
    return client


def read_to_end(client):
    total = 0
    while piece := client.recv(1 << 20):
        total += len(piece)
    return total


# ---- the command line ----

def command(*arguments, **kwargs):
    return subprocess.run([servers.binary(), *arguments], capture_output=True, text=True, timeout=30, **kwargs)


def test_command_line():
    assert command("--version").stdout.startswith("yatagarasu ")
    assert "usage:" in command("--help").stdout
    for refused in ("-d", "--daemon", "--upgrade", "--nonsense"):
        answer = command(refused)
        assert answer.returncode == 2 and refused in answer.stderr


def test_a_wrong_configuration_says_everything_at_once(tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text("server:\n  address: here\n  prot: 80\nbuckets:\n- name: a\n  path_prefix: /a\n  s3:\n    bucket: b\n"
                    "    region: r\n    access_key: k\n  auth:\n    jwt: {}\nio: magic\n")
    for arguments in (["-c", str(path), "--test"], ["-c", str(path)]):
        answer = command(*arguments)
        assert answer.returncode == 1
        lines = answer.stderr.splitlines()
        assert f"{path}:3: server.prot: unknown key: did you mean port?" in lines
        assert any(line.startswith(f"{path}:2: server.address: expected an IP address") for line in lines)
        assert any(line.startswith(f"{path}:10: buckets[0].s3.secret_key: missing secret") for line in lines)
        assert any(line.startswith(f"{path}:12: buckets[0].auth.jwt: belongs at the top") for line in lines)
        assert any(line.startswith(f"{path}:13: io: expected auto, uring or portable") for line in lines)
    assert command("-c", str(tmp_path / "none.yaml")).returncode == 1


def test_test_accepts_the_example():
    answer = command("-c", str(servers.TOP / "config/yatagarasu.example.yaml"), "--test")
    assert answer.returncode == 0, answer.stderr


def test_a_port_that_is_taken_is_said(tmp_path, folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ours = servers.Yatagarasu(tmp_path, sample(folder))
        ours.config["server"]["port"] = taken.getsockname()[1]
        answer = command("-c", str(ours.write()), "--io", servers.driver())
        assert answer.returncode == 1
        assert "can't listen on 127.0.0.1 port" in answer.stderr


# ---- the admin listener ----

def test_health_ready_metrics(yatagarasu, folder):
    ours = yatagarasu(sample(folder))
    status, headers, body = ours.admin("/health")
    assert status == 200 and headers["content-type"] == "application/json"
    assert json.loads(body)["status"] == "healthy"
    for _ in range(2):
        assert ours.get("/sample/small")[2] == b"small"
    assert wait_until(lambda: ours.admin("/ready")[0] == 200), "the first worker may answer before the last one has started"
    status, _, body = ours.admin("/ready")
    ready = json.loads(body)
    assert status == 200 and ready["ready"] and ready["degraded"] == [], ready
    assert ready["io"]["driver"] == servers.driver() and ready["io"]["reason"]
    assert ready["origins"][0]["state"] == "ok"
    metrics = ours.counted()
    assert metrics["http_requests_total"] == 2
    assert metrics['http_requests_by_status_total{status="200"}'] == 2
    assert metrics['yatagarasu_cache_hits_by_bucket_layer_total{bucket="sample",layer="memory"}'] == 1
    assert metrics['yatagarasu_bytes_saved_total{bucket="sample"}'] == 5
    assert metrics['s3_operations_total{bucket="sample"}'] == 1
    # Nothing of it is on the public port.
    assert ours.get("/metrics")[0] == 404 and ours.get("/health")[0] == 404


def test_promtool_accepts_the_metrics(yatagarasu, folder):
    if not shutil.which("promtool"):
        pytest.skip("no promtool")
    ours = yatagarasu(sample(folder))
    ours.get("/sample/small")
    body = ours.admin("/metrics")[2]
    answer = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True, timeout=30)
    assert answer.returncode == 0 and not answer.stdout, answer


def test_admin_is_closed_to_browsers_and_to_those_without_the_token(yatagarasu, folder):
    ours = yatagarasu(sample(folder))
    json_type = {"Content-Type": "application/json"}
    assert ours.admin("/admin/reload", json_type, "POST", "{}")[0] == 501
    assert ours.admin("/admin/reload", {"Content-Type": "text/plain"}, "POST", "{}")[0] == 415
    assert ours.admin("/admin/reload", {**json_type, "Host": "evil.example"}, "POST", "{}")[0] == 403
    token = yatagarasu(sample(folder), admin={"token": "a-long-secret"})
    status, headers, _ = token.admin("/admin/reload", json_type, "POST", "{}")
    assert status == 401 and headers["www-authenticate"] == "Bearer"
    assert token.admin("/admin/reload", {"Authorization": "Bearer a-long-secret"}, "POST", "{}")[0] == 501
    open_address = yatagarasu(sample(folder), admin={"address": "0.0.0.0"})
    assert open_address.admin("/admin/reload", json_type, "POST", "{}")[0] == 403
    assert open_address.admin("/health")[0] == 200
    open_address.error_log("/admin/ answers 403")
    assert "a-long-secret" not in token.error_log()


def test_a_disk_that_cannot_be_used_degrades(yatagarasu, folder, tmp_path):
    (tmp_path / "file").write_text("no folder")
    ours = yatagarasu(sample(folder), cache={"disk": {"cache_dir": str(tmp_path / "file")}})
    assert ours.get("/sample/small")[0] == 200
    end = time.monotonic() + 60
    while json.loads(ours.admin("/ready")[2])["disk"]["state"] == "opening" and time.monotonic() < end:
        time.sleep(0.05)
    status, _, body = ours.admin("/ready")
    ready = json.loads(body)
    assert status == 200 and ready["degraded"] == ["disk"] and ready["disk"]["state"] == "out" and ready["disk"]["reason"]
    assert ours.metrics()["yatagarasu_disk_attached"] == 0


# ---- logs ----

def test_a_log_reader_that_does_not_read_blocks_nobody(tmp_path, folder):
    ours = servers.Yatagarasu(tmp_path, sample(folder), logging={"access": "stdout"})
    process = subprocess.Popen([servers.binary(), "-c", str(ours.write()), "--io", servers.driver()], stdout=subprocess.PIPE)
    try:
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
        servers.wait_for_port(ours.admin_port, process)
        client = http.client.HTTPConnection("127.0.0.1", ours.port, timeout=20)
        lines = 0
        while ours.metrics()['yatagarasu_log_lines_dropped_total{log="access"}'] == 0 and lines < 200000:
            for _ in range(2000):
                client.request("GET", "/sample/small")
                assert client.getresponse().read() == b"small"
            lines += 2000
        assert ours.metrics()['yatagarasu_log_lines_dropped_total{log="access"}'] > 0
        process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        assert process.wait(60) == 0
        assert time.monotonic() - started < 40
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_one_log_for_both(yatagarasu, folder, tmp_path):
    ours = yatagarasu(sample(folder), logging={"output": str(tmp_path / "log"), "access": str(tmp_path / "log")})
    ours.get("/sample/small")
    assert ours.restart()
    text = (tmp_path / "log").read_text()
    assert '"bucket":"sample"' in text and " info boot: serving on" in text and " info boot: ended" in text


# ---- the end ----

def test_sigterm_finishes_what_runs(yatagarasu, folder):
    ours = yatagarasu(sample(folder))
    idle = socket.create_connection(("127.0.0.1", ours.port))
    client = start_download(ours)
    ours.process.send_signal(signal.SIGTERM)
    servers.wait_until_refused(ours.port)
    status, _, body = ours.admin("/ready")
    assert status == 503 and json.loads(body)["phase"] == "stopping"
    assert idle.recv(1) == b""
    assert read_to_end(client) > len(LARGE) - 100
    assert ours.process.wait(30) == 0
    ours.process = None
    text = ours.error_log("SIGTERM", "boot: ended")
    assert text.rstrip().endswith("info boot: ended")


def test_the_time_to_finish_is_bounded(yatagarasu, folder):
    ours = yatagarasu(sample(folder), server={"shutdown_timeout": 1})
    client = start_download(ours)
    started = time.monotonic()
    assert ours.terminate() == 0
    assert 0.9 < time.monotonic() - started < 25
    ours.error_log("shutdown_timeout is over")
    client.close()


def test_the_second_signal_ends_at_once(yatagarasu, folder):
    ours = yatagarasu(sample(folder))
    client = start_download(ours)
    ours.process.send_signal(signal.SIGHUP)
    assert wait_until(lambda: "SIGHUP is ignored" in ours.error_log())
    ours.process.send_signal(signal.SIGTERM)
    servers.wait_until_refused(ours.port)
    started = time.monotonic()
    ours.process.send_signal(signal.SIGINT)
    assert ours.process.wait(60) == -signal.SIGINT
    assert time.monotonic() - started < 25, "not the 30 s for the download that nobody reads"
    ours.process = None
    client.close()


def test_an_idle_process_uses_no_cpu(yatagarasu, folder):
    """Once it has done what its start and the request left to do, however long that takes on a busy machine."""
    ours = yatagarasu(sample(folder))
    ours.get("/sample/small")

    def used():
        fields = open(f"/proc/{ours.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    def idle():
        before = used()
        time.sleep(3)
        return used() - before <= 1

    assert any(idle() for _ in range(5))
