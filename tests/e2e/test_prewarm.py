"""Objects are brought into the cache before anybody asks for them: by name, and by a prefix that the origin lists, from real S3
servers and folders; paced, told, canceled; and never fetched twice."""
import concurrent.futures
import json
import os
import threading
import urllib.parse

import pytest

import raw_origin
import servers
from raw_origin import script
from scripted import Scripted, date
from wire import ask, wait_until

JSON = {"Content-Type": "application/json"}
JOBS = "/admin/cache/prewarm"
MANY = 1010  # more than one page of ListObjectsV2
ODD = ["odd/a b+c&d%41.txt", "odd/\u00e9\u65e5\u672c", "odd/<x>&amp;\"'", "odd/ lead and trail ", "odd/k:1?v=2#f", "odd/~(a)*!$,;=@"]


def order(ours, status=202, **body):
    code, _, text = ours.admin(JOBS, JSON, "POST", json.dumps(body))
    answer = json.loads(text)
    assert code == status, answer
    return answer


def job(ours, number, method="GET"):
    code, _, text = ours.admin(f"{JOBS}/{number}", method=method)
    assert code == 200, text
    return json.loads(text)


def ended(ours, number):
    assert wait_until(lambda: job(ours, number)["state"] not in ("working", "canceling"), 240), job(ours, number)
    return job(ours, number)


def prewarm(ours, **body):
    return ended(ours, order(ours, **body)["id"])


def counts(told):
    return {name: told[name] for name in ("fetched", "stored_before", "not_stored", "failed") if told[name]}


def path_of(bucket, key):
    return f"/{bucket}/" + urllib.parse.quote(key, safe="/")


def cached(ours, bucket, key):
    reply = ask(ours.port, path_of(bucket, key))
    assert reply.status == 200, (key, reply.status)
    return reply.cache == "HIT", reply.body


def body_of(key):
    return f"the body of {key}".encode()


# ---- real S3 servers ----

@pytest.fixture(scope="module", params=["moto", "versitygw"])
def loaded(request):
    server = request.getfixturevalue(request.param)
    name = "prewarm"
    client = server.client(max_pool_connections=8)
    client.create_bucket(Bucket=name)
    keys = [f"many/{i:04}" for i in range(MANY)] + ODD + ["other/1", "manyfold"]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: client.put_object(Bucket=name, Key=key, Body=body_of(key)), keys))
    server.bucket_name = name
    return server


def origin_requests(ours):
    return sum(value for name, value in ours.metrics().items() if name.startswith("s3_operations_total"))


def test_prefix_of_many(loaded, yatagarasu):
    ours = yatagarasu([servers.s3_bucket("b", loaded, bucket=loaded.bucket_name, timeout=60)])
    ours.wait_for_disk()
    told = prewarm(ours, bucket="b", prefix="many/", rate=100000, concurrency=16)
    assert told["state"] == "done" and counts(told) == {"fetched": MANY} and (told["keys"], told["keys_complete"]) == (MANY, True)
    assert told["fetched_bytes"] == sum(len(body_of(f"many/{i:04}")) for i in range(MANY)) and told["failures"] == []
    asked = origin_requests(ours)
    for i in (0, 1, 499, 999, 1000, MANY - 1):
        assert cached(ours, "b", f"many/{i:04}") == (True, body_of(f"many/{i:04}"))
    assert origin_requests(ours) == asked
    again = prewarm(ours, bucket="b", prefix="many/", rate=100000)
    assert counts(again) == {"stored_before": MANY} and again["fetched_bytes"] == 0
    ours.restart()
    ours.wait_for_disk()
    assert json.loads(ours.admin(JOBS)[2]) == {"jobs": []} and ours.admin(f"{JOBS}/1")[0] == 404
    assert counts(prewarm(ours, bucket="b", prefix="many/1", rate=100000)) == {"stored_before": MANY - 1000}
    assert cached(ours, "b", "many/1001") == (True, body_of("many/1001"))


def test_odd_keys(loaded, yatagarasu):
    ours = yatagarasu([servers.s3_bucket("b", loaded, bucket=loaded.bucket_name, timeout=60)])
    told = prewarm(ours, bucket="b", prefix="odd/", rate=100000)
    assert counts(told) == {"fetched": len(ODD)}, told
    for key in ODD:
        assert cached(ours, "b", key) == (True, body_of(key))


def test_prefixes_are_no_folders(loaded, yatagarasu):
    ours = yatagarasu([servers.s3_bucket("b", loaded, bucket=loaded.bucket_name, timeout=60)])
    assert counts(prewarm(ours, bucket="b", prefix="many/000")) == {"fetched": 10}
    assert counts(prewarm(ours, bucket="b", prefix="manyf")) == {"fetched": 1}
    assert counts(prewarm(ours, bucket="b", prefix="o", rate=100000)) == {"fetched": len(ODD) + 1}
    told = prewarm(ours, bucket="b", prefix="nothing/")
    assert told["state"] == "done" and counts(told) == {} and told["keys"] == 0


def test_named_keys(loaded, yatagarasu):
    ours = yatagarasu([servers.s3_bucket("b", loaded, bucket=loaded.bucket_name, timeout=60)])
    told = prewarm(ours, bucket="b", keys=["many/0001", ODD[0], "gone", "many/0001"], concurrency=1, rate=1000)
    assert counts(told) == {"fetched": 2, "stored_before": 1, "failed": 1}
    assert told["failures"] == [{"key": "gone", "status": 404}] and (told["keys"], told["keys_complete"]) == (4, True)
    assert cached(ours, "b", ODD[0]) == (True, body_of(ODD[0]))


def test_a_bucket_that_is_not_there(loaded, yatagarasu):
    ours = yatagarasu([servers.s3_bucket("b", loaded, bucket="nobodys")])
    told = prewarm(ours, bucket="b", prefix="")
    assert told["state"] == "failed" and told["code"] == "NoSuchBucket" and counts(told) == {}


# ---- one object, whatever it is ----

def test_what_is_stored_is_not_fetched_again(origin, yatagarasu):
    body = os.urandom(1_500_000)
    origin.put("large", body)
    ours = yatagarasu([servers.s3_bucket("s", origin)])
    ours.wait_for_disk()
    assert ask(ours.port, "/s/large", headers={"Range": "bytes=0-9"}).status == 206
    assert wait_until(lambda: json.loads(ours.admin("/admin/cache/info?key=s:large")[2]).get("chunks_stored") == 1)
    told = prewarm(ours, bucket="s", keys=["large"])
    assert counts(told) == {"fetched": 1} and told["fetched_bytes"] == len(body) - 262144
    assert cached(ours, "s", "large") == (True, body)
    assert sorted(fields["Range"] for fields in origin.asked("large")) == ["bytes=0-262143", "bytes=262144-1499999"]


def test_a_client_shares_its_flight(origin, yatagarasu):
    origin.put("k", b"x" * 1000)
    origin.held["k"] = threading.Event()
    ours = yatagarasu([servers.s3_bucket("s", origin)])
    number = order(ours, bucket="s", keys=["k"])["id"]
    assert wait_until(lambda: len(origin.asked("k")) == 1)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        client = pool.submit(ask, ours.port, "/s/k")
        assert wait_until(lambda: ours.metrics()["yatagarasu_flights_joined_total"] == 1)
        origin.held["k"].set()
        assert client.result().body == b"x" * 1000
    assert counts(ended(ours, number)) == {"fetched": 1} and len(origin.asked("k")) == 1


def test_what_may_not_be_stored(origin, yatagarasu):
    origin.put("private", b"x" * 1000, Cache_Control="no-store")
    origin.put("stale", b"x" * 1000, Cache_Control="max-age=0")
    ours = yatagarasu([servers.s3_bucket("s", origin)])
    assert counts(prewarm(ours, bucket="s", keys=["private"])) == {"not_stored": 1}
    assert counts(prewarm(ours, bucket="s", keys=["stale"])) == {"fetched": 1}
    assert counts(prewarm(ours, bucket="s", keys=["stale"])) == {"stored_before": 1}
    assert origin.asked("stale")[1]["If-None-Match"] == '"a"'


def test_it_is_no_client(origin, yatagarasu):
    origin.put("k", b"x" * 1000)
    ours = yatagarasu([servers.s3_bucket("s", origin)])
    prewarm(ours, bucket="s", keys=["k", "none"])
    metrics = ours.metrics()
    assert metrics['yatagarasu_prewarm_tasks_total{state="done"}'] == 1 and metrics["yatagarasu_prewarm_tasks"] == 0
    assert metrics['yatagarasu_prewarm_files_total{outcome="fetched"}'] == metrics['yatagarasu_prewarm_files_total{outcome="failed"}'] == 1
    assert metrics["yatagarasu_prewarm_bytes_total"] == 1000
    assert json.loads(ours.admin("/admin/cache/stats/s")[2])["requests"] == 0 and ours.access_log() == []


# ---- pace, cancel, end ----

def test_rate(origin, yatagarasu):
    for i in range(6):
        origin.put(f"k{i}", b"x")
    ours = yatagarasu([servers.s3_bucket("s", origin, timeout=120)])
    told = prewarm(ours, bucket="s", keys=[f"k{i}" for i in range(6)], rate=10)
    assert counts(told) == {"fetched": 6} and told["duration_ms"] >= 500


def hold(origin, count):
    """All wait for the gate; the origin's time-out (below) is longer than any test."""
    gate = threading.Event()
    for i in range(count):
        origin.put(f"k{i}", b"x")
        origin.held[f"k{i}"] = gate
    return gate


def test_concurrency_and_cancel(origin, yatagarasu):
    gate = hold(origin, 10)
    ours = yatagarasu([servers.s3_bucket("s", origin, timeout=120)])
    number = order(ours, bucket="s", keys=[f"k{i}" for i in range(10)], concurrency=3, rate=1000)["id"]
    assert wait_until(lambda: len(origin.seen) == 3)
    told = job(ours, number)
    assert (told["state"], told["under_way"], told["keys"]) == ("working", 3, 10)
    assert job(ours, number, "DELETE")["state"] in ("canceling", "canceled")
    told = ended(ours, number)
    assert told["state"] == "canceled" and counts(told) == {} and told["under_way"] == 0
    gate.set()
    assert job(ours, number, "DELETE") == told  # it has ended
    assert len({path for path, _ in origin.seen}) == 3
    assert counts(prewarm(ours, bucket="s", keys=["k9"])) == {"fetched": 1}


def test_cancel_while_it_is_listed(origin, yatagarasu):
    origin.held[""] = threading.Event()  # the key of a list
    ours = yatagarasu([servers.s3_bucket("s", origin, timeout=120)])
    number = order(ours, bucket="s", prefix="a")["id"]
    assert wait_until(lambda: len(origin.seen) == 1)
    job(ours, number, "DELETE")
    assert ended(ours, number)["state"] == "canceled"
    origin.held[""].set()


def test_as_many_jobs_as_may(origin, yatagarasu):
    gate = hold(origin, 1)
    ours = yatagarasu([servers.s3_bucket("s", origin, timeout=120)])
    numbers = [order(ours, bucket="s", keys=["k0"])["id"] for _ in range(4)]
    assert "4 jobs" in order(ours, 503, bucket="s", keys=["k0"])["message"]
    gate.set()
    assert sum(ended(ours, number)["fetched"] for number in numbers) >= 1 and len(origin.asked("k0")) == 1
    for _ in range(40):
        last = prewarm(ours, bucket="s", keys=["k0"])["id"]
    assert [told["id"] for told in json.loads(ours.admin(JOBS)[2])["jobs"]] == list(range(last, last - 32, -1))


def test_stopping_does_not_wait_for_it(origin, yatagarasu):
    gate = hold(origin, 4)
    origin.held[""] = gate
    ours = yatagarasu([servers.s3_bucket("s", origin, timeout=120)])
    order(ours, bucket="s", keys=[f"k{i}" for i in range(4)], concurrency=2)
    order(ours, bucket="s", keys=["k3"], rate=1)
    order(ours, bucket="s", prefix="")
    assert wait_until(lambda: len(origin.seen) == 4)
    assert ours.terminate() == 0
    gate.set()
    assert ours.error_log().count("canceled: 0 fetched") == 3  # what the origin holds would have been fetched
    ours.start()


# ---- what goes wrong ----

def test_origin_is_down(origin, yatagarasu):
    ours = yatagarasu([servers.s3_bucket("s", origin, endpoint=f"http://127.0.0.1:{servers.free_port()}")])
    told = prewarm(ours, bucket="s", prefix="")
    assert told["state"] == "failed" and told["error"] == "no connection" and not told["keys_complete"]
    told = prewarm(ours, bucket="s", keys=["a", "b"], concurrency=1)
    assert told["state"] == "done" and told["failures"] == [{"key": "a", "status": 502}, {"key": "b", "status": 502}]


@pytest.mark.parametrize("answer", ["", "<html/>", "<ListBucketResult>", "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
                                    '<!DOCTYPE a [<!ENTITY e "k">]><ListBucketResult><Contents><Key>&e;</Key></Contents></ListBucketResult>',
                                    "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken></ListBucketResult>"],
                         ids=["empty", "other", "cut", "no-token", "doctype", "circle"])
def test_no_list(origin, yatagarasu, answer):
    origin.put("", answer.encode(), ETag=None)
    ours = yatagarasu([servers.s3_bucket("s", origin)])
    told = prewarm(ours, bucket="s", prefix="")
    assert told["state"] == "failed" and told["error"] == "the peer broke its protocol", told
    assert len(origin.seen) == (2 if "NextC" in answer else 1)


@pytest.mark.parametrize("body, named", [
    ({"bucket": "s"}, "keys"), ({"keys": ["k"]}, "bucket"), ({"bucket": "t", "keys": ["k"]}, "bucket"), ({"bucket": 1, "keys": ["k"]}, "bucket"),
    ({"bucket": "", "keys": ["k"]}, "bucket"), ({"bucket": "s" * 300, "keys": ["k"]}, "bucket"),
    ({"bucket": "s", "keys": []}, "keys"), ({"bucket": "s", "keys": "k"}, "keys"), ({"bucket": "s", "keys": [1]}, "keys"),
    ({"bucket": "s", "keys": [""]}, "keys"), ({"bucket": "s", "keys": ["k"], "prefix": ""}, "keys"),
    ({"bucket": "s", "prefix": None}, "prefix"), ({"bucket": "s", "prefix": "p" * 1025}, "prefix"),
    ({"bucket": "s", "keys": ["k"], "concurrency": 0}, "concurrency"), ({"bucket": "s", "keys": ["k"], "concurrency": 65}, "concurrency"),
    ({"bucket": "s", "keys": ["k"], "concurrency": "4"}, "concurrency"), ({"bucket": "s", "keys": ["k"], "rate": 1.5}, "rate"),
    ({"bucket": "s", "keys": ["k"], "rate": True}, "rate"), ({"bucket": "s", "keys": ["k"], "rate": 100001}, "rate"),
    ({"bucket": "s", "keys": ["k"], "Rate": 1}, "Rate"), ({"bucket": "s", "keys": ["k"], "x" * 500: 1}, "x" * 60), ([], ""), (None, "")])
def test_refused(refusing, body, named):
    message = order(refusing, 400, **body)["message"] if isinstance(body, dict) else json.loads(
        refusing.admin(JOBS, JSON, "POST", json.dumps(body))[2])["message"]
    assert (f'"{named}"' if named else "JSON object") in message


# ---- generic HTTP origins ----

def http_bucket(name, origin, **keys):
    return {"name": name, "path_prefix": f"/{name}", "http": {"endpoint": f"{origin.endpoint}/o", **keys}}


def test_a_generic_origin_has_no_list(origin, yatagarasu):
    ours = yatagarasu([http_bucket("h", origin), servers.s3_bucket("s", origin)])
    for named, what in (("prefix", {"prefix": "", "host": "test"}), ("host", {"keys": ["k"]}), ("host", {"keys": ["k"], "host": "a/b"}),
                        ("host", {"keys": ["k"], "host": ""}), ("host", {"keys": ["k"], "host": "a" * 300}), ("host", {"keys": ["k"], "host": 1})):
        assert f'"{named}"' in order(ours, 400, bucket="h", **what)["message"]
    assert '"host"' in order(ours, 400, bucket="s", keys=["k"], host="test")["message"]
    assert origin.seen == []


def test_what_clients_of_a_generic_origin_find(origin, yatagarasu):
    fresh = {"Cache-Control": "max-age=60"}
    for key in ODD:
        origin.objects[urllib.parse.quote(key, safe="/!$&'()*+,;=:@~")] = (body_of(key), fresh)
    large = os.urandom(700_000)
    origin.objects.update({"large": (large, {**fresh, "Vary": "X-A"}), "private": (b"p", {"Cache-Control": "private"}),
                           "moved": lambda request: (301, b"", {**fresh, "Location": "/o/large"}),
                           "error": lambda request: (500, b"sorry", {})})
    ours = yatagarasu([http_bucket("h", origin), http_bucket("other", origin, forwarded="off")])
    ours.wait_for_disk()
    told = prewarm(ours, bucket="h", keys=ODD + ["/large", "private", "moved", "error", "gone"], host="test", rate=100000)
    assert told["state"] == "done" and told["host"] == "test"
    assert counts(told) == {"fetched": len(ODD) + 2, "not_stored": 1, "failed": 2}, told
    assert sorted((failure["key"], failure["status"]) for failure in told["failures"]) == [("error", 500), ("gone", 404)]
    asked = len(origin.seen)
    for key in ODD:
        reply = ask(ours.port, "/h/" + urllib.parse.quote(key, safe="/!$&'()*+,;=:@~"))
        assert (reply.cache, reply.body) == ("HIT", body_of(key)), key
    assert ask(ours.port, "/h/large").body == large and ask(ours.port, "/h/moved").status == 301
    assert len(origin.seen) == asked
    again = prewarm(ours, bucket="h", keys=ODD + ["large"], host="TEST", rate=100000)
    assert counts(again) == {"stored_before": len(ODD) + 1} and len(origin.seen) == asked
    for reply in ask(ours.port, "/h/large", {"X-A": "1"}), ask(ours.port, "/h/large", {"Host": "another"}), ask(ours.port, "/other/large"):
        assert reply.cache == "MISS", "another variant, another host, and what is told of the host otherwise"
    assert counts(prewarm(ours, bucket="other", keys=["large", "moved"])) == {"fetched": 1, "stored_before": 1}


def test_what_a_generic_origin_is_told(origin, yatagarasu):
    origin.put("k", b"k", Cache_Control="max-age=60")
    ours = yatagarasu([http_bucket("x", origin), http_bucket("f", origin, forwarded="forwarded"), http_bucket("p", origin, forwarded="off", preserve_host=True)])
    seen = []
    for bucket in "xfp":
        assert counts(prewarm(ours, bucket=bucket, keys=["k"], host="www.example.com")) == {"fetched": 1}
        seen.append({name: value for name, value in origin.asked("k")[-1].items() if name != "Via"})
    endpoint = origin.endpoint.removeprefix("http://")
    assert seen == [{"Host": endpoint, "X-Forwarded-For": "unknown", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "www.example.com"},
                    {"Host": endpoint, "Forwarded": 'for=unknown;host="www.example.com";proto=http'},
                    {"Host": "www.example.com"}]


def test_what_generic_origins_answer_oddly(yatagarasu):
    with raw_origin.RawOrigin() as origin:
        ours = yatagarasu([http_bucket("h", origin, forwarded="off")])
        fresh = "Cache-Control: max-age=60\r\n"
        origin.scripts.update({
            "/o/chunked": script(f"HTTP/1.1 200 OK\r\n{fresh}Transfer-Encoding: chunked\r\n\r\n", *(["186a0\r\n" + "k" * 100_000 + "\r\n"] * 5), "0\r\n\r\n"),
            "/o/until-close": script(f"HTTP/1.1 200 OK\r\n{fresh}\r\nkkk"),
            "/o/hints": script(f"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n{fresh}Content-Length: 1\r\n\r\nk"),
            "/o/short": script(f"HTTP/1.1 200 OK\r\n{fresh}Content-Length: 1000000\r\n\r\nkkk"),
            "/o/part": script(f"HTTP/1.1 206 Partial Content\r\n{fresh}Content-Range: bytes 0-0/9\r\nContent-Length: 1\r\n\r\nk"),
            "/o/varies": script(f"HTTP/1.1 200 OK\r\n{fresh}Vary: *\r\nContent-Length: 1\r\n\r\nk"),
            "/o/endless": script("HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nk\r\n", lambda talk: talk.more())})
        stored = ["chunked", "until-close", "hints"]
        told = prewarm(ours, bucket="h", keys=stored + ["part", "varies", "endless", "short"], rate=1000)
        assert counts(told) == {"fetched": 3, "not_stored": 3, "failed": 1} and told["failures"][0]["key"] == "short", told
        assert counts(prewarm(ours, bucket="h", keys=stored)) == {"stored_before": 3}
        assert [len(ask(ours.port, "/h/" + key).body) for key in stored] == [500_000, 3, 1]
        assert [ask(ours.port, "/h/" + key).cache for key in stored] == ["HIT"] * 3


def test_what_passes_for_clients_is_asked_for_all_the_same(origin, yatagarasu):
    """For a while nobody waits for what could not be stored: clients are passed on. A job asks whether it can be by now."""
    fresh = {"Cache-Control": "max-age=60"}
    origin.objects["error"] = lambda request: (500, b"sorry", {})
    origin.objects["page"] = (b"p", {"ETag": None, "Last-Modified": date(-864000)})
    origin.put("k", b"k", Cache_Control="no-store")
    ours = yatagarasu([http_bucket("h", origin), servers.s3_bucket("s", origin)])
    for _ in range(2):
        told = prewarm(ours, bucket="h", keys=["error"], host="test")
        assert counts(told) == {"failed": 1} and told["failures"] == [{"key": "error", "status": 500}]
    assert len(origin.asked("error")) == 2

    assert [ask(ours.port, "/h/page", {"Cookie": "a=1"}).body for _ in range(2)] == [b"p"] * 2
    assert counts(prewarm(ours, bucket="h", keys=["page"], host="test")) == {"fetched": 1}
    assert ask(ours.port, "/h/page").cache == "HIT"

    for bucket, host in (("h", {"host": "test"}), ("s", {})):
        origin.put("k", b"k", Cache_Control="no-store")
        for _ in range(2):
            assert counts(prewarm(ours, bucket=bucket, keys=["k"], **host)) == {"not_stored": 1}
        origin.objects["k"] = (b"k", fresh)
        assert counts(prewarm(ours, bucket=bucket, keys=["k"], **host)) == {"fetched": 1}
        assert cached(ours, bucket, "k") == (True, b"k")


def test_what_was_for_another_client_only(origin, yatagarasu):
    origin.objects["page"] = (b"p", {"ETag": None, "Last-Modified": date(-864000)})
    origin.held["page"] = threading.Event()
    ours = yatagarasu([http_bucket("h", origin)])
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        client = pool.submit(ask, ours.port, "/h/page", {"Cookie": "a=1"})
        assert wait_until(lambda: len(origin.asked("page")) == 1)
        number = order(ours, bucket="h", keys=["page"], host="test")["id"]
        assert wait_until(lambda: ours.metrics()["yatagarasu_flights_joined_total"] == 1)
        origin.held["page"].set()
        assert client.result().body == b"p"
    assert counts(ended(ours, number)) == {"fetched": 1} and len(origin.asked("page")) == 2
    assert ask(ours.port, "/h/page").cache == "HIT"


def test_keys_of_generic_origins_that_no_client_asks_for_so(origin, yatagarasu):
    ours = yatagarasu([http_bucket("h", origin, forwarded="off"), {**http_bucket("off", origin, forwarded="off"), "cache": {"enabled": False}},
                       {**http_bucket("root", origin, forwarded="off"), "path_prefix": "/"}])
    for bucket, key, status in (("h", "a/../b", 400), ("root", "h/k", 404)):
        told = prewarm(ours, bucket=bucket, keys=[key])
        assert counts(told) == {"failed": 1} and told["failures"] == [{"key": key, "status": status}]
    assert counts(prewarm(ours, bucket="off", keys=["k"])) == {"not_stored": 1}
    assert origin.seen == []


@pytest.fixture(scope="module")
def refusing(tmp_path_factory):
    with Scripted() as origin, servers.Yatagarasu(tmp_path_factory.mktemp("refusing"), [servers.s3_bucket("s", origin)]) as ours:
        yield ours
        assert origin.seen == [] and json.loads(ours.admin(JOBS)[2]) == {"jobs": []}
        assert not ours.stop()


# ---- folders ----

def test_folder(yatagarasu, tmp_path):
    root = tmp_path / "files"
    keys = ["a", "sub/1", "sub/2", "sub/deep/er/3", "subway", "\u00e9/x y"] + [f"flat/{i}" for i in range(300)]
    for key in keys:
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(body_of(key))
    (root / "link").symlink_to(root / "a")
    (root / "out").symlink_to("/etc")
    os.mkfifo(root / "pipe")
    ours = yatagarasu([servers.file_bucket("f", root)])
    for prefix in ("sub", "sub/", "sub/d", "sub/deep/er/3", "flat/29", "none", "../", "a/", "/", "\u00e9"):
        before = [key for key in keys if key.startswith(prefix)]
        assert prewarm(ours, bucket="f", prefix=prefix, rate=100000)["keys"] == len(before), prefix
    told = prewarm(ours, bucket="f", prefix="", rate=100000)
    assert told["keys"] == len(keys) and told["failed"] == 0
    for key in keys[:6]:
        assert cached(ours, "f", key) == (True, body_of(key))


def test_folder_that_is_gone(yatagarasu, tmp_path):
    ours = yatagarasu([servers.file_bucket("f", tmp_path / "nothing")])
    told = prewarm(ours, bucket="f", prefix="")
    assert told["state"] == "failed" and told["error"] == "no connection"
