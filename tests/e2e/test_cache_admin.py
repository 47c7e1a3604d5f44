"""What the cache holds and does, as the admin listener tells it."""
import json

import pytest

import servers
from wire import ask, wait_until


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
    ours.counted()
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


# ---- generic HTTP origins: what a client finds that sends Host and no other field ----

def http_bucket(name, origin, **keys):
    return {"name": name, "path_prefix": f"/{name}", "http": {"endpoint": f"{origin.endpoint}/{name}", **keys}}


@pytest.mark.parametrize("size", [1000, 700_000], ids=["inline", "sliced"])
def test_info_of_http(origin, yatagarasu, size):
    fields = {"ETag": '"v"', "Surrogate-Key": "red green", "Cache-Control": "max-age=100"}
    origin.objects["a%20b/k:(1)"] = (b"x" * size, fields)
    ours = yatagarasu([http_bucket("h", origin)])
    ours.wait_for_disk()
    where, post = "/admin/cache/info?key=h:/a%20b/k:(1)", {"Content-Type": "application/json"}
    assert "host=" in page(ours, where, 400)["message"], "the origin is told of the host, so it is in the key"
    where += "&host=test"
    assert page(ours, where) == {"bucket": "h", "key": "/a b/k:(1)", "stored": False}
    assert ask(ours.port, "/h/a%20b/k:(1)").status == 200
    chunks = 0 if size == 1000 else 3
    assert wait_until(lambda: page(ours, where).get("chunks_stored") == chunks)
    info = page(ours, where)
    assert (info["stored"], info["etag"], info["length"], info["tags"], info["head_in"]) == (True, '"v"', size, "red green", "memory")
    assert info["fresh"] and info["fresh_for_seconds"] + info["age_seconds"] == 100 and info["chunks"] == chunks and "vary" not in info
    assert page(ours, where.replace("h:/a", "h:a").replace("test", "TEST")) == {**page(ours, where), "key": "a b/k:(1)"}
    for other in where.replace("=test", "=other"), where + "&query=q", where.replace("a%20b", "a%2520b"):
        assert not page(ours, other)["stored"], other
    ours.restart()
    ours.wait_for_disk()
    assert page(ours, where)["head_in"] == "disk" and page(ours, where)["chunks_stored"] == chunks
    assert ours.admin("/admin/cache/purge/h/a%20b/k:(1)", post, "POST", '{"soft": true}')[0] == 200
    assert page(ours, where)["softly_purged"] and not page(ours, where)["fresh"]
    assert ours.admin("/admin/cache/purge/h/a%20b/k:(1)", post, "POST", "")[0] == 200
    assert page(ours, where)["stored"] is False


@pytest.mark.parametrize("kind", ["s3", "http"])
def test_info_where_caching_was_switched_off(origin, yatagarasu, kind):
    for key in "on", "off":
        origin.put(key, b"x", Cache_Control="max-age=100")
    bucket = servers.s3_bucket("b", origin) if kind == "s3" else http_bucket("b", origin, forwarded="off")
    ours = yatagarasu([bucket])
    ours.wait_for_disk()
    info = lambda key: page(ours, "/admin/cache/info?key=b:" + key)  # noqa: E731
    for key in "on", "off":
        assert ask(ours.port, f"/b/{key}").status == 200
        assert info(key)["fresh"]
    bucket["cache"] = {"rules": [{"pattern": "*off", "enabled": False}]}
    ours.restart()
    ours.wait_for_disk()
    assert info("on")["fresh"] and ask(ours.port, "/b/on").cache == "HIT"
    assert info("off")["stored"] and not info("off")["fresh"] and ask(ours.port, "/b/off").cache == "BYPASS"


def test_info_of_http_by_query(origin, yatagarasu):
    origin.put("k", b"x", Cache_Control="max-age=100")
    ours = yatagarasu([http_bucket("h", origin, forwarded="off", query={"sort": True, "drop": ["utm_*"]})])
    assert ask(ours.port, "/h/k?b=%26&a=1").status == 200
    stored = lambda query: page(ours, "/admin/cache/info?key=h:/k" + query)["stored"]  # noqa: E731
    assert not stored("") and not stored("&query=b") and not stored("&host=test&query=a%3D1")
    assert stored("&query=b%3D%2526%26a%3D1") and stored("&query=a=1%26utm_x%26b=%2526"), "as it comes, raw, and by the bucket's rules"


def test_info_of_http_tells_of_variants(origin, yatagarasu):
    origin.objects["k"] = lambda request: (200, b"x" * (5 if request.headers.get("X-B") else 3), {"Cache-Control": "max-age=100", "Vary": "X-B, Accept-Encoding"})
    ours = yatagarasu([http_bucket("h", origin, forwarded="off")])
    ours.wait_for_disk()
    info = lambda: page(ours, "/admin/cache/info?key=h:k")  # noqa: E731
    assert "vary" not in info()
    ask(ours.port, "/h/k", {"X-B": "1"})
    assert info() == {"bucket": "h", "key": "k", "stored": False, "vary": "accept-encoding,x-b"}, "only the variant of another client"
    ask(ours.port, "/h/k")
    ours.restart()
    ours.wait_for_disk()
    assert info()["stored"] and info()["length"] == 3 and info()["vary"] == "accept-encoding,x-b"


def test_a_path_that_another_bucket_serves(origin, yatagarasu):
    for key in "h/k", "k":
        origin.put(key, b"x", Cache_Control="max-age=100")
    ours = yatagarasu([http_bucket("h", origin, forwarded="off"), {**http_bucket("r", origin, forwarded="off"), "path_prefix": "/"}])
    assert ask(ours.port, "/h/k").status == 200
    stored = lambda key: page(ours, "/admin/cache/info?key=" + key)["stored"]  # noqa: E731
    assert stored("h:k") and not stored("r:/h/k") and not stored("r:/k")


def test_info_refuses(origin, yatagarasu):
    ours = yatagarasu([servers.s3_bucket("s", origin), http_bucket("h", origin), http_bucket("p", origin, preserve_host=True, forwarded="off")])
    for key in "h:k", "p:k":
        assert "host=" in page(ours, "/admin/cache/info?key=" + key, 400)["message"]
    assert "malformed" in page(ours, "/admin/cache/info?key=h:k&query=a%23b", 400)["message"]
    for more in ("", "&host=", "&host=a/b", "&host=a%20b", "&host=a&host=b", "&host=a&query=", "&host=a&query=a%23b", "&host=a&query=%0a", "&host=a&x=1"):
        page(ours, "/admin/cache/info?key=h:k" + more, 400)
    assert not page(ours, "/admin/cache/info?key=h:k&host=" + "a" * 4000)["stored"], "what is so long passes"
    page(ours, "/admin/cache/info?key=h:a/../b&host=a", 400)
    page(ours, "/admin/cache/info?host=a", 400)
    for more in "&host=a", "&query=a":
        assert "generic HTTP" in page(ours, "/admin/cache/info?key=s:k" + more, 400)["message"]
    for query in ("", "?key=", "?key=s", "?key=s:", "?key=:k", "?key=s:k&key=s:l", "?x=1", "?key=s:%zz"):
        page(ours, "/admin/cache/info" + query, 400)
    page(ours, "/admin/cache/info?key=nobody:k", 404)
    for long in "s:" + "k" * 4000, "h:" + "|" * 1000 + "&host=a&query=" + "q" * 7000:
        assert "too long" in page(ours, "/admin/cache/info?key=" + long, 400)["message"]
