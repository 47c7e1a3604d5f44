"""The access log: one JSON line a request, with what happened. Secrets are in no log."""
import datetime
import json

import servers
from scripted import Scripted
from wire import Wire, ask, wait_until

FIELDS = {"time", "id", "client", "method", "bucket", "key", "range", "status", "bytes", "cache", "tier", "duration_ms", "ttfb_ms", "origin_ms"}


def test_one_line_a_request(yatagarasu):
    with Scripted() as origin:
        origin.put("k", b"x" * 300_000)
        origin.put('quote"\\back', b"y")
        origin.put("none", b"z", Cache_Control="no-store")
        ours = yatagarasu([servers.s3_bucket("s", origin)])
        # request; then: method, bucket, key, range, status, bytes, cache, tier
        table = [
            (("/s/k",), ("GET", "s", "k", "", 200, 300_000, "MISS", "origin")),
            (("/s/k",), ("GET", "s", "k", "", 200, 300_000, "HIT", "memory")),
            (("/s/k", {"Range": "bytes=5-9"}), ("GET", "s", "k", "bytes=5-9", 206, 5, "HIT", "memory")),
            (("/s/k", {"If-None-Match": '"a"'}), ("GET", "s", "k", "", 304, 0, "HIT", "none")),
            (("/s/k", {}, "HEAD"), ("HEAD", "s", "k", "", 200, 0, "HIT", "none")),
            (("/s/none",), ("GET", "s", "none", "", 200, 1, "BYPASS", "origin")),
            (("/s/nothing",), ("GET", "s", "nothing", "", 404, None, "MISS", "none")),
            (("/s/k?acl",), ("GET", "s", "k", "", 400, None, "NONE", "none")),
            (("/elsewhere",), ("GET", "", "", "", 404, None, "NONE", "none")),
            (("/s/k", {}, "DELETE"), ("DELETE", "", "", "", 405, None, "NONE", "none")),
            (("/s/quote%22%5Cback",), ("GET", "s", 'quote"\\back', "", 404, None, "MISS", "none")),
        ]
        answers = [ask(ours.port, *request) for request, _ in table]
        lines = {line["id"]: line for line in ours.access_log(*answers)}
        assert len(lines) == len(table)
        for answer, (request, want) in zip(answers, table):
            line = lines[answer.get("X-Request-ID")]
            got = tuple(line[n] for n in ("method", "bucket", "key", "range", "status", "bytes", "cache", "tier"))
            want = want if want[5] is not None else (*want[:5], int(answer.get("Content-Length")), *want[6:])
            assert got == want, request
            assert FIELDS <= set(line) and line["client"].startswith("127.0.0.1:")
            assert datetime.datetime.fromisoformat(line["time"].replace("Z", "+00:00"))
            assert line["duration_ms"] >= line["ttfb_ms"] >= 0
        assert lines[answers[0].get("X-Request-ID")]["origin_ms"] > 0


def test_a_long_request_is_logged_too(yatagarasu, faulty):
    """A key of any length, of bytes that JSON spells with six letters each, and a range of such: the line is there, the key cut."""
    ours = yatagarasu([servers.s3_bucket("s", faulty),
                       {"name": "h", "path_prefix": "/h", "http": {"endpoint": faulty.endpoint}}])
    table = [("/s/" + "k" * 8000, None, "k" * 1024), ("/s/" + "%01" * 1024, {"Range": "bytes=" + "\xff" * 300}, "\x01" * 1024),
             ("/h/x?" + "q" * 8000, None, "/x?" + "q" * 1021), ("/s/" + "k" * 1024, None, "k" * 1024)]
    answers = [ask(ours.port, path, fields) for path, fields, _ in table]
    lines = {line["id"]: line for line in ours.access_log(*answers)}
    assert len(lines) == len(table)
    for answer, (_, _, key) in zip(answers, table):
        assert lines[answer.get("X-Request-ID")]["key"].startswith(key)
        assert lines[answer.get("X-Request-ID")]["status"] == answer.status


def test_answers_that_were_not_completed(yatagarasu, faulty):
    ours = yatagarasu([servers.s3_bucket("s", faulty, retry={"max_attempts": 1})])
    with Wire(ours.port) as wire:
        wire.request("/s/slow-body,size=1000000,at=300000,ms=8000")
        assert wire.head().status == 200
        wire.close(reset=True)
    assert ask(ours.port, "/s/stall,size=3000000,at=1000000,n=0", timeout=60).cut
    assert wait_until(lambda: len(ours.access_log()) == 2)
    lines = ours.access_log()
    assert [line["complete"] for line in lines] == [False, False]
    metrics = ours.metrics()
    assert metrics["yatagarasu_gone_clients_total"] == 1 and metrics["yatagarasu_cut_answers_total"] == 1


def test_what_the_parser_refuses_has_an_id_too(yatagarasu, faulty):
    ours = yatagarasu([servers.s3_bucket("s", faulty)])
    answers = []
    for head in (b"GET /s/k HTTP/1.1\r\n\r\n", b"nonsense\r\n\r\n", b"GET /s/k HTTP/2.0\r\nHost: t\r\n\r\n"):
        with Wire(ours.port) as wire:
            wire.send(head)
            answers.append(wire.response())
    lines = {line["id"]: line["status"] for line in ours.access_log(*answers)}
    assert lines == {answer.get("X-Request-ID"): answer.status for answer in answers} and len(lines) == 3


def test_secrets_are_in_no_log(yatagarasu, faulty):
    """At the lowest level, with an origin that fails in many ways, and a client that sends credentials."""
    secrets = {"secret_key": "TheSecretKey1", "session_token": "TheSessionToken2"}
    ours = yatagarasu([servers.s3_bucket("s", faulty, retry={"max_attempts": 2, "initial_backoff_ms": 10}, **secrets)], admin={"token": "TheAdminToken3"})
    for key in ("ok", "status,status=403,code=SignatureDoesNotMatch", "status,status=500,n=0", "reset-before,n=0", "redirect", "garbage,n=0", "truncate,n=0,at=10"):
        ask(ours.port, f"/s/{key}", {"Authorization": "Bearer TheClientToken4", "Cookie": "TheCookie5"})
    last = ask(ours.port, "/s/ok?X-Amz-Signature=TheSignature6&X-Amz-Credential=TheCredential7")
    ours.admin("/admin/reload", {"Authorization": "Bearer TheAdminToken3", "Content-Type": "application/json"}, "POST", "{}")
    ours.admin("/admin/reload", {"Authorization": "Bearer TheWrongToken8", "Content-Type": "application/json"}, "POST", "{}")
    ours.access_log(last)
    texts = [ours.error_log(), (ours.folder / "access.log").read_text(), (ours.folder / "stdio.log").read_text()]
    texts += [ours.admin(path)[2].decode() for path in ("/metrics", "/ready", "/health")]
    for text in texts:
        for secret in ("TheSecretKey1", "TheSessionToken2", "TheAdminToken3", "TheClientToken4", "TheCookie5", "TheSignature6", "TheCredential7", "TheWrongToken8"):
            assert secret not in text
    assert json.loads(texts[1].splitlines()[0])["key"] == "ok"
