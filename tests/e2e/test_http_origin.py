"""A generic HTTP origin: requests with all methods and bodies pass to it, and its answers to the client, byte for byte where they are
the message, made anew where they are this connection's."""
import os
import re
import select
import threading
import time

import pytest

import raw_origin
import servers
from raw_origin import script
from wire import Wire, ask, wait_until

MIB = 1 << 20


def http_bucket(name, origin, prefix=None, base="", **keys):
    return {"name": name, "path_prefix": prefix or f"/{name}", "http": {"endpoint": origin.endpoint + base, "timeout": 30, **keys}}


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with raw_origin.RawOrigin() as origin:
        buckets = [http_bucket("w", origin),
                   http_bucket("base", origin, base="/base"),
                   http_bucket("plain", origin, forwarded="forwarded"),
                   http_bucket("off", origin, forwarded="off"),
                   http_bucket("host", origin, preserve_host=True),
                   http_bucket("query", origin, query={"sort": True, "drop": ["utm_*", "session"]}),
                   servers.s3_bucket("s3", origin)]
        ours = servers.Yatagarasu(tmp_path_factory.mktemp("http_origin"), buckets,
                                  server={"security_limits": {"max_body_size": 512 * MIB}},
                                 env={"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"})
        ours.start()
        yield ours, origin
        problems = ours.stop()
        assert not problems, problems


# ---- the request ----

@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "M-SEARCH", "get"])
def test_all_methods_pass(stage, method):
    ours, origin = stage
    answer = ask(ours.port, "/w/methods?x=1", method=method)
    assert answer.status == 200 and answer.body == (b"" if method == "HEAD" else b"0"), answer
    assert origin.last("/methods").line == f"{method} /methods?x=1 HTTP/1.1"


@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
def test_what_would_show_or_tunnel_does_not(stage, method):
    ours, origin = stage
    before = len(origin.seen)
    target = "localhost:80" if method == "CONNECT" else "/w/trace"
    assert ask(ours.port, target, method=method).status == 405
    assert len(origin.seen) == before


@pytest.mark.parametrize("target", ["/a%2Fb/%7e//c%20d", "/a?b=2&a=%31&&x=%zz", "/a?", "/%C3%A4+;p=1", "/"])
def test_target_and_query_are_passed_on_as_they_are(stage, target):
    ours, origin = stage
    assert ask(ours.port, "/w" + target).status == 200
    assert origin.seen[-1].line == f"GET {target} HTTP/1.1"
    assert ask(ours.port, "/base" + target).status == 200
    assert origin.seen[-1].line == f"GET /base{target} HTTP/1.1"


def test_dropped_parameters_are_not_asked_for(stage):
    ours, origin = stage
    assert ask(ours.port, "/query/q?b=1&utm_source=x&a=2&session=3").status == 200
    assert origin.seen[-1].line == "GET /q?b=1&a=2 HTTP/1.1"
    assert ask(ours.port, "/query/q?b=1&session=3", method="POST").status == 200
    assert origin.seen[-1].line == "POST /q?b=1&session=3 HTTP/1.1"


def test_fields_keep_order_repetition_and_spelling(stage):
    ours, origin = stage
    with Wire(ours.port) as wire:
        wire.send(b"GET /w/fields HTTP/1.1\r\nHost: shop\r\nx-FIRST:  1 \r\nCookie: a=b\r\nX-Twice: one\r\nACCEPT: */*;q=0.1\r\n"
                  b"X-Twice: two\r\nX-Empty:\r\nX-Latin: caf\xe9\r\nAuthorization: Basic eDp5\r\n\r\n")
        assert wire.response().status == 200
    fields = origin.last("/fields").fields
    assert fields == [("Host", f"127.0.0.1:{origin.port}"), ("x-FIRST", "1"), ("Cookie", "a=b"), ("X-Twice", "one"),
                      ("ACCEPT", "*/*;q=0.1"), ("X-Twice", "two"), ("X-Empty", ""), ("X-Latin", "caf\xe9"),
                      ("Authorization", "Basic eDp5"), ("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-Proto", "http"),
                      ("X-Forwarded-Host", "shop"), ("Via", "1.1 yatagarasu")]


def test_fields_of_one_connection_end_here(stage):
    ours, origin = stage
    headers = {"Connection": "keep-alive, X-Named", "X-Named": "1", "Keep-Alive": "timeout=5", "TE": "gzip", "Upgrade": "websocket",
               "Proxy-Authorization": "Basic eDp5", "Proxy-Connection": "x", "Trailer": "X-Sum", "X-Other": "2"}
    assert ask(ours.port, "/w/hop", headers).status == 200
    names = {name.lower() for name, _ in origin.last("/hop").fields}
    assert names == {"host", "x-other", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "via"}


def test_forwarded(stage):
    ours, origin = stage
    claims = {"X-Forwarded-For": "10.0.0.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil", "Forwarded": "for=10.0.0.2",
              "Host": "shop:81"}
    ask(ours.port, "/w/fwd", claims)
    seen = origin.last("/fwd")
    assert seen.all("X-Forwarded-For") == ["10.0.0.1, 127.0.0.1"]
    assert seen.all("X-Forwarded-Proto") == ["http"] and seen.all("X-Forwarded-Host") == ["shop:81"]
    assert seen.all("Forwarded") == []
    ask(ours.port, "/plain/fwd", claims)
    seen = origin.last("/fwd")
    assert seen.all("Forwarded") == ['for=10.0.0.2, for=127.0.0.1;host="shop:81";proto=http']
    assert not seen.all("X-Forwarded-For") and not seen.all("X-Forwarded-Proto")
    ask(ours.port, "/off/fwd", claims)
    seen = origin.last("/fwd")
    assert seen.all("X-Forwarded-For") == ["10.0.0.1"] and seen.all("Forwarded") == ["for=10.0.0.2"]


def test_via_and_host(stage):
    ours, origin = stage
    answer = ask(ours.port, "/host/via", {"Via": "1.0 fred", "Host": "shop:81"})
    seen = origin.last("/via")
    assert seen.all("Via") == ["1.0 fred", "1.1 yatagarasu"] and seen.all("Host") == ["shop:81"]
    assert answer.get("Via") == "1.1 yatagarasu"
    assert ask(ours.port, "/w/circle", {"Via": ", ".join(["1.1 yatagarasu"] * 9)}).status == 508
    assert origin.count("/circle") == 0


# ---- bodies of requests ----

def upload(wire, target, body, chunked, method="POST", pieces=1):
    head = f"{method} {target} HTTP/1.1\r\nHost: t\r\n"
    if not chunked:
        wire.send((head + f"Content-Length: {len(body)}\r\n\r\n").encode() + body)
        return
    wire.send((head + "Transfer-Encoding: chunked\r\n\r\n").encode())
    step = max(1, len(body) // pieces)
    for at in range(0, len(body), step):
        piece = body[at:at + step]
        wire.send(b"%x\r\n" % len(piece) + piece + b"\r\n")
    wire.send(b"0\r\n\r\n")


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [0, 1, 16383, 16384, 16385, 70000, 3 * MIB])
def test_bodies(stage, size, chunked):
    ours, origin = stage
    body = (bytes(range(251)) * (size // 251 + 1))[:size]
    for method in ["POST", "GET"]:
        with Wire(ours.port) as wire:
            upload(wire, "/w/body", body, chunked, method, pieces=7)
            assert wire.response().body == str(size).encode()
            upload(wire, "/w/body", b"again", chunked, method)  # the connection goes on
            assert wire.response().body == b"5"
        seen = [talk for talk in origin.seen if talk.line.startswith(method + " /body")][-2]
        assert seen.body == body
        assert seen.all("Transfer-Encoding") == (["chunked"] if chunked else [])
        assert seen.all("Content-Length") == ([] if chunked or (method, size) == ("GET", 0) else [str(size)])


def test_a_large_body_streams(stage):
    """100 MiB of unknown length through bounded memory, each way."""
    ours, origin = stage
    piece = b"x" * MIB

    def count(talk):
        talk.answer(str(talk.read_body(keep=False)).encode())

    def large(talk):
        talk.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(100):
            talk.send(b"100000\r\n" + piece + b"\r\n")
        talk.send("0\r\n\r\n")

    origin.scripts["/count"], origin.scripts["/large"] = count, large
    before = resident(ours)
    with Wire(ours.port) as wire:
        wire.send(b"POST /w/count HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(100):
            wire.send(b"100000\r\n" + piece + b"\r\n")
        wire.send(b"0\r\n\r\n")
        assert wire.response().body == str(100 * MIB).encode()
        wire.request("/w/large")
        time.sleep(1)  # nobody reads: the origin has to wait
        assert resident(ours) - before < 24 * MIB
        answer = wire.response()
        assert len(answer.body) == 100 * MIB and not answer.cut
    assert resident(ours) - before < 24 * MIB


def resident(ours):
    status = open(f"/proc/{ours.process.pid}/status").read()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024


def test_the_origin_sees_a_body_as_it_comes(stage):
    ours, origin = stage
    got = []

    def watch(talk):
        for _ in range(2):
            size = int(talk.take_line(), 16)
            got.append(talk.take(size + 2)[:size])
        talk.read_body()
        talk.answer()

    origin.scripts["/watch"] = watch
    with Wire(ours.port) as wire:
        wire.send(b"POST /w/watch HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        assert wait_until(lambda: got == [b"one"])
        wire.send(b"3\r\ntwo\r\n")
        assert wait_until(lambda: got == [b"one", b"two"])
        wire.send(b"0\r\n\r\n")
        assert wire.response().status == 200


def test_trailers_of_requests(stage):
    ours, origin = stage
    with Wire(ours.port) as wire:
        wire.send(b"PUT /w/trailers HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"
                  b"X-Sum: 5\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\nHost: evil\r\nAuthorization: x\r\ny: a b\r\n\r\n")
        assert wire.response().status == 200
    seen = origin.last("/trailers")
    assert seen.body == b"abc" and seen.framed == b"0\r\nX-Sum: 5\r\ny: a b\r\n\r\n"


CONTINUE_SECONDS = 0.9  # so long our client of the origin waits for its word; a little less


def test_continue_comes_from_the_origin(stage):
    ours, origin = stage
    asked, go = threading.Event(), threading.Event()

    def slow_yes(talk):
        asked.set()
        assert talk.all("Expect") == ["100-continue"]
        go.wait(60)
        talk.send("HTTP/1.1 100 Continue\r\n\r\n")
        talk.answer(str(talk.read_body()).encode())

    origin.scripts["/slow-yes"] = slow_yes

    def within_the_second():
        asked.clear()
        go.clear()
        began = time.monotonic()
        with Wire(ours.port) as wire:
            wire.request("/w/slow-yes", {"Content-Length": "2", "Expect": "100-continue"}, method="PUT")
            assert asked.wait(60)
            silent = not select.select([wire.socket], [], [], 0.3)[0]
            in_time = time.monotonic() - began < CONTINUE_SECONDS
            go.set()
            assert silent or not in_time
            assert wire.head().status == 100
            wire.send(b"hi")
            assert wire.response().body == b"2"
        return in_time

    assert any(within_the_second() for _ in range(5))


@pytest.mark.parametrize("status", ["403 No", "413 Large", "417 No"])
def test_the_origin_refuses_the_body(stage, status):
    ours, origin = stage

    def refuse(talk):
        talk.answer(b"no", status=status)
        talk.close()

    origin.scripts["/refuse"] = refuse

    def within_the_second():
        began = time.monotonic()
        with Wire(ours.port) as wire:
            wire.request("/w/refuse", {"Content-Length": "2", "Expect": "100-continue"}, method="PUT")
            first = wire.head().status
            if first == 100 and time.monotonic() - began >= CONTINUE_SECONDS:
                return False
            assert first == int(status[:3])  # and no 100
            assert wait_until(lambda: not wire.more())
        return True

    assert any(within_the_second() for _ in range(5))


def test_a_client_that_leaves_in_its_body(stage):
    """The origin must not take a part for the whole."""
    ours, origin = stage
    outcome = []

    def half(talk):
        try:
            talk.read_body()
            outcome.append("whole")
        except (EOFError, OSError):
            outcome.append("broken")
            raise

    for chunked in [False, True]:
        for reset in [False, True]:
            path = f"/half-{chunked}-{reset}"
            origin.scripts[path] = half
            wire = Wire(ours.port)
            framing = "Transfer-Encoding: chunked" if chunked else "Content-Length: 10"
            wire.send(f"POST /w{path} HTTP/1.1\r\nHost: t\r\n{framing}\r\n\r\n".encode() + (b"5\r\nhello\r\n" if chunked else b"hello"))
            assert wait_until(lambda: origin.count(path) == 1)
            time.sleep(0.1)
            wire.close(reset=reset)
            assert wait_until(lambda: outcome)
            assert outcome.pop() == "broken", path


@pytest.mark.parametrize("body", [b"x\r\n", b"5\r\nhelloX\r\n", b"5\r\nhello\r\n-1\r\n", b"5\r\nhello\r\n0\r\nbad trailer\r\n\r\n"])
def test_malformed_bodies_reach_nobody_whole(stage, body):
    ours, origin = stage
    origin.scripts["/malformed"] = lambda talk: talk.answer(str(talk.read_body()).encode())
    with Wire(ours.port) as wire:
        wire.send(b"POST /w/malformed HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
        assert wire.response().status == 400
        assert wire.ended()


# ---- the answer ----

def test_answers_keep_order_repetition_and_spelling(stage):
    ours, origin = stage
    origin.scripts["/answer"] = script(
        b"HTTP/1.1 404 Nope\r\nServer: x/1\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nset-COOKIE: a=1\r\nX-A:  1\r\nSet-Cookie: b=2\r\n"
        b"Age: 7\r\nVia: 1.0 fred\r\nConnection: close, X-Named\r\nX-Named: 1\r\nKeep-Alive: x\r\nContent-Length: 2\r\nX-Z: caf\xe9\r\n"
        b"\r\nno")
    answer = ask(ours.port, "/w/answer")
    assert answer.status == 404 and answer.body == b"no"
    fields = [f for f in answer.fields if f[0] not in ("X-Cache", "Cache-Status", "X-Request-ID", "Age")]
    assert fields == [
        ("Server", "x/1"), ("set-COOKIE", "a=1"), ("X-A", "1"), ("Set-Cookie", "b=2"), ("Via", "1.0 fred"), ("X-Z", "caf\xe9"),
        ("Date", "Sun, 06 Nov 1994 08:49:37 GMT"), ("Via", "1.1 yatagarasu"), ("Content-Length", "2")]
    assert int(answer.get("Age")) >= 7 and answer.cache == "BYPASS"
    answer = ask(ours.port, "/w/answer", method="POST")
    assert [f for f in answer.fields if f[0] not in ("X-Cache", "Cache-Status", "X-Request-ID")] == [
        ("Server", "x/1"), ("Date", "Sun, 06 Nov 1994 08:49:37 GMT"), ("set-COOKIE", "a=1"), ("X-A", "1"), ("Set-Cookie", "b=2"),
        ("Age", "7"), ("Via", "1.0 fred"), ("X-Z", "caf\xe9"), ("Via", "1.1 yatagarasu"), ("Content-Length", "2")]


def test_date_is_added_where_the_origin_has_none(stage):
    ours, _ = stage
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", ask(ours.port, "/w/dateless").get("Date"))


@pytest.mark.parametrize("status", [201, 202, 204, 205, 206, 301, 302, 304, 307, 400, 401, 404, 409, 418, 429, 451, 500, 502, 503, 504])
def test_statuses_pass(stage, status):
    ours, origin = stage
    bodiless = status in (204, 304)
    origin.scripts["/status"] = script(f"HTTP/1.1 {status} Own words\r\nX-S: 1\r\n" + (
        "\r\n" if bodiless else "Content-Length: 3\r\n\r\nabc"), close=False)
    answer = ask(ours.port, "/w/status")
    assert answer.status == status and answer.get("X-S") == "1" and answer.body == (b"" if bodiless else b"abc")


def test_interim_answers(stage):
    ours, origin = stage
    origin.scripts["/hints"] = script(
        "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nLink: </b>\r\n\r\n"
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    with Wire(ours.port) as wire:
        wire.request("/w/hints")
        assert wire.head().status == 102
        hints = wire.head()
        assert hints.status == 103 and hints.fields == [("Link", "</a.css>; rel=preload"), ("Link", "</b>")]
        assert wire.response().body == b"ok"
    with Wire(ours.port) as wire:  # HTTP/1.0 knows none
        wire.request("/w/hints", version="1.0")
        assert wire.head().status == 200


FRAMINGS = {
    "length": ("Content-Length: 10\r\n\r\n", b"0123456789"),
    "chunked": ("Transfer-Encoding: chunked\r\n\r\n", b"4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n"),
    "close": ("\r\n", b"0123456789"),
}


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("framing", FRAMINGS)
def test_framings(stage, framing, version):
    ours, origin = stage
    head, body = FRAMINGS[framing]
    origin.scripts["/framing"] = script("HTTP/1.1 200 OK\r\n" + head, body)
    with Wire(ours.port) as wire:
        wire.request("/w/framing", version=version)
        answer = wire.response()
    assert answer.body == b"0123456789" and not answer.cut
    if framing == "length":
        assert answer.get("Content-Length") == "10"
    elif version == "1.1":
        assert answer.get("Transfer-Encoding") == "chunked"
    else:
        assert answer.get("Transfer-Encoding") is None and answer.get("Connection") == "close"


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("framing", FRAMINGS)
def test_answers_that_are_cut_are_cut_for_the_client(stage, framing, version):
    ours, origin = stage
    head, body = FRAMINGS[framing]
    begun = threading.Event()

    def cut(talk):
        talk.send("HTTP/1.1 200 OK\r\n" + head)
        talk.send(body[:7])
        begun.wait(20)
        talk.reset()

    origin.scripts["/cut"] = cut
    for _ in range(2):
        begun.clear()
        with Wire(ours.port) as wire:
            wire.request("/w/cut", version=version).begun()
            begun.set()
            assert wire.response().cut


def test_answers_come_as_they_come(stage):
    ours, origin = stage
    go = threading.Event()

    def slow(talk):
        talk.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        go.wait(60)
        go.clear()
        talk.send("3\r\none\r\n")
        go.wait(60)
        talk.send("3\r\ntwo\r\n0\r\n\r\n")

    origin.scripts["/slow"] = slow
    with Wire(ours.port) as wire:
        wire.request("/w/slow")
        assert wire.head().status == 200  # before any byte of the body
        go.set()
        assert wire.read(8) == b"3\r\none\r\n"
        go.set()
        assert wire.read(13) == b"3\r\ntwo\r\n0\r\n\r\n"


def test_trailers_of_answers(stage):
    ours, origin = stage
    origin.scripts["/sums"] = script("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"
                                     "X-Sum: 5\r\nContent-Length: 9\r\nSet-Cookie: x\r\n\r\n", close=False)
    with Wire(ours.port) as wire:
        wire.request("/w/sums", {"TE": "trailers", "Connection": "TE"})
        assert wire.head().get("Transfer-Encoding") == "chunked"
        assert wire.read(23) == b"3\r\nabc\r\n0\r\nX-Sum: 5\r\n\r\n"
        seen = origin.last("/sums")
        assert seen.all("TE") == ["trailers"] and seen.all("Connection") == ["TE"]
        wire.request("/w/sums")  # who does not ask gets none
        assert wire.response().body == b"abc"


def test_nonsense_is_502(stage):
    ours, origin = stage
    for nonsense in ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
                     "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
                     "HTTP/1.1 200 OK\r\nX: a\r\n folded\r\nContent-Length: 2\r\n\r\nok",
                     "HTTP/1.1 200 OK\r\nBad Name: a\r\nContent-Length: 2\r\n\r\nok",
                     "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
                     "nonsense\r\n\r\n", ""]:
        origin.scripts["/nonsense"] = script(nonsense)
        assert ask(ours.port, "/w/nonsense", method="POST").status == 502, nonsense


def test_what_has_effects_is_sent_once(stage):
    ours, origin = stage
    origin.scripts["/dies"] = lambda talk: (talk.read_body(), talk.close())
    for method in ["POST", "PUT", "DELETE", "PATCH"]:
        before = origin.count("/dies")
        assert ask(ours.port, "/w/dies", method=method).status == 502
        assert origin.count("/dies") - before == 1, method
    before = origin.count("/dies")
    assert ask(ours.port, "/w/dies").status == 502
    assert origin.count("/dies") - before >= 3


def test_conditions_and_ranges_pass_where_nothing_is_stored(stage):
    ours, origin = stage
    origin.scripts["/part"] = script("HTTP/1.1 206 Partial\r\nContent-Range: bytes 2-4/10\r\nContent-Length: 3\r\n\r\n234", close=False)
    answer = ask(ours.port, "/w/part", {"Range": "bytes=2-4", "If-Range": '"a"', "Authorization": "x"})
    assert answer.status == 206 and answer.body == b"234" and answer.get("Content-Range") == "bytes 2-4/10"
    assert origin.last("/part").all("Range") == ["bytes=2-4"] and origin.last("/part").all("If-Range") == ['"a"']


def test_pipelined_requests_with_bodies(stage):
    """What follows a body is the next request, whatever it looks like."""
    ours, origin = stage
    body = b"GET /w/smuggled HTTP/1.1\r\nHost: t\r\n\r\n"
    one = b"POST /w/one HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    two = b"POST /w/two HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
    with Wire(ours.port) as wire:
        wire.send(one + two + one)
        for _ in range(3):
            assert wire.response().body == str(len(body)).encode()
    assert origin.count("/smuggled") == 0


# ---- what is stored ----

FRESH = ("Cache-Control", "max-age=86400")


def counted(origin, path, body=b"0123456789", fields=(FRESH,), status="200 OK"):
    origin.scripts[path] = lambda talk: (talk.read_body(), talk.answer(body, fields, status))


def test_fresh_answers_are_stored(stage):
    ours, origin = stage
    counted(origin, "/stored", fields=[FRESH, ("Date", "Sun, 06 Nov 2033 08:49:37 GMT"), ("x-ODD", "1"), ("X-Odd", "2"), ("Via", "1.0 f")])
    first, second = ask(ours.port, "/w/stored?a=1"), ask(ours.port, "/w/stored?a=1")
    assert (first.cache, second.cache) == ("MISS", "HIT") and origin.count("/stored") == 1
    own = ("X-Cache", "Cache-Status", "X-Request-ID", "Age")
    assert [f for f in first.fields if f[0] not in own] == [f for f in second.fields if f[0] not in own]
    assert [f for f in second.fields if f[0].lower() == "x-odd"] == [("x-ODD", "1"), ("X-Odd", "2")]
    assert [v for n, v in second.fields if n == "Via"] == ["1.0 f", "1.1 yatagarasu"]
    assert second.get("Date") == "Sun, 06 Nov 2033 08:49:37 GMT" and second.get("Age") is not None
    assert second.body == first.body == b"0123456789"
    head = ask(ours.port, "/w/stored?a=1", method="HEAD")
    assert head.cache == "HIT" and head.get("Content-Length") == "10"
    part = ask(ours.port, "/w/stored?a=1", {"Range": "bytes=2-4"})
    assert part.status == 206 and part.body == b"234" and part.cache == "HIT"
    assert origin.count("/stored") == 1


@pytest.mark.parametrize("what", ["no freshness", "no-store", "private", "vary", "cookie", "authorization", "body"])
def test_others_are_not(stage, what):
    ours, origin = stage
    path = "/unstored-" + what.replace(" ", "-")
    fields = {"no freshness": [], "no-store": [("Cache-Control", "no-store, max-age=9")],
              "private": [("Cache-Control", "private, max-age=9")], "vary": [FRESH, ("Vary", "*")],
              "cookie": [FRESH, ("Set-Cookie", "a=1")]}.get(what, [FRESH])
    counted(origin, path, fields=fields, status="200 OK")
    headers = {"Authorization": "Basic x"} if what == "authorization" else {}
    for _ in range(3):
        with Wire(ours.port) as wire:
            if what == "body":
                upload(wire, "/w" + path, b"body", False, "GET")
            else:
                wire.request("/w" + path, headers)
            answer = wire.response()
        assert answer.body == b"0123456789" and answer.cache == "BYPASS", answer
        if what == "cookie":
            assert answer.get("Set-Cookie") == "a=1"
    assert origin.count(path) == 3


@pytest.mark.parametrize("framing", ["chunked", "close"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_answers_without_a_length_are_stored_once_complete(stage, framing, version):
    ours, origin = stage
    path = f"/open-{framing}-{version}"
    head, body = FRAMINGS[framing]
    whole = script("HTTP/1.1 200 OK\r\nCache-Control: max-age=100\r\n" + head, body)
    begun = threading.Event()

    def cut_first(talk):
        if origin.count(path) > 1:
            whole(talk)
            return
        talk.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=100\r\n" + head)
        talk.send(body[:7])
        begun.wait(20)
        talk.reset()

    origin.scripts[path] = cut_first
    for cut, cache in [(True, "MISS"), (False, "MISS"), (False, "HIT")]:
        with Wire(ours.port) as wire:
            wire.request("/w" + path, version=version).begun()
            begun.set()
            answer = wire.response()
        assert answer.cut == cut and answer.cache == cache
        assert cut or answer.body == b"0123456789"
    assert origin.count(path) == 2


def test_many_ask_once(stage):
    ours, origin = stage
    origin.scripts["/crowd"] = lambda talk: (time.sleep(0.3), talk.answer(b"x" * 100000, [FRESH, ("ETag", '"a"')]))
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(ask(ours.port, "/w/crowd"))) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(a.body) for a in answers] == [100000] * 10 and origin.count("/crowd") == 1


def test_equivalent_targets_share_a_key_and_others_do_not(stage):
    ours, origin = stage
    counted(origin, "/key/~a")
    counted(origin, "/key/%7Ea")
    for target in ["/w/key/~a?x=1", "/w/key/%7ea?x=1", "/w/%6bey/%7Ea?%78=1"]:
        ask(ours.port, target)
    assert origin.count("/key/~a") + origin.count("/key/%7Ea") == 1
    counted(origin, "/slash/a")
    counted(origin, "/slash%2Fa")
    for target in ["/w/slash/a", "/w/slash%2Fa", "/w/slash/a?", "/w/slash/a?b", "/w/slash/a?B"]:
        assert ask(ours.port, target).cache == "MISS", target
    counted(origin, "/keyed")
    for target, cache in [("?b=1&a=2&utm_x=3", "MISS"), ("?a=2&session=9&b=1", "HIT"), ("?a=2&b=1&b=2", "MISS"), ("?b=2&a=2&b=1", "MISS")]:
        assert ask(ours.port, "/query/keyed" + target).cache == cache, target


def test_a_kept_host_is_a_part_of_the_key(stage):
    ours, origin = stage
    counted(origin, "/hosts")
    for host, cache in [("a.example", "MISS"), ("A.example", "HIT"), ("b.example", "MISS")]:
        assert ask(ours.port, "/host/hosts", {"Host": host}).cache == cache


def test_what_the_key_does_not_know_does_not_poison(stage):
    """An origin that builds its links from what it is told of the host, and follows fields that steer."""
    ours, origin = stage
    names = ["X-Forwarded-Host", "X-Host", "X-Original-URL", "X-HTTP-Method-Override"]
    origin.scripts["/links"] = lambda talk: talk.answer(repr([talk.all(n) for n in names]).encode(), [FRESH])
    for bucket in ["w", "plain", "off", "host"]:
        for evil in [{"Host": "evil"}, {"X-Forwarded-Host": "evil"}, {"Forwarded": "host=evil"}, {"X-Host": "evil"},
                     {"X-Original-URL": "/evil"}, {"X-HTTP-Method-Override": "EVIL"}]:
            ask(ours.port, f"/{bucket}/links", evil)
            assert b"evil" not in ask(ours.port, f"/{bucket}/links").body.lower(), (bucket, evil)
        assert ask(ours.port, f"/{bucket}/links").cache == "HIT"


def test_ranges_from_an_origin_that_does_them_or_not(stage):
    ours, origin = stage
    body = bytes(range(256)) * 4096  # 1 MiB

    def ranged(talk):
        wanted = talk.all("Range")
        if not wanted:
            talk.answer(body, [FRESH, ("ETag", '"a"')])
            return
        first, last = wanted[0].removeprefix("bytes=").split("-")
        first, last = int(first), min(int(last or len(body)), len(body) - 1)
        talk.answer(body[first:last + 1], [FRESH, ("ETag", '"a"'), ("Content-Range", f"bytes {first}-{last}/{len(body)}")],
                    "206 Partial")

    origin.scripts["/ranged"] = ranged
    counted(origin, "/ignores", body, [FRESH, ("ETag", '"a"')])
    for path in ["/ranged", "/ignores"]:
        for first, last in [(300000, 300009), (0, 9), (1048570, 1048575)]:
            answer = ask(ours.port, "/w" + path, {"Range": f"bytes={first}-{last}"})
            assert answer.status == 206 and answer.body == body[first:last + 1], (path, answer)
        assert ask(ours.port, "/w" + path).body == body
    assert ask(ours.port, "/w/ranged", {"Range": "bytes=5-9"}).cache == "HIT"


def test_stale_answers_are_asked_about(stage):
    ours, origin = stage

    def tagged(talk):
        if talk.all("If-None-Match") == ['"a"']:
            talk.send("HTTP/1.1 304 Same\r\nCache-Control: max-age=0\r\nETag: \"a\"\r\nX-New: 1\r\n\r\n")
        else:
            talk.answer(b"0123456789", [("Cache-Control", "max-age=0"), ("ETag", '"a"')])

    origin.scripts["/tagged"] = tagged
    ask(ours.port, "/w/tagged")
    answer = ask(ours.port, "/w/tagged")
    assert answer.cache == "REVALIDATED" and answer.body == b"0123456789" and answer.get("X-New") == "1"
    assert ask(ours.port, "/w/tagged", {"If-None-Match": '"a"'}).status == 304


# ---- unsafe methods ----

def test_unsafe_methods_invalidate(stage):
    ours, origin = stage
    counted(origin, "/item")
    counted(origin, "/list")
    counted(origin, "/other")

    def fill():
        for path in ["/item?x=1", "/list", "/other"]:
            ask(ours.port, "/w" + path)
            assert ask(ours.port, "/w" + path).cache == "HIT"

    def caches():
        return [ask(ours.port, "/w" + path).cache for path in ["/item?x=1", "/list", "/other"]]

    def post(fields, status="200 OK", method="POST", path="/item?x=1"):
        fill()
        script_before = origin.scripts["/item"]
        origin.scripts["/item"] = lambda talk: (talk.read_body(), talk.answer(b"", fields, status))
        ask(ours.port, "/w" + path, method=method)
        origin.scripts["/item"] = script_before
        return caches()

    assert post([]) == ["MISS", "HIT", "HIT"]
    assert post([], method="DELETE", status="204 None") == ["MISS", "HIT", "HIT"]
    assert post([], method="PROPFIND") == ["MISS", "HIT", "HIT"]
    assert post([], status="500 No") == ["HIT", "HIT", "HIT"]
    assert post([], status="404 No") == ["HIT", "HIT", "HIT"]
    assert post([], method="OPTIONS") == ["HIT", "HIT", "HIT"]
    assert post([("Location", "/list")], status="201 Made") == ["MISS", "MISS", "HIT"]
    assert post([("Content-Location", "/w/list")]) == ["MISS", "MISS", "HIT"]
    assert post([("Location", f"{origin.endpoint}/list")], status="303 See") == ["MISS", "MISS", "HIT"]
    assert post([("Location", "http://test/w/list")], status="303 See") == ["MISS", "MISS", "HIT"]
    assert post([("Location", "http://elsewhere/w/list")], status="303 See") == ["MISS", "HIT", "HIT"]
    assert post([], path="/item?x=2") == ["HIT", "HIT", "HIT"]
    for reference in "list", "./list", "../list", "x/../list", "/list#made", "list#made":
        assert post([("Location", reference)], status="201 Made") == ["MISS", "MISS", "HIT"], reference
    for reference in "x/list", "list/", "?list", "#list", "", ":list", "urn:list", "//elsewhere/list", "...", "%zz":
        assert post([("Location", reference)], status="201 Made") == ["MISS", "HIT", "HIT"], reference


def test_what_is_being_fetched_is_outdated_too(stage):
    ours, origin = stage
    asked, go = threading.Event(), threading.Event()

    def slow(talk):
        talk.read_body()
        if talk.line.startswith("POST"):
            talk.answer()
            return
        talk.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=100\r\nContent-Length: 10\r\n\r\n01234")
        asked.set()
        go.wait(60)
        talk.send("56789")

    origin.scripts["/racing"] = slow
    with Wire(ours.port) as wire:
        wire.request("/w/racing")
        assert asked.wait(60)
        assert ask(ours.port, "/w/racing", method="POST").status == 200
        go.set()
        assert wire.response().body == b"0123456789"
    assert ask(ours.port, "/w/racing").cache == "MISS"
    assert ask(ours.port, "/w/racing").cache == "HIT"


def test_unreachable_and_silent_origins(yatagarasu):
    port = servers.free_port()
    with raw_origin.RawOrigin() as origin:
        over = threading.Event()
        origin.scripts["/silent"] = lambda talk: over.wait(120)
        buckets = [{"name": "gone", "path_prefix": "/gone", "http": {"endpoint": f"http://127.0.0.1:{port}"}},
                   http_bucket("w", origin, timeout=1)]
        ours = yatagarasu(buckets)
        assert ask(ours.port, "/gone/x", method="POST").status == 502
        assert ask(ours.port, "/w/silent").status == 504
        over.set()


def test_s3_buckets_are_as_they_were(stage):
    ours, _ = stage
    assert ask(ours.port, "/s3/x", method="POST").status == 405
    assert ask(ours.port, "/s3/x", method="OPTIONS").status == 204
    assert ask(ours.port, "/nowhere", method="POST").status == 405
