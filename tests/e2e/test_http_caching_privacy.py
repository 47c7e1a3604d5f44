"""A generic HTTP origin answers each client by what that client sends. Nothing of it reaches another, unless the answer says that it may; and no
client decides what others get. By sections of RFC 9111 where one has the rule."""
import threading
import time

import pytest

import raw_origin
from scripted import date
from wire import Wire, ask, wait_until

FRESH = {"Cache-Control": "max-age=60"}


@pytest.fixture
def start(yatagarasu, origin):
    def started(**http):
        cache = http.pop("cache", {})
        return yatagarasu([{"name": "h", "path_prefix": "/h", "http": {"endpoint": origin.endpoint + "/o", "timeout": 20, **http}, "cache": cache}])

    return started


def get(ours, key, **headers):
    return ask(ours.port, f"/h/{key}", {name.replace("_", "-"): value for name, value in headers.items()})


def told(fields):
    """Tells each client what it was asked with."""
    return lambda request: (200, f"for {request.headers.get('Cookie')}".encode() * 2000, {"ETag": f'"{request.headers.get("Cookie")}"', **fields})


def joined(ours, count):
    return wait_until(lambda: ours.metrics()["yatagarasu_flights_joined_total"] == count)


PERSONAL = [
    ("private", {"Cache-Control": "private, max-age=60"}),
    ("no-store", {"Cache-Control": "no-store"}),
    ("no-cache", {"Cache-Control": "no-cache"}),
    ("max-age 0", {"Cache-Control": "max-age=0"}),
    ("nothing said", {}),
    ("nothing said, no validator", {"ETag": None}),
    ("heuristics", {"Last-Modified": date(-100_000)}),
    ("Set-Cookie", {**FRESH, "Set-Cookie": "id=1"}),
    ("Vary", {**FRESH, "Vary": "Cookie"}),
    ("Vary *", {**FRESH, "Vary": "*"}),
]


@pytest.mark.parametrize("name,fields", PERSONAL, ids=[name for name, _ in PERSONAL])
def test_4_who_waits_for_anothers_fetch(start, origin, name, fields):
    """Requests collapse only as far as the answer may be used again."""
    ours = start()
    origin.objects["k"] = told(fields)
    origin.held["k"] = threading.Event()
    wires = {"a": Wire(ours.port).request("/h/k", {"Cookie": "a"})}
    assert wait_until(lambda: len(origin.asked("k")) == 1)
    wires.update({who: Wire(ours.port).request("/h/k", {"Cookie": who}) for who in "bc"})
    assert joined(ours, 2)
    origin.held["k"].set()
    for who, wire in wires.items():
        answer = wire.response()
        assert answer.status == 200 and answer.body == f"for {who}".encode() * 2000, answer


def test_4_when_the_client_that_led_is_gone(yatagarasu, origin):
    """Who joined its fetch, and is the first that waits for it now, does not inherit its answer."""
    ours = yatagarasu([{"name": "h", "path_prefix": "/h", "http": {"endpoint": origin.endpoint + "/o", "timeout": 60}}], server={"request_timeout": 20})
    origin.objects["k"] = told({"Cache-Control": "private"})
    origin.held["k"] = threading.Event()
    leader = Wire(ours.port).request("/h/k", {"Cookie": "a"})
    assert wait_until(lambda: len(origin.asked("k")) == 1)
    time.sleep(2)
    waiter = Wire(ours.port).request("/h/k", {"Cookie": "b"})
    assert joined(ours, 1)
    assert leader.response().status == 504
    origin.held["k"].set()
    answer = waiter.response()
    assert (answer.status, answer.body) == (200, b"for b" * 2000) or answer.status == 504, answer


def test_4_what_may_be_used_again_is_shared(start, origin):
    ours = start()
    origin.objects["k"] = told(FRESH)
    origin.held["k"] = threading.Event()
    wires = [Wire(ours.port).request("/h/k", {"Cookie": "a"})]
    assert wait_until(lambda: len(origin.asked("k")) == 1)
    wires += [Wire(ours.port).request("/h/k", {"Cookie": who}) for who in "bc"]
    assert joined(ours, 2)
    origin.held["k"].set()
    assert {wire.response().body for wire in wires} == {b"for a" * 2000}
    assert len(origin.asked("k")) == 1


def test_4_3_each_client_validates_for_itself(start, origin):
    """A 304 to one says nothing to another where the answer must be asked about each time."""
    ours = start()
    origin.objects["k"] = lambda request: (
        304 if request.headers.get("If-None-Match") == f'"{request.headers["Cookie"]}"' else 200, request.headers["Cookie"].encode() * 500,
        {"Cache-Control": "no-cache", "ETag": f'"{request.headers["Cookie"]}"'})
    assert get(ours, "k", Cookie="a").body == b"a" * 500
    origin.held["k"] = threading.Event()
    wires = {who: Wire(ours.port).request("/h/k", {"Cookie": who}) for who in "abc"}
    assert wait_until(lambda: len(origin.asked("k")) == 4)
    origin.held["k"].set()
    for who, wire in wires.items():
        assert wire.response().body == who.encode() * 500


def test_4_3_4_a_cookie_with_a_304_is_for_one(start, origin):
    ours = start()
    origin.objects["k"] = lambda request: (
        304 if request.headers.get("If-None-Match") else 200, b"k" * 5000,
        {**FRESH, "ETag": '"k"', **({"Set-Cookie": request.headers["Cookie"]} if request.headers.get("Cookie") else {})})
    assert get(ours, "k").cache == "MISS"
    assert ours.admin("/admin/cache/purge/h/k", {"Content-Type": "application/json"}, "POST", '{"soft": true}')[0] == 200
    origin.held["k"] = threading.Event()
    leader = Wire(ours.port).request("/h/k", {"Cookie": "id=a"})
    assert wait_until(lambda: len(origin.asked("k")) == 2)
    waiter = Wire(ours.port).request("/h/k", {"Cookie": "id=b"})
    assert joined(ours, 1)
    origin.held["k"].set()
    for who, wire in ("a", leader), ("b", waiter):
        answer = wire.response()
        assert answer.body == b"k" * 5000 and answer.get("Set-Cookie") == f"id={who}", answer
    assert get(ours, "k").get("Set-Cookie") is None


def test_4_3_4_a_304_for_something_else_changes_nothing(start, origin):
    ours = start()
    origin.objects["k"] = (b"old" * 100, {**FRESH, "Age": "100", "ETag": '"old"'})
    assert get(ours, "k").cache == "MISS"
    origin.objects["k"] = lambda request: (304 if request.headers.get("If-None-Match") else 200, b"new" * 100, {**FRESH, "ETag": '"new"', "X-New": "1"})
    answer = get(ours, "k")
    assert answer.status == 200 and answer.body == b"new" * 100 and answer.get("ETag") == '"new"'


AUTHORIZED = [  # what the answer says; whether it is stored for others
    ({"Cache-Control": "max-age=60"}, False),
    ({"Cache-Control": "max-age=60, public"}, True),
    ({"Cache-Control": "s-maxage=60"}, True),
    ({"Cache-Control": "max-age=60, must-revalidate"}, True),
    ({"Cache-Control": "max-age=60, proxy-revalidate"}, False),
    ({"Last-Modified": date(-100_000)}, False),
]


@pytest.mark.parametrize("fields,shared", AUTHORIZED, ids=[str(list(fields.values())[0]) for fields, _ in AUTHORIZED])
def test_3_5_authorization(start, origin, fields, shared):
    ours = start()
    origin.objects["k"] = lambda request: (200, (request.headers.get("Authorization") or "all").encode(), fields)
    assert get(ours, "k", Authorization="Basic one").body == b"Basic one"
    assert get(ours, "k", Authorization="Basic two").body == (b"Basic one" if shared else b"Basic two")
    assert get(ours, "k").body == (b"Basic one" if shared else b"all")
    assert get(ours, "k", Authorization="Basic two").body == (b"Basic one" if shared else b"Basic two"), "what was stored for all"
    assert get(ours, "k").cache == "HIT"


def test_cookies_and_heuristics(start, origin):
    """Chosen: where a request had a cookie, its answer is stored only if it says a time or `public`; without a tag, a time ahead."""
    ours = start()
    origin.objects["guess"] = told({"Last-Modified": date(-100_000)})
    origin.objects["told"] = told({"Last-Modified": date(-100_000), **FRESH})
    origin.objects["dated"] = lambda request: (
        304 if request.headers.get("If-Modified-Since") else 200, f"for {request.headers.get('Cookie')}".encode() * 2000,
        {"Last-Modified": date(-100_000), "Cache-Control": "max-age=0", "ETag": None})
    for key, bodies in ("guess", "ab"), ("told", "aa"), ("dated", "ab"):
        assert [get(ours, key, Cookie=who).body for who in "ab"] == [f"for {who}".encode() * 2000 for who in bodies]


def test_4_1_vary_by_what_we_tell_the_origin(start, origin):
    """The client's address is in no field of the client's."""
    ours = start()
    origin.objects["k"] = lambda request: (200, request.headers["X-Forwarded-For"].encode(), {**FRESH, "Vary": "X-Forwarded-For"})
    for who in {"X_Forwarded_For": "192.0.2.1"}, {"X_Forwarded_For": "192.0.2.2"}, {}:
        assert [get(ours, "k", **who).cache for _ in range(2)] == ["MISS", "HIT"]
        assert get(ours, "k", **who).body.decode() == ", ".join([*who.values(), "127.0.0.1"])


EVIL = [("Host", "evil.example"), ("X-Forwarded-Host", "evil"), ("X_Forwarded_Host", "evil"), ("X-Forwarded-Proto", "evil"), ("X-Forwarded-Port", "666"),
        ("x-forwarded-prefix", "/evil"), ("Forwarded", "for=1;host=evil"), ("Forwarded", "proto=evil, for=1"), ("X-Host", "evil"), ("X-Original-URL", "/evil"),
        ("X-Original-Host", "evil"), ("X-Rewrite-URL", "/evil"), ("X-HTTP-Method-Override", "EVIL"), ("X_HTTP_Method_Override", "EVIL"),
        ("X-HTTP-Host-Override", "evil"), ("X-Method-Override", "EVIL"), ("X-URL-Scheme", "evil"), ("Front-End-Https", "evil")]


@pytest.mark.parametrize("http", [{}, {"forwarded": "forwarded"}, {"forwarded": "off"}, {"preserve_host": True}], ids=str)
def test_no_client_decides_what_others_get(start, origin, http):
    """An origin that follows all that frameworks follow past the target."""
    ours = start(**http)
    names = {name.lower() for name, _ in EVIL}

    def follow(request):
        seen = sorted((n.lower(), v) for n, v in request.headers.items() if n.lower() in names)
        return 200, repr([(n, v.replace(str(request.server.server_port), "")) for n, v in seen]).encode(), FRESH

    origin.objects["k"] = follow
    clean = None
    for name, value in EVIL:
        poisoned = ask(ours.port, "/h/k", {name: value})
        answer = ask(ours.port, "/h/k")
        clean = clean or answer.body
        assert poisoned.status == answer.status == 200 and answer.body == clean, (name, poisoned, answer)
        again = ask(ours.port, "/h/k", {name: value})
        assert again.cache == "HIT" and again.body == poisoned.body
    assert ask(ours.port, "/h/k").cache == "HIT"


@pytest.mark.parametrize("fields", [{"X-Forwarded-For": "192.0.2.1"}, {"Forwarded": "for=192.0.2.1;by=x"}], ids=str)
def test_addresses_are_not_in_the_key(start, origin, fields):
    ours = start(forwarded="forwarded" if "Forwarded" in fields else "x-forwarded")
    origin.objects["k"] = (b"k", FRESH)
    assert ask(ours.port, "/h/k", {name: value.replace(".1", ".2") for name, value in fields.items()}).cache == "MISS"
    assert ask(ours.port, "/h/k", fields).cache == "HIT"


def test_a_careless_head_does_not_stand_for_the_body(start, origin):
    """RFC 9110 9.3.2 lets HEAD leave out what only the body would tell; some say 0 instead."""
    ours = start()
    body = b"k" * 5000
    origin.objects["k"] = lambda request: (200, body if request.command == "GET" else b"", {**FRESH, "ETag": '"k"'})
    assert ask(ours.port, "/h/k", method="HEAD").status == 200
    assert [get(ours, "k").body for _ in range(2)] == [body] * 2


def test_no_head_is_asked_that_nobody_asked_for(start, origin):
    """Not every server knows HEAD."""
    ours = start()
    body = bytes(range(256)) * 40
    origin.objects["k"] = lambda request: (405, b"", {}) if request.command == "HEAD" else (200, body, {**FRESH, "ETag": '"k"'})
    assert get(ours, "k", If_None_Match='"k"').status == 304
    origin.objects["l"] = origin.objects["k"]
    answer = get(ours, "l", Range="bytes=-5")
    assert answer.status == 206 and answer.body == body[-5:], answer
    origin.objects["m"] = origin.objects["k"]
    assert get(ours, "m", Range="bytes=99999-").status == 416
    assert ask(ours.port, "/h/n", method="HEAD").status == 404


def test_3_4_a_part_of_who_knows_how_much_passes(yatagarasu):
    with raw_origin.RawOrigin() as origin:
        origin.scripts["/k"] = raw_origin.script("HTTP/1.1 206 Partial\r\nContent-Range: bytes 2-4/*\r\nContent-Length: 3\r\n\r\n234", close=False)
        ours = yatagarasu([{"name": "h", "path_prefix": "/h", "http": {"endpoint": origin.endpoint}}])
        answer = ask(ours.port, "/h/k", {"Range": "bytes=2-4"})
        assert answer.status == 206 and answer.body == b"234" and answer.get("Content-Range") == "bytes 2-4/*"


def test_early_hints_are_for_who_led(yatagarasu):
    asked, go = threading.Event(), threading.Event()

    def hint(talk):
        asked.set()
        go.wait(60)
        talk.send("HTTP/1.1 103 Early Hints\r\nLink: <for-one>\r\n\r\n")
        talk.answer(b"k" * 5000, [("Cache-Control", "max-age=60")])

    with raw_origin.RawOrigin() as origin:
        origin.scripts["/k"] = hint
        ours = yatagarasu([{"name": "h", "path_prefix": "/h", "http": {"endpoint": origin.endpoint, "timeout": 20}}])
        with Wire(ours.port) as leader, Wire(ours.port) as waiter:
            leader.request("/h/k")
            assert asked.wait(60)
            waiter.request("/h/k")
            assert joined(ours, 1)
            go.set()
            assert leader.head().status == 103
            assert waiter.head().status == 200 and leader.head().status == 200
        assert origin.count("/k") == 1
