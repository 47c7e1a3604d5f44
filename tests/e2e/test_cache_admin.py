"""What the cache holds and does, as the admin listener tells it."""
import json

import pytest

import servers
from scripted import Scripted
from wire import ask, wait_until


@pytest.fixture
def origin():
    with Scripted() as server:
        yield server


def page(ours, path, status=200):
    code, _, body = ours.admin(path)
    assert code == status, body
    return json.loads(body)


def test_stats(origin, yatagarasu):
    origin.put("k", b"x" * 1000)
    ours = yatagarasu([servers.s3_bucket("s", origin), servers.s3_bucket("t", origin)])
    ours.wait_for_disk()
    for _ in range(3):
        ask(ours.port, "/s/k")
    assert wait_until(lambda: page(ours, "/admin/cache/stats/s")["requests"] == 3)
    stats = page(ours, "/admin/cache/stats")
    assert [bucket["bucket"] for bucket in stats["buckets"]] == ["s", "t"]
    assert stats["buckets"][0]["results"]["HIT"] == 2 and stats["buckets"][0]["results"]["MISS"] == 1
    assert stats["buckets"][0]["bytes_sent"] == 3000 and stats["buckets"][0]["bytes_saved"] == 2000
    assert stats["buckets"][1]["requests"] == 0
    assert stats["buckets"][0] == page(ours, "/admin/cache/stats/s")
    assert stats["memory"]["items"] == 1 and stats["memory"]["used_bytes"] <= stats["memory"]["budget_bytes"]
    assert stats["disk"]["devices"] == 1 and stats["purges"]["records"] == 0
    page(ours, "/admin/cache/stats/nobody", 404)


@pytest.mark.parametrize("size", [1000, 700_000], ids=["inline", "sliced"])
def test_info(origin, yatagarasu, size):
    origin.put("a%20b/k%3A1", b"x" * size, ETag='"v"', Surrogate_Key="red green", Cache_Control="max-age=100")
    ours = yatagarasu([servers.s3_bucket("s", origin)])
    ours.wait_for_disk()
    where, post = "/admin/cache/info?key=s:a%20b/k:1", {"Content-Type": "application/json"}
    assert page(ours, where) == {"bucket": "s", "key": "a b/k:1", "stored": False}
    assert ask(ours.port, "/s/a%20b/k:1").status == 200
    chunks = 0 if size == 1000 else 3
    assert wait_until(lambda: page(ours, where).get("chunks_stored") == chunks)  # the client may have the last byte before a tier has it
    info = page(ours, where)
    assert (info["stored"], info["etag"], info["length"], info["tags"], info["head_in"]) == (True, '"v"', size, "red green", "memory")
    assert info["fresh"] and 0 < info["fresh_for_seconds"] <= 100 and info["fresh_for_seconds"] + info["age_seconds"] == 100
    assert info["chunks"] == chunks
    ours.restart()
    ours.wait_for_disk()
    info = page(ours, where)
    assert info["head_in"] == "disk" and info["chunks_stored"] == chunks
    assert ours.admin("/admin/cache/purge/s/a%20b/k:1", post, "POST", '{"soft": true}')[0] == 200
    info = page(ours, where)
    assert info["stored"] and info["softly_purged"] and not info["fresh"]
    assert ours.admin("/admin/cache/purge/s/a%20b/k:1", post, "POST", "")[0] == 200
    assert page(ours, where)["stored"] is False


def test_info_refuses(origin, yatagarasu):
    ours = yatagarasu([servers.s3_bucket("s", origin)])
    for query in ("", "?key=", "?key=s", "?key=s:", "?key=:k", "?key=s:k&key=s:l", "?x=1", "?key=s:%zz"):
        page(ours, "/admin/cache/info" + query, 400)
    page(ours, "/admin/cache/info?key=nobody:k", 404)
    page(ours, "/admin/cache/info?key=s:" + "k" * 4000, 400)
