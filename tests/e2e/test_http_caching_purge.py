"""Purges of what is stored of a generic HTTP origin: a path, in every query, spelling, host and variant; beginnings of paths; tags."""
import json

import pytest

from wire import ask

FRESH = {"Cache-Control": "max-age=60"}
PURGED_APART = [("/o", "", path) for path in ("/a b/c.txt", "/a b/c.txt2", "/a b", "/other", "/", "/x", "/k")] + [("/r", "", "/a b/c.txt")]


@pytest.fixture(params=["memory", "disk"])
def ours(request, yatagarasu, origin):
    layers = {"cache": {"cache_layers": [request.param], "disk": {"enabled": request.param == "disk"}}}
    buckets = [{"name": "site", "path_prefix": "/site", "http": {"endpoint": origin.endpoint + "/o"}},
               {"name": "root", "path_prefix": "/", "http": {"endpoint": origin.endpoint + "/r"}}]
    started = yatagarasu(buckets, **layers)
    if request.param == "disk":
        started.wait_for_disk()
    return started


def purge(ours, rest, **body):
    code, _, text = ours.admin(f"/admin/cache/purge{rest}", {"Content-Type": "application/json"}, "POST", json.dumps(body) if body else "")
    assert code == 200 and json.loads(text)["durable"] is True, text
    return json.loads(text)


def caches(ours, *asked):
    return [ask(ours.port, *one).cache for one in asked]


def fill(ours, *asked):
    for one in asked:
        ask(ours.port, *one)
    assert caches(ours, *asked) == ["HIT"] * len(asked)


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_a_path_in_all_its_forms(ours, origin, soft):
    for key in "a b/c.txt", "a%20b/c.txt", "a%20b%2Fc.txt", "%61%20b/c.txt", "a%20b/c.txt2", "a%20b":
        origin.objects[key] = lambda request: (304 if request.headers.get("If-None-Match") else 200, b"k" * 30_000, {**FRESH, "Vary": "X-A"})
    forms = [("/site/a%20b/c.txt",), ("/site/a%20b/c.txt?q=1",), ("/site/a%20b/c.txt?",), ("/site/a%20b%2Fc.txt",), ("/site/%61%20b/c.txt?q=2",),
             ("/site/a%20b/c.txt", {"Host": "other"}), ("/site/a%20b/c.txt", {"X-A": "1"}), ("/site/a%20b/c.txt", {"X-Forwarded-Port": "1"})]
    others = [("/site/a%20b/c.txt2",), ("/site/a%20b",), ("/a%20b/c.txt",)]
    fill(ours, *forms, *others)
    answer = purge(ours, "/site/a%20b/c.txt", soft=soft)
    assert answer["purged"] == "object" and "stored" not in answer, "under which host is not said"
    assert caches(ours, *others) == ["HIT"] * 3
    assert caches(ours, *forms) == ["REVALIDATED" if soft else "MISS"] * len(forms)


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_what_was_stored_is_told(ours, origin, soft):
    origin.objects["a%20b"] = lambda request: (200, b"k" * (30_000 if "?" in request.path else 5), {**FRESH, "ETag": '"q"' if "?" in request.path else '"a"'})
    fill(ours, ("/site/a%20b",), ("/site/a%20b?q=1",))
    assert "stored" not in purge(ours, "/site/other", soft=True)
    assert purge(ours, "/site/other", host="test")["stored"] is None
    assert purge(ours, "/site/a%20b", host="test", query="q=1", soft=True)["stored"] == {"etag": '"q"', "length": 30_000}
    assert purge(ours, "/site/a%20b", host="test", soft=soft)["stored"] == {"etag": '"a"', "length": 5}, "softly purged, it is stored"
    left = {"etag": '"a"', "length": 5} if soft else None
    assert purge(ours, "/site/a%20b", host="TEST")["stored"] == left
    assert purge(ours, "/site/a%20b", host="test")["stored"] is None
    assert caches(ours, ("/site/a%20b",), ("/site/a%20b?q=1",)) == ["MISS", "MISS"]


def test_what_was_stored_of_variants(ours, origin):
    origin.objects["k"] = lambda request: (200, b"k" * len(request.headers.get("X-A", "")), {**FRESH, "Vary": "X-A"})
    fill(ours, ("/site/k", {"X-A": "1"}))
    answer = purge(ours, "/site/k", host="test", soft=True)
    assert answer["stored"] is None and answer["vary"] == "x-a", "there may be others"
    fill(ours, ("/site/k",))
    answer = purge(ours, "/site/k", host="test")
    assert answer["stored"] == {"etag": '"a"', "length": 0} and answer["vary"] == "x-a"
    assert "vary" not in purge(ours, "/site/k", host="test")
    assert caches(ours, ("/site/k", {"X-A": "1"}), ("/site/k",)) == ["MISS", "MISS"]


def test_what_makes_no_sense_purges_nothing(ours, origin):
    origin.objects["k"] = (b"k", FRESH)
    fill(ours, ("/site/k",))
    for rest, body in (("/site/k", {"host": "a b"}), ("/site/k", {"host": ""}), ("/site/k", {"host": "a", "query": "a#b"}), ("/site/k", {"query": "a#b"}), ("/site/k", {"host": 1}),
                       ("/site", {"host": "test"}), ("/site", {"query": "q"}), ("", {"host": "test"})):
        code, _, text = ours.admin(f"/admin/cache/purge{rest}", {"Content-Type": "application/json"}, "POST", json.dumps(body))
        assert code == 400 and "message" in json.loads(text), (rest, body, text)
    assert caches(ours, ("/site/k",)) == ["HIT"]


def test_the_root(ours, origin):
    for path in "", "x":
        origin.objects[path] = (b"k", FRESH)
    asked = [("/site/",), ("/site",), ("/site/x",)]
    fill(ours, *asked)
    purge(ours, "/site//")
    assert caches(ours, *asked) == ["MISS", "HIT", "HIT"], "/site and /site/ are one path to the origin"


@pytest.mark.parametrize("prefix", ["blog/", "/blog/"])
def test_beginnings_of_paths(ours, origin, prefix):
    for key in "blog/a", "blog/b", "bl":
        origin.objects[key] = (b"k", FRESH)
    asked = [("/site/blog/a?x",), ("/site/blog/b",), ("/site/bl",)]
    fill(ours, *asked)
    purge(ours, "/site", prefix=prefix)
    assert caches(ours, *asked) == ["MISS", "MISS", "HIT"]


def test_a_bucket_and_tags(ours, origin):
    origin.objects["k"] = (b"k", {**FRESH, "Surrogate-Key": "one two"})
    origin.objects["l"] = (b"l", {**FRESH, "Cache-Tag": "two,three"})
    asked = [("/site/k",), ("/site/l",), ("/k",)]
    fill(ours, *asked)
    purge(ours, "/site", tag="one")
    assert caches(ours, *asked) == ["MISS", "HIT", "HIT"]
    purge(ours, "", tag="two")
    assert caches(ours, *asked) == ["MISS", "MISS", "MISS"]
    purge(ours, "/root")
    assert caches(ours, *asked) == ["HIT", "HIT", "MISS"]
