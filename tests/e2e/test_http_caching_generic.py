"""HTTP caching of a generic HTTP origin: what differs from S3 buckets (docs/http-caching.md). Answers of any status, variants, what belongs to one
client. Named after the sections of RFC 9111 unless they say otherwise."""
import json
import threading

import pytest

from scripted import date
from test_http_caching_freshness import CLIENT
from wire import Wire, ask, wait_until

LAYERS = {"memory": ["memory"], "disk": ["disk"], "both": ["memory", "disk"]}


@pytest.fixture(params=["memory", "disk"])
def tier(request):
    return request.param


@pytest.fixture
def start(request, yatagarasu, origin):
    tier = request.getfixturevalue("tier") if "tier" in request.fixturenames else "both"

    def started(**cache):
        bucket = {"name": "h", "path_prefix": "/h", "http": {"endpoint": origin.endpoint + "/o", "timeout": 20}, "cache": cache}
        ours = yatagarasu([bucket], cache={"cache_layers": LAYERS[tier], "disk": {"enabled": "disk" in LAYERS[tier]}})
        if "disk" in LAYERS[tier]:
            ours.wait_for_disk()
        return ours

    return started


def get(ours, key, **headers):
    return ask(ours.port, f"/h/{key}", {name.replace("_", "-"): value for name, value in headers.items()})


FRESH = {"Cache-Control": "max-age=60"}
STALE = {"Age": "100"}  # of what lives for 60 s

TABLE = [  # name, status, fields, what the same question gets the second time
    ("3 nothing said, a status of heuristics", 200, {}, "REVALIDATED"),
    ("4.2.2 heuristics", 200, {"Last-Modified": date(-10000)}, "HIT"),
    ("4.2.2 heuristics, changed in the future", 200, {"Last-Modified": date(1_000_000)}, "REVALIDATED"),
    ("4.2.2 heuristics of 404", 404, {"Last-Modified": date(-10000)}, "HIT"),
    ("4.2.2 no heuristics of 302", 302, {"Last-Modified": date(-10000)}, "BYPASS"),
    ("3 max-age", 200, FRESH, "HIT"),
    ("3 max-age of 302", 302, {**FRESH, "Location": "/x"}, "HIT"),
    ("3 max-age of 404", 404, FRESH, "HIT"),
    ("3 max-age of 410", 410, FRESH, "HIT"),
    ("3 Expires of 301", 301, {"Expires": date(86_400)}, "HIT"),
    ("3 no-store", 200, {"Cache-Control": "no-store, max-age=60"}, "BYPASS"),
    ("3 private", 200, {"Cache-Control": "private, max-age=60"}, "BYPASS"),
    ("3 private of 404", 404, {"Cache-Control": "private, max-age=60"}, "BYPASS"),
    ("3 max-age of 503", 503, FRESH, "HIT"),
    ("3 an error without a time", 503, {}, "BYPASS"),
    ("3 403 without a time", 403, {}, "BYPASS"),
    ("7.3 Set-Cookie", 200, {**FRESH, "Set-Cookie": "a=b"}, "BYPASS"),
    ("4.1 Vary *", 200, {**FRESH, "Vary": "*"}, "BYPASS"),
    ("4.1 Vary", 200, {**FRESH, "Vary": "X-A"}, "HIT"),
    ("5.2.2.4 no-cache", 200, {"Cache-Control": "no-cache"}, "REVALIDATED"),
    ("9213 targeted", 200, {"CDN-Cache-Control": "max-age=60", "Cache-Control": "no-store"}, "HIT"),
]


@pytest.mark.parametrize("size", [100, 300_000])
def test_table(start, origin, tier, size):
    ours = start()
    wrong = []
    for name, status, fields, expected in TABLE:
        key = "".join(c if c.isalnum() else "-" for c in name)
        body = bytes([len(name)]) * size
        origin.objects[key] = (body, fields) if status == 200 else (lambda _, made=(status, body, fields): made)
        answers = [get(ours, key) for _ in range(2)]
        if any((a.status, a.body) != (status, body) for a in answers) or answers[1].cache != expected:
            wrong.append((name, expected, *answers))
    assert not wrong, "\n".join(map(str, wrong))


def test_fields_are_the_origins(start, origin, tier):
    """RFC 9110 6.6.1, 7.6.3: the date of the answer, not of the reply; Server and what else is not of one connection; our Via."""
    ours = start()
    made = date(-20)
    origin.objects["k"] = (b"k", {**FRESH, "Date": made, "Server": "s/1", "X-Amz-Id-2": "1", "Set-Cookie2": ["a", "b"],
                                  "Via": "1.1 before", "Connection": "X-Hop", "X-Hop": "1"})
    for expected in "MISS", "HIT":
        answer = get(ours, "k")
        assert answer.cache == expected and answer.get("Date") == made and answer.get("Server") == "s/1" and answer.get("X-Amz-Id-2") == "1"
        assert [v for n, v in answer.fields if n == "Via"] == ["1.1 before", "1.1 yatagarasu"]
        assert [v for n, v in answer.fields if n == "Set-Cookie2"] == ["a", "b"] and answer.get("X-Hop") is None
    assert int(answer.get("Age")) >= 20


def test_3_5_authorization(start, origin):
    """What is asked with Authorization is between that client and the origin."""
    ours = start()
    origin.objects["k"] = lambda request: (200, (request.headers.get("Authorization") or "all").encode(), FRESH)
    for who in "Basic one", "Basic two":
        answer = get(ours, "k", Authorization=who)
        assert (answer.cache, answer.body) == ("BYPASS", who.encode())
    assert [get(ours, "k").body for _ in range(2)] == [b"all", b"all"]
    assert get(ours, "k", Authorization="Basic one").body == b"Basic one"


def encoded(request):
    taken = request.headers.get("Accept-Encoding") or "identity"
    coding = "br" if "br" in taken else "gzip" if "gzip" in taken else "identity"
    return 200, coding.encode() * 20_000, {**FRESH, "Vary": "Accept-Encoding", "Content-Encoding": coding, "ETag": f'"{coding}"'}


def test_4_1_variants(start, origin, tier):
    """Any number of them; clients that take the same codings share one, however they write it."""
    ours = start()
    origin.objects["k"] = encoded
    spellings = {"br": ["gzip, br", "br,gzip;q=0.5", "GZIP, BR;q=1"], "gzip": ["gzip", "gzip, br;q=0"], "identity": ["", None]}
    for coding, values in spellings.items():
        asked = len(origin.asked("k"))
        for value in values:
            answer = ask(ours.port, "/h/k", {"Accept-Encoding": value})
            assert answer.status == 200 and answer.body == coding.encode() * 20_000, (value, answer)
        if coding != "identity":  # absent is not the same as empty
            assert len(origin.asked("k")) == asked + 1 and answer.cache == "HIT"
    for coding, values in spellings.items():
        for value in values:
            answer = ask(ours.port, "/h/k", {"Accept-Encoding": value, "Range": "bytes=3-9"})
            assert (answer.status, answer.cache, answer.body) == (206, "HIT", (coding.encode() * 20)[3:10]), (value, answer)
            assert answer.get("ETag") == f'"{coding}"'


def test_4_1_more_fields_select(start, origin, tier):
    """An answer that names another field adds it for all; one that names fewer takes none away."""
    ours = start()
    vary = {"": "X-A"}
    origin.objects["k"] = lambda request: (
        200, f"{request.headers.get('X-A')}{request.headers.get('X-B')}".encode(), {**FRESH, **({"Vary": vary[""]} if vary[""] else {})})
    assert get(ours, "k", X_A="1", X_B="1").body == b"11"
    assert get(ours, "k", X_A="1", X_B="2").body == b"11", "X-B does not select yet"
    vary[""] = "X-B"
    assert get(ours, "k", X_A="2", X_B="2").body == b"22"
    for a, b in ("1", "1"), ("1", "2"), ("2", "2"), ("2", "1"):
        assert get(ours, "k", X_A=a, X_B=b).body == f"{a}{b}".encode()
        vary[""] = None
        assert get(ours, "k", X_A=a, X_B=b).cache == "HIT"


def test_4_1_many_at_once(start, origin):
    """Clients that ask before anybody knows what selects get their own variant, too."""
    ours = start()
    origin.held["k"] = threading.Event()
    origin.objects["k"] = lambda request: (200, request.headers.get("X-A").encode() * 30_000, {**FRESH, "Vary": "x-a"})
    answers = {}
    threads = [threading.Thread(target=lambda a=a, i=i: answers.update({(a, i): get(ours, "k", X_A=a)})) for a in "12345" for i in range(4)]
    for thread in threads:
        thread.start()
    assert wait_until(lambda: len(origin.asked("k")) >= 1)
    origin.held["k"].set()
    for thread in threads:
        thread.join()
    assert len(answers) == 20
    for (a, _), answer in answers.items():
        assert answer.status == 200 and answer.body == a.encode() * 30_000
    assert {get(ours, "k", X_A=a).cache for a in "12345"} == {"HIT"}


def test_cors_of_one_origin_is_not_given_to_another(start, origin, tier):
    """Though the answer does not say `Vary: Origin`, which S3 forgets."""
    ours = start()
    origin.objects["k"] = lambda request: (
        200, b"k", {**FRESH, **({"Access-Control-Allow-Origin": request.headers["Origin"]} if request.headers.get("Origin") else {})})
    for _ in range(2):
        for who in "https://one", "https://two":
            assert get(ours, "k", Origin=who).get("Access-Control-Allow-Origin") == who
        assert get(ours, "k").get("Access-Control-Allow-Origin") is None


def test_4_3_4_a_304_is_for_its_variant(start, origin, tier):
    ours = start()
    age = {"": "100"}
    origin.objects["k"] = lambda request: (
        200 if request.headers.get("If-None-Match") != f'"{request.headers["X-A"]}"' else 304, request.headers["X-A"].encode() * 50,
        {**FRESH, "Age": age[""], "Vary": "X-A", "ETag": f'"{request.headers["X-A"]}"'})
    for a in "12":
        assert get(ours, "k", X_A=a).cache == "MISS"
    age[""] = "0"
    assert "fwd=vary-miss" in get(ours, "k", X_A="3").get("Cache-Status")
    assert [get(ours, "k", X_A="2").cache for _ in range(2)] == ["REVALIDATED", "HIT"]
    answer = get(ours, "k", X_A="1")
    assert answer.cache == "REVALIDATED" and answer.body == b"1" * 50


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_4_4_unsafe_methods_invalidate(start, origin, tier, method):
    ours = start()
    for key, fields in ("k", FRESH), ("v", {**FRESH, "Vary": "X-A"}):
        origin.objects[key] = (b"old", fields)
        assert [get(ours, key).cache for _ in range(2)] == ["MISS", "HIT"]
        origin.broken[key] = 500
        assert ask(ours.port, f"/h/{key}", method=method).status == 500
        del origin.broken[key]
        assert get(ours, key).cache == "HIT", "an error changes nothing"
        origin.objects[key] = (b"new", {**fields, "ETag": '"b"'})
        assert ask(ours.port, f"/h/{key}", method=method).status == 200
        answer = get(ours, key)
        assert answer.cache == "MISS" and answer.body == b"new"


def test_5861_4_stale_if_error(start, origin):
    """An error of the origin is the client's where nothing may be used instead."""
    ours = start()
    origin.objects["may"] = (b"may", {"Cache-Control": "max-age=60, stale-if-error=600", **STALE})
    origin.objects["not"] = (b"not", {**FRESH, **STALE})
    assert {get(ours, key).status for key in ("may", "not")} == {200}
    origin.broken = {"may": 503, "not": 503}
    answer = get(ours, "may")
    assert (answer.status, answer.cache, answer.body) == (200, "STALE", b"may")
    answer = get(ours, "not")
    assert answer.status == 503 and b"Broken" in answer.body
    origin.broken = {}
    assert get(ours, "may").cache == "REVALIDATED" and get(ours, "not").cache == "REVALIDATED"


def test_5861_4_an_origin_that_is_gone(start, origin):
    ours = start()
    origin.objects["may"] = (b"may", {"Cache-Control": "max-age=60, stale-if-error=600", **STALE})
    origin.objects["must"] = (b"must", {"Cache-Control": "max-age=60, must-revalidate, stale-if-error=600", **STALE})
    origin.closing = True
    assert {get(ours, key).status for key in ("may", "must")} == {200}
    origin.shutdown()
    origin.server_close()
    answer = get(ours, "may")
    assert (answer.status, answer.cache, answer.body) == (200, "STALE", b"may") and int(answer.get("Age")) >= 100
    assert get(ours, "must").status == 504, "5.2.2.2"
    assert get(ours, "other").status == 502


def test_5861_3_one_revalidation_behind(start, origin, tier):
    """Of the variant that was asked for."""
    ours = start()
    said = {"Cache-Control": "max-age=60, stale-while-revalidate=600", **STALE}
    origin.objects["k"] = lambda request: (200, request.headers["X-A"].encode(), {**said, "Vary": "X-A", "ETag": None})
    for a in "12":
        assert get(ours, "k", X_A=a).cache == "MISS"
    said.clear()
    said.update({"Cache-Control": "max-age=60", "X-New": "1"})
    origin.held["k"] = threading.Event()
    for _ in range(3):
        answer = get(ours, "k", X_A="1")
        assert (answer.cache, answer.body) == ("HIT", b"1") and "ttl=-" in answer.get("Cache-Status")
    assert wait_until(lambda: len(origin.asked("k")) == 3)
    origin.held.pop("k").set()
    # Who looked while the transfer ended and enters behind it would ask once more.
    assert wait_until(lambda: ours.metrics()["yatagarasu_flights_in_progress"] == 0)
    assert get(ours, "k", X_A="1").get("X-New") == "1"
    assert len(origin.asked("k")) == 3 and get(ours, "k", X_A="2").get("X-New") is None


def test_4_3_5_head_freshens_what_is_stored(start, origin, tier):
    ours = start()
    body = b"k" * 300_000
    origin.objects["k"] = (body, {**FRESH, **STALE})
    assert get(ours, "k").cache == "MISS"
    origin.objects["k"] = (body, FRESH)
    assert ask(ours.port, "/h/k", method="HEAD").cache == "REVALIDATED"
    answer = get(ours, "k")
    assert answer.cache == "HIT" and answer.body == body and len(origin.asked("k")) == 2


def test_4_3_5_head_invalidates_what_changed(start, origin, tier):
    ours = start()
    origin.objects["k"] = (b"old", {**FRESH, **STALE})
    assert get(ours, "k").body == b"old"
    origin.objects["k"] = (b"newer", {**FRESH, "ETag": '"b"'})
    assert ask(ours.port, "/h/k", method="HEAD").get("ETag") == '"b"'
    assert get(ours, "k").body == b"newer"


def second(ours, key, headers=None):
    ask(ours.port, f"/h/{key}")
    return ask(ours.port, f"/h/{key}", headers)


@pytest.mark.parametrize("honor", [True, False])
def test_5_2_1_requests(start, origin, tier, honor):
    """Cache-Control of requests counts, unless it is switched off."""
    ours = start(**({} if honor else {"honor_client_cache_control": False}))
    wrong = []
    for name, fields, headers, status, cache in CLIENT:
        key = "".join(c if c.isalnum() else "-" for c in name)
        origin.objects[key] = (b"x" * 100, fields)
        plain, answer = second(ours, key), second(ours, key, headers)
        expected = (status, cache) if honor else (plain.status, plain.cache)
        if (answer.status, answer.cache) != expected:
            wrong.append((name, expected, answer))
    assert not wrong, "\n".join(map(str, wrong))


def test_5_2_1_5_no_store(start, origin):
    ours = start()
    origin.objects["k"] = (b"k", FRESH)
    assert get(ours, "k", Cache_Control="no-store").cache == "BYPASS"
    assert [get(ours, "k").cache for _ in range(2)] == ["MISS", "HIT"]


def test_no_body_at_all(start, origin, tier):
    """204 has none, and is stored all the same."""
    ours = start()
    origin.objects["k"] = lambda _: (204, b"", {**FRESH, "Content-Length": None})
    for expected in "MISS", "HIT":
        answer = get(ours, "k")
        assert (answer.status, answer.cache, answer.body) == (204, expected, b"") and answer.get("Content-Length") is None


def test_what_may_not_be_stored_is_not_waited_for(start, origin):
    """After the first such answer requests go through at once; once it may be stored they share again."""
    ours = start()
    origin.objects["k"] = (b"k", {"Cache-Control": "private"})
    assert get(ours, "k").cache == "BYPASS"
    origin.held["k"] = threading.Event()
    wires = [Wire(ours.port).request("/h/k") for _ in range(4)]
    assert wait_until(lambda: len(origin.asked("k")) == 5), "none waits for another"
    origin.held["k"].set()
    assert {wire.response().cache for wire in wires} == {"BYPASS"}
    origin.objects["k"] = (b"k", FRESH)
    assert [get(ours, "k").cache for _ in range(3)] == ["BYPASS", "MISS", "HIT"]


def test_one_fetch_for_many(start, origin):
    ours = start()
    origin.held["k"] = threading.Event()
    origin.objects["k"] = (b"k" * 400_000, FRESH)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(get(ours, "k"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert wait_until(lambda: len(origin.asked("k")) == 1)
    origin.held["k"].set()
    for thread in threads:
        thread.join()
    assert {answer.body for answer in answers} == {b"k" * 400_000} and len(origin.asked("k")) == 1


def test_ranges_and_preconditions(start, origin, tier):
    """Of what is stored, and of what is not: a range asks for the chunks it touches, and those are used again."""
    ours = start()
    data = bytes(i * 7 & 255 for i in range(1_000_000))
    origin.objects["k"] = (data, FRESH)
    answer = get(ours, "k", Range="bytes=300000-300009")
    assert answer.status == 206 and answer.body == data[300000:300010]
    # The client has its ten bytes while the rest of their chunk may be on its way.
    assert wait_until(lambda: json.loads(ours.admin("/admin/cache/info?key=h:k&host=test")[2]).get("chunks_stored") == 1)
    assert get(ours, "k", Range="bytes=300100-300109").cache == "HIT"
    assert get(ours, "k").body == data
    answer = get(ours, "k", If_None_Match='"a"')
    assert answer.status == 304 and answer.cache == "HIT"
    assert get(ours, "k", Range="bytes=5-", If_Range='"b"').body == data
    assert get(ours, "k", If_Match='"b"').status == 412
    assert get(ours, "k", Range="bytes=1000000-").status == 416
    answer = ask(ours.port, "/h/k", method="HEAD")
    assert answer.cache == "HIT" and answer.get("Content-Length") == "1000000"


def test_variants_survive_a_restart(start, origin):
    ours = start()
    origin.objects["k"] = encoded
    for value in "br", "gzip":
        assert get(ours, "k", Accept_Encoding=value).cache == "MISS"
    assert ours.terminate() == 0
    ours.start()
    ours.wait_for_disk()
    for value in "br", "gzip":
        answer = get(ours, "k", Accept_Encoding=value)
        assert answer.cache == "HIT" and answer.body == value.encode() * 20_000
