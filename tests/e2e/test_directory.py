"""A directory as origin: what is served, and what stays hidden."""
import os
import socket

import pytest

import servers
from wire import ask


@pytest.fixture
def stage(tmp_path, yatagarasu):
    """Objects below tmp_path/objects, secrets beside it."""
    folder = tmp_path / "objects"
    (folder / "deep" / "er").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    for name in ("page.html", "data.json", "deep/er/file", "no-extension", ".hidden", "with space", "ü.txt"):
        (folder / name).write_text(name)
    (folder / "empty").write_bytes(b"")
    ours = yatagarasu([{**servers.file_bucket("f", folder), "cache": {"ttl_seconds": 0}}])
    return ours, folder


def test_what_is_served(stage):
    ours, _ = stage
    for name, kind in {"page.html": "text/html; charset=utf-8", "data.json": "application/json", "deep/er/file": "application/octet-stream",
                       "no-extension": "application/octet-stream", ".hidden": "application/octet-stream"}.items():
        for _ in range(2):
            answer = ask(ours.port, f"/f/{name}")
            assert answer.status == 200 and answer.body == name.encode() and answer.get("Content-Type") == kind
            assert answer.get("ETag") and answer.get("Last-Modified") and answer.get("Accept-Ranges") == "bytes"
    assert ask(ours.port, "/f/with%20space").body == b"with space"
    assert ask(ours.port, "/f/%C3%BC.txt").body == "ü.txt".encode()
    empty = ask(ours.port, "/f/empty")
    assert empty.status == 200 and empty.get("Content-Length") == "0"


def test_what_stays_hidden(stage, tmp_path):
    ours, folder = stage
    (folder / "out").symlink_to(tmp_path / "secret")
    (folder / "out-relative").symlink_to("../secret")
    (folder / "out-folder").symlink_to(tmp_path)
    (folder / "passwd").symlink_to("/etc/passwd")
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "pipe")
    listener = socket.socket(socket.AF_UNIX)
    before = os.getcwd()
    os.chdir(folder)  # the address of a socket may be 107 bytes long
    try:
        listener.bind("socket")
    finally:
        os.chdir(before)
    for path in ("out", "out-relative", "out-folder/secret", "passwd", "loop", "pipe", "socket", "deep", "deep/", "deep/er", "deep//er/file", "page.html/", "page.html/x",
                 "/page.html", "nothing", "x" * 300):
        answer = ask(ours.port, f"/f/{path}", timeout=20)
        assert answer.status == 404, f"{path}: {answer}"
    for path in ("../secret", "deep/../../secret", "%2e%2e/secret", "..%2fsecret"):
        assert ask(ours.port, f"/f/{path}").status == 400, path
    listener.close()


def test_an_unreadable_file_is_403(stage):
    ours, folder = stage
    (folder / "closed").write_text("x")
    (folder / "closed").chmod(0)
    if os.getuid() == 0:
        pytest.skip("root may read everything")
    assert ask(ours.port, "/f/closed").status == 403


def test_changes_are_seen(stage):
    ours, folder = stage
    path = folder / "page.html"
    first = ask(ours.port, "/f/page.html")
    os.utime(path, (1, 1))
    assert ask(ours.port, "/f/page.html").get("ETag") != first.get("ETag")
    (folder / "next").write_text("replaced by rename")
    (folder / "next").rename(path)
    assert ask(ours.port, "/f/page.html").body == b"replaced by rename"
    path.unlink()
    assert ask(ours.port, "/f/page.html").status == 404


def test_a_folder_that_is_not_there(tmp_path, yatagarasu):
    folder = tmp_path / "later"
    ours = yatagarasu([servers.file_bucket("f", folder)])
    assert ask(ours.port, "/f/k").status in (404, 502)
    folder.mkdir()
    (folder / "k").write_text("now")
    assert ask(ours.port, "/f/k").body == b"now"
