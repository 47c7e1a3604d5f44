"""HTTP caching, RFC 9111 3 to 5.2: what is stored, for how long it is fresh, and when it may be used stale. Each row or test is named after the
section whose rule it holds (docs/http-caching.md). Answers age by the Age field, so nothing here has to wait."""
import threading
import time

import pytest

import servers
from scripted import date
from wire import Wire, ask, wait_until

LAYERS = {"memory": ["memory"], "disk": ["disk"], "both": ["memory", "disk"]}


@pytest.fixture(params=["memory", "disk"])
def tier(request):
    return request.param


@pytest.fixture
def start(request, yatagarasu, origin):
    """Every bucket has the same origin; a bucket's settings are what caching is about. Both tiers, unless the test asks for each."""
    tier = request.getfixturevalue("tier") if "tier" in request.fixturenames else "both"

    def started(timeout=20, **buckets):
        made = [{**servers.s3_bucket(name, origin, retry={"max_attempts": 1}, timeout=timeout), "cache": cache}
                for name, cache in (buckets or {"b": {}}).items()]
        disk = {"enabled": "disk" in LAYERS[tier]}
        ours = yatagarasu(made, cache={"cache_layers": LAYERS[tier], "disk": disk})
        if disk["enabled"]:
            ours.wait_for_disk()
        return ours

    return started


def key_of(name):
    return "".join(c if c.isalnum() else "-" for c in name)


def second(ours, key, headers=None, bucket="b"):
    """The answer to the same question again, once the first has been stored (or not)."""
    assert ask(ours.port, f"/{bucket}/{key}").status == 200
    return ask(ours.port, f"/{bucket}/{key}", headers)


STALE = {"Age": "100"}  # of what lives for 60 s

TABLE = [
    # storing
    ("3 nothing said, the configured time", {}, "HIT"),
    ("5.2.2.5 no-store", {"Cache-Control": "no-store, max-age=60"}, "BYPASS"),
    ("5.2.2.3 must-understand overrules no-store", {"Cache-Control": "no-store, must-understand, max-age=60"}, "HIT"),
    ("5.2.2.7 private", {"Cache-Control": "private, max-age=60"}, "BYPASS"),
    ("5.2.2.7 private with names", {"Cache-Control": 'private="x-secret", max-age=60', "X-Secret": "1"}, "HIT"),
    ("5.2.2.4 no-cache", {"Cache-Control": "no-cache, max-age=60"}, "REVALIDATED"),
    ("5.2.2.4 no-cache with names", {"Cache-Control": 'no-cache="x-secret", max-age=60', "X-Secret": "1"}, "HIT"),
    # times
    ("5.2.2.1 max-age", {"Cache-Control": "max-age=60"}, "HIT"),
    ("5.2.2.1 max-age 0", {"Cache-Control": "max-age=0"}, "REVALIDATED"),
    ("5.2.2.10 s-maxage before max-age", {"Cache-Control": "max-age=0, s-maxage=60"}, "HIT"),
    ("5.2.2.10 s-maxage 0 before max-age", {"Cache-Control": "max-age=60, s-maxage=0"}, "REVALIDATED"),
    ("5.3 Expires", {"Expires": date(3600)}, "HIT"),
    ("5.3 Expires in the past", {"Expires": date(-60)}, "REVALIDATED"),
    ("5.3 Expires 0", {"Expires": "0"}, "REVALIDATED"),
    ("5.3 max-age before Expires", {"Expires": date(-60), "Cache-Control": "max-age=60"}, "HIT"),
    ("4.2.1 two values", {"Cache-Control": "max-age=60, max-age=61"}, "REVALIDATED"),
    ("4.2.1 two values in two lines", {"Cache-Control": ["max-age=60", "max-age=61"]}, "REVALIDATED"),
    ("4.2.1 twice the same", {"Cache-Control": ["max-age=60", "max-age=60"]}, "HIT"),
    ("5.2 quoted", {"Cache-Control": 'max-age="60"'}, "HIT"),
    ("5.2 negative", {"Cache-Control": "max-age=-60"}, "REVALIDATED"),
    ("5.2 fractional", {"Cache-Control": "max-age=60.5"}, "REVALIDATED"),
    ("1.2.2 overflow", {"Cache-Control": "max-age=99999999999999999999"}, "HIT"),
    ("5.2.3 unknown", {"Cache-Control": "community=1, max-age=60, x=\"no-store\""}, "HIT"),
    ("5.2 case", {"Cache-Control": "MAX-AGE=60"}, "HIT"),
    # age
    ("5.1 Age", {"Cache-Control": "max-age=60", "Age": "40"}, "HIT"),
    ("5.1 Age past", {"Cache-Control": "max-age=60", "Age": "60"}, "REVALIDATED"),
    ("5.1 Age is no number", {"Cache-Control": "max-age=60", "Age": "x"}, "HIT"),
    ("4.2.3 Date in the past", {"Cache-Control": "max-age=60", "Date": date(-100)}, "REVALIDATED"),
    ("4.2.3 Date in the future", {"Cache-Control": "max-age=60", "Date": date(10000)}, "HIT"),
    ("4.2.3 no Date", {"Cache-Control": "max-age=60", "Date": None}, "HIT"),
    ("4.2.3 no Date, Age", {"Cache-Control": "max-age=60", "Date": None, "Age": "70"}, "REVALIDATED"),
    # targeted fields, RFC 9213
    ("9213 2.2 ours first", {"Yatagarasu-Cache-Control": "max-age=60", "CDN-Cache-Control": "no-store",
                             "Cache-Control": "no-store"}, "HIT"),
    ("9213 2.2 that for CDNs", {"CDN-Cache-Control": "max-age=60", "Cache-Control": "no-store"}, "HIT"),
    ("9213 2.2 forbids", {"CDN-Cache-Control": "no-store", "Cache-Control": "max-age=60"}, "BYPASS"),
    ("9213 2.2 instead of Expires", {"CDN-Cache-Control": "max-age=60", "Expires": "0"}, "HIT"),
    ("9213 2.1 empty", {"CDN-Cache-Control": "", "Cache-Control": "max-age=0"}, "REVALIDATED"),
    ("9213 2.1 does not parse", {"CDN-Cache-Control": "max-age=60,", "Cache-Control": "max-age=0"}, "REVALIDATED"),
    ("9213 2.1 two lines", {"CDN-Cache-Control": ["max-age=60", "foo"], "Cache-Control": "max-age=0"}, "HIT"),
    ("9213 2.1 type", {"CDN-Cache-Control": 'max-age="60"'}, "REVALIDATED"),
    # windows of staleness, RFC 5861
    ("5861 3 stale-while-revalidate", {"Cache-Control": "max-age=60, stale-while-revalidate=60", **STALE}, "HIT"),
    ("5861 3 window has passed", {"Cache-Control": "max-age=60, stale-while-revalidate=40", **STALE}, "REVALIDATED"),
    ("5.2.2.2 must-revalidate", {"Cache-Control": "max-age=60, must-revalidate, stale-while-revalidate=60", **STALE}, "REVALIDATED"),
    ("5.2.2.8 proxy-revalidate", {"Cache-Control": "max-age=60, proxy-revalidate, stale-while-revalidate=60", **STALE}, "REVALIDATED"),
    ("5.2.2.4 no-cache and a window", {"Cache-Control": "no-cache, stale-while-revalidate=600"}, "REVALIDATED"),
    # cookies
    ("7.3 Set-Cookie of S3", {"Set-Cookie": "a=b"}, "HIT"),
]


def test_table(start, origin, tier):
    ours = start()
    wrong = []
    for name, fields, expected in TABLE:
        key = key_of(name)
        origin.objects[key] = (b"x" * 100, fields)
        answer = second(ours, key)
        if (answer.status, answer.cache) != (200, expected) or answer.get("X-Secret") or answer.get("Set-Cookie"):
            wrong.append((name, expected, answer))
    assert not wrong, "\n".join(map(str, wrong))


def test_3_2_a_304_updates_what_is_stored(start, origin, tier):
    """And not what describes the stored bytes."""
    ours = start()
    origin.objects["k"] = (b"body", {"Cache-Control": "max-age=0", "X-Old": "1", "X-Both": "1"})
    assert ask(ours.port, "/b/k").get("X-Both") == "1"
    origin.objects["k"] = (b"body", {"Cache-Control": "max-age=60", "X-Both": "2", "Content-Encoding": "br", "Content-Type": "a/b"})
    answer = ask(ours.port, "/b/k")
    assert answer.cache == "REVALIDATED" and answer.body == b"body"
    for answer in (answer, ask(ours.port, "/b/k")):
        assert (answer.get("X-Old"), answer.get("X-Both"), answer.get("Content-Type")) == ("1", "2", "text/plain")
        assert answer.get("Content-Encoding") is None and answer.get("Cache-Control") == "max-age=60"
    assert answer.cache == "HIT" and len(origin.asked("k")) == 2


def test_4_3_1_validators(start, origin, tier):
    """A weak tag and, where there is no tag, the date: both ask, and a 304 keeps the body, small or in chunks."""
    ours = start()
    changed = date(-1000)
    for name, size in ("small", 100), ("large", 600_000):
        for kind, fields in ("weak", {"ETag": 'W/"a"'}), ("date", {"ETag": None, "Last-Modified": changed}):
            key, fields = f"{name}-{kind}", {"Cache-Control": "max-age=60", **fields}
            origin.objects[key] = (b"1" * size, {**fields, **STALE})
            assert ask(ours.port, f"/b/{key}").cache == "MISS"
            origin.objects[key] = (b"1" * size, fields)
            for expected in "REVALIDATED", "HIT":
                answer = ask(ours.port, f"/b/{key}")
                assert (answer.cache, answer.body) == (expected, b"1" * size), (key, answer)
            asked = origin.asked(key)[-1]
            assert asked.get("If-None-Match") == fields["ETag"] and asked.get("If-Modified-Since") == fields.get("Last-Modified")
    origin.objects["none"] = (b"1", {"ETag": None, "Cache-Control": "max-age=60", **STALE})
    assert [ask(ours.port, "/b/none").status for _ in range(2)] == [200, 200]
    assert not {"If-None-Match", "If-Modified-Since"} & set(origin.asked("none")[-1])


def test_4_3_1_what_changed_by_its_date(start, origin, tier):
    ours = start()
    origin.objects["k"] = (b"1" * 600_000, {"ETag": None, "Last-Modified": date(-1000), "Cache-Control": "max-age=60", **STALE})
    assert ask(ours.port, "/b/k").status == 200
    origin.objects["k"] = (b"2" * 50, {"ETag": None, "Last-Modified": date(-10), "Cache-Control": "max-age=60"})
    assert ask(ours.port, "/b/k").body == b"2" * 50
    answer = ask(ours.port, "/b/k")
    assert answer.cache == "HIT" and answer.body == b"2" * 50


def test_4_3_5_head_freshens_what_is_stored(start, origin, tier):
    ours = start()
    origin.objects["k"] = (b"body", {"Cache-Control": "max-age=60", **STALE})
    assert ask(ours.port, "/b/k").cache == "MISS"
    origin.objects["k"] = (b"body", {"Cache-Control": "max-age=60"})
    answer = ask(ours.port, "/b/k", method="HEAD")
    assert answer.cache == "REVALIDATED" and answer.get("Content-Length") == "4"
    answer = ask(ours.port, "/b/k")
    assert answer.cache == "HIT" and answer.body == b"body"
    assert ask(ours.port, "/b/k", method="HEAD").cache == "HIT", "a HEAD is answered from a stored GET"
    assert len(origin.asked("k")) == 2


def test_4_3_5_head_invalidates_what_changed(start, origin, tier):
    ours = start()
    origin.objects["k"] = (b"body", {"Cache-Control": "max-age=60", **STALE})
    assert ask(ours.port, "/b/k").body == b"body"
    origin.objects["k"] = (b"another", {"Cache-Control": "max-age=60", "ETag": '"b"'})
    assert ask(ours.port, "/b/k", method="HEAD").get("ETag") == '"b"'
    answer = ask(ours.port, "/b/k")
    assert answer.body == b"another" and answer.get("ETag") == '"b"'


def test_5861_3_one_revalidation_behind(start, origin, tier):
    """The stale answer comes at once, also to many; one request asks the origin, and what it brings is there for the next."""
    ours = start()
    origin.objects["k"] = (b"old", {"Cache-Control": "max-age=60, stale-while-revalidate=600", **STALE})
    assert ask(ours.port, "/b/k").cache == "MISS"
    origin.objects["k"] = (b"newer", {"Cache-Control": "max-age=60", "ETag": '"b"'})
    origin.held["k"] = threading.Event()
    for _ in range(5):
        answer = ask(ours.port, "/b/k")
        assert answer.cache == "HIT" and answer.body == b"old" and int(answer.get("Age")) >= 100
        assert "ttl=-" in answer.get("Cache-Status")
    assert wait_until(lambda: len(origin.asked("k")) >= 2) and len(origin.asked("k")) == 2
    origin.held["k"].set()
    # Who looked while the transfer ended and enters behind it would ask once more.
    assert wait_until(lambda: ours.metrics()["yatagarasu_flights_in_progress"] == 0)
    assert ask(ours.port, "/b/k").body == b"newer"
    assert ask(ours.port, "/b/k").cache == "HIT" and len(origin.asked("k")) == 2
    assert ours.metrics()["yatagarasu_stale_while_revalidate_total"] >= 5


def test_5861_3_behind_what_came_after_a_purge(start, origin):
    """What was stored since the purge is asked about by its tag, as if there had been none."""
    ours = start()
    origin.objects["k"] = (b"k" * 100_000, {"Cache-Control": "max-age=60, stale-while-revalidate=600", "ETag": '"a"', **STALE})
    assert ask(ours.port, "/b/k").cache == "MISS"
    assert ours.admin("/admin/cache/purge/b/k", {"Content-Type": "application/json"}, "POST", "")[0] == 200
    assert ask(ours.port, "/b/k").cache == "MISS"
    assert ask(ours.port, "/b/k").cache == "HIT"
    assert wait_until(lambda: len(origin.asked("k")) == 3)
    assert origin.asked("k")[-1].get("If-None-Match") == '"a"'


ERRORS = {"500": 500, "502": 502, "503": 503, "504": 504, "no answer": None, "connection refused": 0}


@pytest.mark.parametrize("error", ERRORS)
def test_5861_4_stale_if_error(start, origin, error):
    """The object's own window, and a configured one, of which the second rule of the bucket makes an end."""
    ours = start(timeout=3 if ERRORS[error] is None else 20, b={},
                 c={"stale_if_error_seconds": 600, "rules": [{"pattern": "not*", "stale_if_error_seconds": 0}]})
    stale = {"Cache-Control": "max-age=60", **STALE}
    origin.objects["own"] = (b"own", {"Cache-Control": "max-age=60, stale-if-error=600", **STALE})
    origin.objects["passed"] = (b"passed", {"Cache-Control": "max-age=60, stale-if-error=20", **STALE})
    origin.objects["none"] = origin.objects["not"] = (b"none", stale)
    origin.objects["must"] = (b"must", {"Cache-Control": "max-age=60, must-revalidate, stale-if-error=600", **STALE})
    origin.objects["proxy"] = (b"proxy", {"Cache-Control": "max-age=60, proxy-revalidate", **STALE})
    origin.objects["s-maxage"] = (b"s-maxage", {"Cache-Control": "s-maxage=60", **STALE})
    origin.objects["no-cache"] = (b"no-cache", {"Cache-Control": "no-cache, stale-if-error=600"})
    allowed = {"b": ["own"], "c": ["own", "none"]}
    forbidden = {"b": ["none", "passed", "must", "no-cache"], "c": ["not", "passed", "must", "proxy", "s-maxage", "no-cache"]}
    origin.closing = ERRORS[error] == 0  # no connection is kept
    everything = [(bucket, key) for rows in (allowed, forbidden) for bucket in rows for key in rows[bucket]]
    for bucket, key in everything:
        assert wait_until(lambda: ask(ours.port, f"/{bucket}/{key}").status == 200)
    if ERRORS[error]:
        origin.broken = dict.fromkeys(origin.objects, ERRORS[error])
    elif ERRORS[error] is None:
        origin.held = {key: threading.Event() for key in origin.objects}
        forbidden = {"b": ["none"], "c": []}  # each costs a time-out
    else:
        origin.shutdown()
        origin.server_close()
    for bucket, keys in allowed.items():
        for key in keys:
            answer = ask(ours.port, f"/{bucket}/{key}")
            assert answer.status == 200 and answer.body == key.encode() and answer.cache == "STALE", (bucket, key, answer)
            assert "fwd=stale" in answer.get("Cache-Status") and int(answer.get("Age")) >= 100
    for bucket, keys in forbidden.items():
        for key in keys:
            answer = ask(ours.port, f"/{bucket}/{key}")
            expected = {502, 503, 504}
            if key in ("must", "proxy") and error == "connection refused":
                expected = {504}
            assert answer.status in expected, (bucket, key, answer)
    for event in origin.held.values():
        event.set()


def test_5861_4_what_is_gone_is_no_error(start, origin):
    ours = start()
    origin.objects["k"] = (b"k", {"Cache-Control": "max-age=60, stale-if-error=600", **STALE})
    assert ask(ours.port, "/b/k").status == 200
    del origin.objects["k"]
    assert ask(ours.port, "/b/k").status == 404


# Cache-Control of requests, RFC 9111 5.2.1: (what the answer says, what the client says, status, X-Cache)
FRESH = {"Cache-Control": "max-age=60", "Age": "10"}
CLIENT = [
    ("5.2.1.4 no-cache", FRESH, {"Cache-Control": "no-cache"}, 200, "REVALIDATED"),
    ("5.4 Pragma", FRESH, {"Pragma": "no-cache"}, 200, "REVALIDATED"),
    ("5.4 Pragma beside Cache-Control", FRESH, {"Pragma": "no-cache", "Cache-Control": "foo"}, 200, "HIT"),
    ("5.2.1.1 max-age", FRESH, {"Cache-Control": "max-age=30"}, 200, "HIT"),
    ("5.2.1.1 max-age exceeded", FRESH, {"Cache-Control": "max-age=9"}, 200, "REVALIDATED"),
    ("5.2.1.1 max-age 0", {"Cache-Control": "max-age=60"}, {"Cache-Control": "max-age=0"}, 200, "REVALIDATED"),
    ("8246 2.1 immutable", {"Cache-Control": "max-age=60, immutable"}, {"Cache-Control": "max-age=0"}, 200, "HIT"),
    ("8246 2.1 immutable and no-cache", {"Cache-Control": "max-age=60, immutable"}, {"Cache-Control": "no-cache"}, 200, "REVALIDATED"),
    ("5.2.1.3 min-fresh", FRESH, {"Cache-Control": "min-fresh=40"}, 200, "HIT"),
    ("5.2.1.3 min-fresh exceeded", FRESH, {"Cache-Control": "min-fresh=60"}, 200, "REVALIDATED"),
    ("5.2.1.2 max-stale", {"Cache-Control": "max-age=60", **STALE}, {"Cache-Control": "max-stale"}, 200, "HIT"),
    ("5.2.1.2 max-stale with a number", {"Cache-Control": "max-age=60", **STALE}, {"Cache-Control": "max-stale=60"}, 200, "HIT"),
    ("5.2.1.2 max-stale exceeded", {"Cache-Control": "max-age=60", **STALE}, {"Cache-Control": "max-stale=20"}, 200, "REVALIDATED"),
    ("5.2.2.2 max-stale and must-revalidate", {"Cache-Control": "max-age=60, must-revalidate", **STALE}, {"Cache-Control": "max-stale"},
     200, "REVALIDATED"),
    ("5.2.1.7 only-if-cached", FRESH, {"Cache-Control": "only-if-cached"}, 200, "HIT"),
    ("5.2.1.7 only-if-cached, stale", {"Cache-Control": "max-age=60", **STALE}, {"Cache-Control": "only-if-cached"}, 504, None),
    ("5.2.1.7 only-if-cached, never stored", {"Cache-Control": "no-store"}, {"Cache-Control": "only-if-cached"}, 504, None),
    ("5.2.1.5 no-store of what is stored", FRESH, {"Cache-Control": "no-store"}, 200, "HIT"),
]


def test_5_2_1_requests(start, origin, tier):
    """Where the bucket honours it; where it does not, nothing of it counts."""
    ours = start(yes={"honor_client_cache_control": True}, no={})
    wrong = []
    for name, fields, headers, status, cache in CLIENT:
        key = key_of(name)
        origin.objects[key] = (b"x" * 100, fields)
        answer = second(ours, key, headers, "yes")
        if (answer.status, answer.cache) != (status, cache):
            wrong.append((name, status, cache, answer))
        plain, same = second(ours, key, bucket="no"), second(ours, key, headers, "no")
        if (plain.status, plain.cache) != (same.status, same.cache):
            wrong.append((name, "not honoured", plain, same))
    assert not wrong, "\n".join(map(str, wrong))


def test_5_2_1_5_no_store(start, origin):
    """What is fetched for such a request is not stored."""
    ours = start(b={"honor_client_cache_control": True})
    origin.objects["k"] = (b"k", FRESH)
    answer = ask(ours.port, "/b/k", {"Cache-Control": "no-store"})
    assert answer.body == b"k" and "fwd=request" in answer.get("Cache-Status")
    assert ask(ours.port, "/b/k").cache == "MISS"
    assert ask(ours.port, "/b/k").cache == "HIT"


def test_a_missing_object_is_remembered(start, origin):
    """404 of an S3 bucket, for 10 s; and not 403. Purely in memory: a restart forgets it."""
    ours = start(b={}, c={"status_ttl": [{"status": 403, "ttl_seconds": 60}, {"status": 404, "ttl_seconds": 1}]})

    def remembered(key):
        """False: it took too long to tell."""
        began = time.monotonic()
        first = ask(ours.port, f"/b/{key}")
        assert first.status == 404 and first.cache == "MISS" and "fwd=uri-miss" in first.get("Cache-Status")
        origin.objects[key] = (b"k", {})
        again, head = ask(ours.port, f"/b/{key}"), ask(ours.port, f"/b/{key}", method="HEAD")
        if time.monotonic() - began > 8:
            return False
        assert again.status == 404 and again.cache == "HIT" and int(again.get("Age")) < 10
        assert "hit; ttl=" in again.get("Cache-Status")
        assert head.status == 404 and len(origin.asked(key)) == 1
        return True

    assert any(remembered(f"k{i}") for i in range(4))
    origin.broken = {"forbidden": 403}
    assert [ask(ours.port, "/b/forbidden").status for _ in range(2)] == [403, 403] and len(origin.asked("forbidden")) == 2
    assert [ask(ours.port, "/c/forbidden").cache for _ in range(2)] == ["MISS", "HIT"]
    assert ask(ours.port, "/c/short").status == 404
    origin.objects["short"] = (b"s", {})
    assert wait_until(lambda: ask(ours.port, "/c/short").body == b"s")


def test_a_scan_of_missing_objects_displaces_nothing(start, origin):
    ours = start()
    origin.objects["k"] = (b"k" * 1000, {})
    assert ask(ours.port, "/b/k").status == 200
    before, items = ours.metrics(), 'yatagarasu_cache_items_by_layer{layer="memory"}'
    with Wire(ours.port) as wire:
        for i in range(1000):
            assert wire.request(f"/b/missing-{i}").response().status == 404
    answer = ask(ours.port, "/b/k")
    assert answer.cache == "HIT" and answer.get("Cache-Status").endswith("memory")
    assert ours.metrics()[items] == before[items]


def test_what_may_not_be_stored_is_not_waited_for(start, origin):
    """After the first such answer requests go through at once; once it may be stored they share again."""
    ours = start()
    origin.objects["k"] = (b"k", {"Cache-Control": "no-store"})
    assert ask(ours.port, "/b/k").cache == "BYPASS"
    origin.held["k"] = threading.Event()
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(ask(ours.port, "/b/k"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert wait_until(lambda: len(origin.asked("k")) == 5), "none waits for another"
    origin.objects["k"] = (b"k", {"Cache-Control": "max-age=60"})
    origin.held["k"].set()
    for thread in threads:
        thread.join()
    assert {answer.cache for answer in answers} == {"BYPASS"}
    assert ask(ours.port, "/b/k").cache == "MISS"
    assert ask(ours.port, "/b/k").cache == "HIT"


def test_freshness_survives_a_restart(yatagarasu, origin):
    """Times, windows and what forbids staleness are of the item, whatever tier it comes from."""
    ours = yatagarasu([servers.s3_bucket("b", origin, retry={"max_attempts": 1})])
    ours.wait_for_disk()
    rows = [("fresh", {"Cache-Control": "max-age=600"}, "HIT"),
            ("behind", {"Cache-Control": "max-age=60, stale-while-revalidate=600", **STALE}, "HIT"),
            ("error", {"Cache-Control": "max-age=60, stale-if-error=600", **STALE}, "STALE"),
            ("must", {"Cache-Control": "max-age=60, must-revalidate, stale-if-error=600", **STALE}, "STALE")]
    for key, fields, _ in rows:
        origin.objects[key] = (b"x" * 100_000, fields)
        assert ask(ours.port, f"/b/{key}").status == 200
    assert ours.terminate() == 0
    ours.start()
    ours.wait_for_disk()
    origin.broken = dict.fromkeys(origin.objects, 503)
    for key, _, expected in rows:
        answer = ask(ours.port, f"/b/{key}")
        if key == "must":
            assert answer.status == 503
        else:
            assert answer.status == 200 and answer.cache == expected and len(answer.body) == 100_000
