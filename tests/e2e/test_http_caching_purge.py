"""Purges of what is stored of a generic HTTP origin: a path, in every query, spelling, host and variant; beginnings of paths; tags."""
import json

import pytest

from scripted import Scripted
from wire import ask

FRESH = {"Cache-Control": "max-age=60"}


@pytest.fixture
def origin():
    with Scripted() as server:
        yield server


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
    assert answer["purged"] == "object" and "stored" not in answer
    assert caches(ours, *others) == ["HIT"] * 3
    assert caches(ours, *forms) == ["REVALIDATED" if soft else "MISS"] * len(forms)


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
