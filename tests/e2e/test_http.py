"""The HTTP/1.1 front: methods, limits, connections, what is refused, conditionals, freshness, and headers that tell the truth about
the cache."""
import json
import os
import re
import threading
import time

import pytest

import servers
from scripted import date
from wire import Wire, ask, wait_until

KIB, MIB = 1024, 1 << 20
MODIFIED = 1_600_000_000
BODIES = {"small": b"0123456789", "empty": b"", "page": os.urandom(20_000), "large": os.urandom(2 * MIB)}


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    folder = tmp_path_factory.mktemp("objects")
    for name, body in BODIES.items():
        (folder / name).write_bytes(body)
        os.utime(folder / name, (MODIFIED, MODIFIED))
    started = servers.Yatagarasu(tmp_path_factory.mktemp("http"), [servers.file_bucket("f", folder)]).start()
    yield started
    problems = started.stop()
    assert not problems, problems


@pytest.fixture(scope="module")
def slow_head(ours):
    """A client that began its request when the module began, and never ends it; a thread sees when that is ended."""
    with Wire(ours.port, timeout=120) as wire:
        since = time.monotonic()
        wire.send(b"GET /f/small HTTP/1.1\r\nHost: t\r\n")

        def watch():
            while wire.more():
                pass
            wire.seconds = time.monotonic() - since

        wire.watch = threading.Thread(target=watch, daemon=True)
        wire.watch.start()
        yield wire


def talk(ours, data, methods=("GET",)):
    """Sends bytes, reads as many answers as methods, then expects the end of the connection. Returns the answers."""
    with Wire(ours.port) as wire:
        wire.send(data)
        answers = [wire.response(method) for method in methods]
        assert wire.ended(), "the connection is closed"
        return answers


# ---- methods ----


@pytest.mark.usefixtures("slow_head")
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "get"])
def test_other_methods_are_405(ours, method):
    with Wire(ours.port) as wire:
        answer = wire.request("/f/small", method=method).response()
    assert answer.status == 405 and answer.get("Allow") == "GET, HEAD, OPTIONS"
    assert json.loads(answer.body)["status"] == 405


def test_body_of_a_refused_method(ours):
    def in_time():
        began = time.monotonic()
        try:
            with Wire(ours.port) as wire:
                wire.request("/f/small", {"Content-Length": "500000"}, "PUT")
                wire.send(b"x" * 500_000)
                assert wire.response().status == 405
        except (OSError, EOFError):
            if time.monotonic() - began < 1.9:  # for so long what comes is read and dropped
                raise
            return False
        return True

    assert any(in_time() for _ in range(5))


@pytest.mark.parametrize("target", ["*", "/f/small", "/anything"])
def test_options(ours, target):
    answer = ask(ours.port, target, method="OPTIONS")
    assert answer.status in (200, 204) and answer.get("Allow") == "GET, HEAD, OPTIONS" and answer.body == b""


def test_head_never_has_a_body(ours):
    cases = {"/f/small": 200, "/f/large": 200, "/f/nothing": 404, "/f/": 404, "/f/a/../b": 400, "/f/small?acl": 400, "/other": 404}
    with Wire(ours.port) as wire:
        for path, status in cases.items():
            answer = wire.request(path, method="HEAD").response("HEAD")
            assert answer.status == status, path
            assert int(answer.get("Content-Length", "0")) >= 0
        assert wire.request("/f/small").response().body == b"0123456789", "nothing was left on the connection"


def test_absolute_target(ours):
    assert ask(ours.port, f"http://anything.example:{ours.port}/f/small").body == b"0123456789"


# ---- connections ----


def test_keep_alive_and_pipelining(ours):
    paths = ["small", "large", "empty", "nothing", "page"] * 5
    with Wire(ours.port) as wire:
        for path in paths:
            wire.request(f"/f/{path}")
        for path in paths:
            answer = wire.response()
            if path in BODIES:
                assert answer.status == 200 and answer.body == BODIES[path]
            else:
                assert answer.status == 404


def test_byte_by_byte(ours):
    with Wire(ours.port) as wire:
        for byte in b"GET /f/small HTTP/1.1\r\nHost: t\r\nRange: bytes=2-4\r\n\r\n":
            wire.send(bytes([byte]))
        assert wire.response().body == b"234"


def test_connection_close(ours):
    answer, = talk(ours, b"GET /f/small HTTP/1.1\r\nHost: t\r\nConnection: x, Close\r\n\r\n")
    assert answer.status == 200 and answer.get("Connection") == "close"


def test_http_1_0(ours):
    answer, = talk(ours, b"GET /f/small HTTP/1.0\r\n\r\n")
    assert answer.body == b"0123456789"
    with Wire(ours.port) as wire:
        for _ in range(2):
            wire.send(b"GET /f/small HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert wire.response().body == b"0123456789"


def test_half_close_still_gets_its_answer(ours):
    with Wire(ours.port) as wire:
        wire.request("/f/large")
        wire.socket.shutdown(1)
        assert wire.response().body == BODIES["large"]


def test_body_on_get_is_dropped(ours):
    with Wire(ours.port) as wire:
        wire.request("/f/small", {"Content-Length": "5"})
        wire.send(b"GET /")
        assert wire.response().body == b"0123456789"
        wire.request("/f/small", {"Transfer-Encoding": "chunked"})
        wire.send(b"5\r\nhello\r\n0\r\nTrailer: x\r\n\r\n")
        assert wire.response().body == b"0123456789"
        assert wire.request("/f/empty").response().body == b""


def test_expect_continue(ours):
    with Wire(ours.port) as wire:
        wire.request("/f/small", {"Expect": "100-continue", "Content-Length": "5"})
        assert wire.head().status == 100
        wire.send(b"hello")
        assert wire.response().body == b"0123456789"
    assert ask(ours.port, "/f/small", {"Expect": "tea"}).status == 417


# ---- limits ----


def test_limits(ours):
    assert ask(ours.port, "/f/" + "x" * 9000).status == 414
    assert ask(ours.port, "/f/small", {"X-Large": "x" * 70_000}).status == 431
    assert ask(ours.port, "/f/small", {f"X-{i}": "y" for i in range(120)}).status == 431
    assert ask(ours.port, "/f/small", {"Content-Length": "10485761"}).status == 413
    assert ask(ours.port, "/f/small", {"X-Fits": "x" * 60_000}).status == 200
    with Wire(ours.port) as wire:
        wire.request("/f/small", {"Transfer-Encoding": "chunked"})
        wire.send(b"A00001\r\n")
        assert wire.response().status == 413 and wire.ended()


def test_too_many_requests_at_once(origin, yatagarasu):
    gate = threading.Event()
    for key in ("0", "1", "ok"):
        origin.put(key, b"x" * 10)
    origin.held.update({"0": gate, "1": gate})
    started = yatagarasu([servers.s3_bucket("s", origin, timeout=30)], server={"max_concurrent_requests": 2})
    waiting = [Wire(started.port).request(f"/s/{i}") for i in range(2)]
    assert wait_until(lambda: started.metrics()["yatagarasu_requests_in_progress"] == 2)
    answer = ask(started.port, "/s/ok")
    assert answer.status == 503 and int(answer.get("Retry-After")) >= 1
    assert started.metrics()["concurrency_limit_rejections_total"] == 1
    gate.set()
    assert [w.response().status for w in waiting] == [200, 200]
    assert wait_until(lambda: ask(started.port, "/s/ok").status == 200)  # a client may see the end before the server does


def test_too_many_connections(tmp_path, yatagarasu):
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "k").write_text("x")
    started = yatagarasu([servers.file_bucket("f", tmp_path / "o")], server={"max_connections": 4, "threads": 1})
    open_ones = []
    while len(open_ones) < 4:  # a connection of the start may count for a moment yet
        wire = Wire(started.port)
        if wire.request("/f/k").response().status == 200:
            open_ones.append(wire)
        else:
            wire.close()
            time.sleep(0.05)
    with Wire(started.port) as wire:
        answer = wire.request("/f/k").response()
        assert answer.status == 503 and int(answer.get("Retry-After")) >= 1
    open_ones.pop().close()
    assert wait_until(lambda: ask(started.port, "/f/k").status == 200)


# ---- refused, and the connection closed: what two servers could read differently ----

SMUGGLED = b"GET /f/large HTTP/1.1\r\nHost: t\r\n\r\n"


@pytest.mark.parametrize("head,status", {
    "two lengths": (b"GET /f/small HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n", 400),
    "one length twice": (b"GET /f/small HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400),
    "length list": (b"GET /f/small HTTP/1.1\r\nHost: t\r\nContent-Length: 5, 5\r\n\r\nhello", 400),
    "length plus": (b"GET /f/small HTTP/1.1\r\nHost: t\r\nContent-Length: +5\r\n\r\nhello", 400),
    "length negative": (b"GET /f/small HTTP/1.1\r\nHost: t\r\nContent-Length: -1\r\n\r\n", 400),
    "length hex": (b"GET /f/small HTTP/1.1\r\nHost: t\r\nContent-Length: 0x5\r\n\r\nhello", 400),
    "length overflow": (b"GET /f/small HTTP/1.1\r\nHost: t\r\nContent-Length: 18446744073709551617\r\n\r\n", 400),
    "length and coding": (b"GET /f/small HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "unknown coding": (b"GET /f/small HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    "coding list": (b"GET /f/small HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
    "chunked twice": (b"GET /f/small HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "coding in 1.0": (b"GET /f/small HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "chunk size": (b"GET /f/small HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n", 400),
    "chunk end": (b"GET /f/small HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n", 400),
    "space before colon": (b"GET /f/small HTTP/1.1\r\nHost: t\r\nContent-Length : 5\r\n\r\nhello", 400),
    "folding": (b"GET /f/small HTTP/1.1\r\nHost: t\r\nX-A: b\r\n c\r\n\r\n", 400),
    "bare LF": (b"GET /f/small HTTP/1.1\nHost: t\n\n", 400),
    "bare LF in fields": (b"GET /f/small HTTP/1.1\r\nHost: t\r\nX: y\nContent-Length: 5\r\n\r\nhello", 400),
    "bare CR": (b"GET /f/small HTTP/1.1\r\nHost: t\r\nX: a\rb\r\n\r\n", 400),
    "NUL": (b"GET /f/small HTTP/1.1\r\nHost: t\r\nX: a\0b\r\n\r\n", 400),
    "control": (b"GET /f/small HTTP/1.1\r\nHost: t\r\nX: a\x01b\r\n\r\n", 400),
    "no colon": (b"GET /f/small HTTP/1.1\r\nHost: t\r\nnonsense\r\n\r\n", 400),
    "empty name": (b"GET /f/small HTTP/1.1\r\nHost: t\r\n: x\r\n\r\n", 400),
    "no host": (b"GET /f/small HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET /f/small HTTP/1.1\r\nHost: t\r\nHost: t\r\n\r\n", 400),
    "bad host": (b"GET /f/small HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    "two spaces": (b"GET  /f/small HTTP/1.1\r\nHost: t\r\n\r\n", 400),
    "space in target": (b"GET /f/small x HTTP/1.1\r\nHost: t\r\n\r\n", 400),
    "no version": (b"GET /f/small\r\nHost: t\r\n\r\n", 400),
    "version 2": (b"GET /f/small HTTP/2.0\r\nHost: t\r\n\r\n", 505),
    "version case": (b"GET /f/small http/1.1\r\nHost: t\r\n\r\n", 400),
    "tls": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "h2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "connect": (b"CONNECT /f/small HTTP/1.1\r\nHost: t\r\n\r\n", 400),
    "target without slash": (b"GET f/small HTTP/1.1\r\nHost: t\r\n\r\n", 400),
}.values(), ids=lambda v: None)
def test_refused_and_closed(ours, head, status):
    answer, = talk(ours, head + SMUGGLED)
    assert answer.status == status, f"{head!r}: {answer}"
    assert answer.get("Connection") == "close"


# ---- conditionals, in the order of RFC 9110 13.2.2 ----

OLD, NEW, SAME = (f"{d} GMT" for d in ("Sat, 12 Sep 2020 12:26:40", "Mon, 14 Sep 2020 12:26:40", "Sun, 13 Sep 2020 12:26:40"))


@pytest.mark.parametrize("headers,status", [
    ({"If-Match": "TAG"}, 200), ({"If-Match": "*"}, 200), ({"If-Match": '"x"'}, 412), ({"If-Match": '"x", TAG'}, 200), ({"If-Match": "W/TAG"}, 412),
    ({"If-Match": "TAG", "If-Unmodified-Since": OLD}, 200), ({"If-Match": '"x"', "If-Unmodified-Since": NEW}, 412),
    ({"If-Unmodified-Since": OLD}, 412), ({"If-Unmodified-Since": SAME}, 200), ({"If-Unmodified-Since": "nonsense"}, 200),
    ({"If-None-Match": "TAG"}, 304), ({"If-None-Match": "W/TAG"}, 304), ({"If-None-Match": "*"}, 304), ({"If-None-Match": '"x"'}, 200), ({"If-None-Match": '"x",TAG'}, 304),
    ({"If-None-Match": '"x"', "If-Modified-Since": NEW}, 200), ({"If-None-Match": "TAG", "If-Modified-Since": OLD}, 304),
    ({"If-Modified-Since": SAME}, 304), ({"If-Modified-Since": NEW}, 304), ({"If-Modified-Since": OLD}, 200), ({"If-Modified-Since": "nonsense"}, 200),
    ({"If-Match": '"x"', "If-None-Match": "TAG"}, 412), ({"If-Match": "TAG", "If-None-Match": "TAG"}, 304), ({"If-Unmodified-Since": OLD, "If-None-Match": "TAG"}, 412),
    ({"Range": "bytes=0-3"}, 206), ({"Range": "bytes=0-3", "If-Range": "TAG"}, 206), ({"Range": "bytes=0-3", "If-Range": '"x"'}, 200), ({"Range": "bytes=0-3", "If-Range": "W/TAG"}, 200),
    ({"Range": "bytes=0-3", "If-Range": SAME}, 206), ({"Range": "bytes=0-3", "If-Range": NEW}, 200), ({"Range": "bytes=0-3", "If-Range": OLD}, 200),
    ({"Range": "bytes=0-3", "If-None-Match": "TAG"}, 304), ({"Range": "bytes=99-", "If-None-Match": "TAG"}, 304), ({"Range": "bytes=99-", "If-Match": '"x"'}, 412),
    ({"Range": "bytes=99-"}, 416), ({"Range": "bytes=99-", "If-Range": '"x"'}, 200),
])
def test_conditionals(ours, headers, status):
    tag = ask(ours.port, "/f/small").get("ETag")
    headers = {n: v.replace("TAG", tag) for n, v in headers.items()}
    answer = ask(ours.port, "/f/small", headers)
    assert answer.status == status, f"{headers}: {answer}"
    if status == 304:
        assert answer.get("ETag") == tag and answer.body == b"" and answer.get("Content-Type") is None
    head_status = 200 if status in (206, 416) else status
    assert ask(ours.port, "/f/small", headers, "HEAD").status == head_status, "HEAD knows no ranges"


def test_several_ranges(ours):
    for _ in range(2):
        answer = ask(ours.port, "/f/large", {"Range": "bytes=0-9, 262140-262149, -5"})
        assert answer.status == 206
        boundary = re.fullmatch(r'multipart/byteranges; *boundary="?([^"]+)"?', answer.get("Content-Type"))[1].encode()
        parts = answer.body.split(b"--" + boundary)
        assert len(parts) == 5 and parts[4].strip() == b"--"
        for part, (first, last) in zip(parts[1:4], ((0, 9), (262140, 262149), (2 * MIB - 5, 2 * MIB - 1))):
            fields, _, bytes_ = part.partition(b"\r\n\r\n")
            assert f"content-range: bytes {first}-{last}/{2 * MIB}".encode() in fields.lower()
            assert bytes_.removesuffix(b"\r\n") == BODIES["large"][first:last + 1]


# ---- freshness: what the object says, then what the configuration says ----


@pytest.mark.parametrize("fields,ttl,second", [
    ({}, None, "HIT"), ({}, 0, "REVALIDATED"), ({}, 60, "HIT"),
    ({"Cache_Control": "max-age=60"}, 0, "HIT"), ({"Cache_Control": "max-age=0"}, 60, "REVALIDATED"), ({"Cache_Control": "no-cache"}, 60, "REVALIDATED"),
    ({"Cache_Control": "no-store"}, 60, "unstored"), ({"Cache_Control": "private, max-age=60"}, 60, "unstored"), ({"Cache_Control": "No-Store, max-age=60"}, 60, "unstored"),
    ({"Cache_Control": "s-maxage=60, max-age=0"}, 0, "HIT"), ({"Cache_Control": "s-maxage=0, max-age=60"}, 60, "REVALIDATED"), ({"Cache_Control": 'max-age="60"'}, 0, "HIT"),
    ({"Expires": date(3600)}, 0, "HIT"), ({"Expires": date(-3600)}, 60, "REVALIDATED"), ({"Expires": "0"}, 60, "REVALIDATED"),
    ({"Expires": date(-3600), "Cache_Control": "max-age=60"}, 0, "HIT"), ({"Cache_Control": "max-age=60", "Age": "100"}, 60, "REVALIDATED"),
    ({"Cache_Control": "public"}, 0, "REVALIDATED"), ({"Cache_Control": "max-age=nonsense"}, 60, "REVALIDATED"),
])
@pytest.mark.parametrize("size", [100, 300_000], ids=["inline", "chunks"])
def test_freshness(origin, yatagarasu, fields, ttl, second, size):
    body = os.urandom(size)
    origin.put("k", body, **fields)
    bucket = servers.s3_bucket("s", origin)
    if ttl is not None:
        bucket["cache"] = {"ttl_seconds": ttl}
    started = yatagarasu([bucket])
    first = ask(started.port, "/s/k")
    assert first.status == 200 and first.body == body and first.cache in (("BYPASS", "MISS") if second == "unstored" else ("MISS",))
    answer = ask(started.port, "/s/k")
    assert answer.status == 200 and answer.body == body
    asked = origin.asked("k")
    if second == "unstored":
        assert len(asked) == 2 and answer.cache in ("BYPASS", "MISS") and "If-None-Match" not in asked[1]
    else:
        assert answer.cache == second
        assert len(asked) == (1 if second == "HIT" else 2)
        assert second == "HIT" or asked[1]["If-None-Match"] == '"a"'


def test_expiry_and_what_a_304_brings(origin, yatagarasu):
    origin.put("k", b"hello", Cache_Control="max-age=1", x_amz_meta_a="old")
    started = yatagarasu([servers.s3_bucket("s", origin)])
    assert ask(started.port, "/s/k").cache == "MISS"
    time.sleep(2.1)
    origin.put("k", b"hello", Cache_Control="max-age=60", x_amz_meta_a="new")
    answer = ask(started.port, "/s/k")
    assert (answer.cache, answer.body, answer.get("x-amz-meta-a")) == ("REVALIDATED", b"hello", "new")
    answer = ask(started.port, "/s/k")
    assert (answer.cache, answer.get("x-amz-meta-a"), answer.get("Cache-Control")) == ("HIT", "new", "max-age=60")


def test_expired_and_replaced_or_gone(origin, yatagarasu):
    started = yatagarasu([{**servers.s3_bucket("s", origin), "cache": {"ttl_seconds": 0}}])
    origin.put("k", b"one")
    assert ask(started.port, "/s/k").body == b"one"
    origin.put("k", b"two, longer", ETag='"b"')
    answer = ask(started.port, "/s/k")
    assert answer.body == b"two, longer" and answer.get("ETag") == '"b"' and answer.cache == "STALE"
    del origin.objects["k"]
    assert ask(started.port, "/s/k").status == 404


def test_without_a_tag(origin, yatagarasu):
    """Nothing to revalidate by: fetched again when expired, and never in parts."""
    origin.put("k", b"x" * 300_000, ETag=None, Cache_Control="max-age=60")
    started = yatagarasu([servers.s3_bucket("s", origin)])
    assert ask(started.port, "/s/k").body == b"x" * 300_000
    answer = ask(started.port, "/s/k", {"Range": "bytes=10-19"})
    assert answer.status == 206 and answer.body == b"x" * 10 and answer.cache == "HIT"
    assert len(origin.asked("k")) == 1


def test_max_item_size(origin, yatagarasu):
    started = yatagarasu([{**servers.s3_bucket("s", origin), "cache": {"max_item_size_mb": 1}}])
    origin.put("large", b"x" * (MIB + 1))
    origin.put("fits", b"x" * MIB)
    for _ in range(2):
        assert len(ask(started.port, "/s/large").body) == MIB + 1
        assert len(ask(started.port, "/s/fits").body) == MIB
    assert len(origin.asked("large")) == 2 and len(origin.asked("fits")) == 1


def test_cache_switched_off(origin, yatagarasu):
    origin.put("k", b"hello")
    for keys in ({"cache": {"enabled": False}}, {}):
        bucket = servers.s3_bucket("s", origin)
        if not keys:
            bucket["cache"] = {"enabled": False}
        started = yatagarasu([bucket], **keys)
        origin.seen.clear()
        for _ in range(2):
            answer = ask(started.port, "/s/k")
            assert answer.body == b"hello" and answer.cache == "BYPASS"
        assert ask(started.port, "/s/k", {"Range": "bytes=1-2"}).body == b"el"
        assert len(origin.asked("k")) == 3


# ---- headers that tell the truth ----


def test_age_and_cache_status(origin, yatagarasu):
    body = os.urandom(600_000)
    origin.put("k", body, Cache_Control="max-age=100")
    started = yatagarasu([servers.s3_bucket("s", origin)])
    miss = ask(started.port, "/s/k", {"Range": "bytes=0-9"})
    assert miss.status == 206 and miss.cache == "MISS" and miss.get("Age") is None
    assert re.match(r"Yatagarasu; fwd=uri-miss; fwd-status=206; stored", miss.get("Cache-Status")), miss.get("Cache-Status")
    # The client has its ten bytes while the rest of their chunk may be on its way.
    assert wait_until(lambda: json.loads(started.admin("/admin/cache/info?key=s:k")[2]).get("chunks_stored") == 1)
    time.sleep(1.1)
    hit = ask(started.port, "/s/k", {"Range": "bytes=100-199"})
    assert hit.cache == "HIT" and hit.body == body[100:200] and 1 <= int(hit.get("Age")) < 50
    ttl = re.fullmatch(r"Yatagarasu; hit; ttl=(\d+); detail=memory", hit.get("Cache-Status"))
    assert ttl and int(ttl[1]) + int(hit.get("Age")) == 100
    partial = ask(started.port, "/s/k")
    assert partial.cache == "PARTIAL" and partial.body == body and "fwd=partial" in partial.get("Cache-Status")
    elsewhere = ask(started.port, "/s/k")
    assert elsewhere.cache == "HIT" and elsewhere.body == body
    fetched = sum(1 for fields in origin.asked("k"))
    assert fetched == 2, "a missing byte is fetched once"
    answers = (miss, hit, partial, elsewhere)
    lines = {line["id"]: (line["cache"], line["tier"], line["status"], line["bytes"]) for line in started.access_log(*answers)}
    lines = [lines[answer.get("X-Request-ID")] for answer in answers]
    assert lines[0] == ("MISS", "origin", 206, 10) and lines[1] == ("HIT", "memory", 206, 100)
    assert lines[2][0] == "PARTIAL" and lines[2][3] == 600_000 and lines[3] == ("HIT", "memory", 200, 600_000)


def test_a_head_alone_is_no_hit_of_the_body(origin, yatagarasu):
    origin.put("k", b"x" * 300_000)
    started = yatagarasu([servers.s3_bucket("s", origin)])
    assert ask(started.port, "/s/k", method="HEAD").cache == "MISS"
    assert ask(started.port, "/s/k", method="HEAD").cache == "HIT"
    assert ask(started.port, "/s/k").cache == "MISS"
    assert ask(started.port, "/s/k").cache == "HIT"


def test_hits_by_tier(origin, yatagarasu):
    body = os.urandom(3 * MIB)
    origin.put("k", body)
    origin.put("small", b"small")
    started = yatagarasu([servers.s3_bucket("s", origin)])
    started.wait_for_disk()
    for _ in range(2):
        assert ask(started.port, "/s/k").body == body
        assert ask(started.port, "/s/small").body == b"small"
    started.restart()
    started.wait_for_disk()
    disk = ask(started.port, "/s/k")
    assert disk.body == body and disk.cache == "HIT" and "detail=disk" in disk.get("Cache-Status")
    small = ask(started.port, "/s/small")
    assert small.cache == "HIT" and "detail=disk" in small.get("Cache-Status")
    memory = ask(started.port, "/s/small")
    assert "detail=memory" in memory.get("Cache-Status")
    hits = 'yatagarasu_cache_hits_by_bucket_layer_total{bucket="s",layer="%s"}'
    assert wait_until(lambda: [started.metrics()[hits % layer] for layer in ("disk", "memory")] == [2, 1])
    assert started.metrics()["http_requests_total"] == 3
    assert len(origin.asked("k")) == 1


def test_slow_head_is_ended(slow_head):
    """The last of this module: the request that began with it is ended by its deadline (30 s)."""
    slow_head.watch.join(60)
    assert not slow_head.watch.is_alive() and 29 < slow_head.seconds < 60
    assert slow_head.buffer == b"" or slow_head.buffer.startswith(b"HTTP/1.1 408 ")
