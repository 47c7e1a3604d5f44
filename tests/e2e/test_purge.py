"""What an operator takes out of the cache does not come back: from all tiers, in all its forms, under fetches that were under way,
through restarts and kill -9."""
import itertools
import json
import random
import threading
import time

import pytest

import servers
from scripted import Handler, apart
from wire import ask, wait_until

SLICED = 700_000
JSON = {"Content-Type": "application/json"}
KEYS = [f"{folder}/{name}" for folder in "abc" for name in "xy"]
LAYERS = {"both": ["memory", "disk"], "memory": ["memory"], "disk": ["disk"]}


class HalfWriter:
    """Writes half of the body, then the rest when the gate opens."""

    def __init__(self, wfile, wait):
        self.wfile, self.wait = wfile, wait

    def write(self, body):
        self.wfile.write(body[:len(body) // 2])
        self.wfile.flush()
        self.wait()
        return self.wfile.write(body[len(body) // 2:])

    def __getattr__(self, name):
        return getattr(self.wfile, name)


class GatedHandler(Handler):
    """Holds answers back, after what is in them was decided, where the server has a gate for the key."""

    def key(self):
        return self.path.split("/", 2)[2].split("?")[0]

    def wait_at(self, gate):
        self.server.waiting.append(self.key())
        gate.wait(60)

    def send_response_only(self, *args):
        gate = self.server.head_gates.get(self.key())
        if gate:
            self.wait_at(gate)
        super().send_response_only(*args)

    def end_headers(self):
        super().end_headers()
        self.flush_headers()
        gate = self.server.body_gates.get(self.key())
        if gate:
            self.wfile = HalfWriter(self.wfile, lambda: self.wait_at(gate))

    def do_GET(self):
        super().do_GET()
        if isinstance(self.wfile, HalfWriter):
            self.wfile = self.wfile.wfile

    do_HEAD = do_GET


@pytest.fixture
def origin():
    with apart([("", bucket, key) for bucket in "st" for key in ["a/b", "a/bb", "never/seen", *KEYS]]) as server:
        server.RequestHandlerClass = GatedHandler
        server.head_gates, server.body_gates, server.waiting = {}, {}, []
        yield server


def put(origin, key, version, size=1000, **fields):
    body = random.Random(f"{key} {version}").randbytes(size)
    origin.put(key, body, ETag=f'"{version}"', **fields)
    return body


def purge(ours, path="", status=200, **body):
    code, _, text = ours.admin(f"/admin/cache/purge{path}", JSON, "POST", json.dumps(body) if body else "")
    answer = json.loads(text)
    assert code == status, answer
    if status == 200:
        assert answer["durable"] is True and answer["sequence"] > 0
    return answer


def start(yatagarasu, origin, *names, **keys):
    ours = yatagarasu([servers.s3_bucket(name, origin, timeout=60) for name in names or ("s",)], **keys)
    if "disk" in ours.config["cache"]["cache_layers"]:
        ours.wait_for_disk()
    return ours


def layers(which):
    on = "disk" in LAYERS[which]
    return {"cache": {"cache_layers": LAYERS[which], "disk": {"enabled": on}}}


def settled(ours):
    if "disk" in ours.config["cache"]["cache_layers"]:
        assert wait_until(lambda: ours.metrics()["yatagarasu_disk_waiting_bytes"] == 0)


def see(ours, path, headers=None):
    answer = ask(ours.port, path, headers)
    assert answer.status in (200, 206), (path, answer.status, answer.body)
    return answer.body, answer.cache


def again(ours, how):
    if how == "SIGTERM":
        assert ours.terminate() == 0
    elif how == "SIGKILL":
        ours.kill()
    else:
        return
    ours.start()
    ours.wait_for_disk()


@pytest.mark.parametrize("which, size", [("both", 0), ("both", 1000), ("both", SLICED), ("memory", SLICED), ("disk", SLICED)])
def test_one_object(origin, yatagarasu, which, size):
    old = put(origin, "a/b", "1", size)
    kept = put(origin, "a/bb", "1", size)
    ours = start(yatagarasu, origin, **layers(which))
    for key, body in (("a/b", old), ("a/bb", kept)):
        assert see(ours, f"/s/{key}") == (body, "MISS")
    settled(ours)
    assert see(ours, "/s/a/b") == (old, "HIT")
    new = put(origin, "a/b", "2", size + 1)
    answer = purge(ours, "/s/a/b")
    assert answer["purged"] == "object" and answer["stored"] == {"etag": '"1"', "length": size}
    assert see(ours, "/s/a/b") == (new, "MISS")
    assert see(ours, "/s/a/bb") == (kept, "HIT"), "its neighbour stays"
    assert purge(ours, "/s/never/seen")["stored"] is None
    assert ours.metrics()['yatagarasu_cache_purges_total{kind="hard"}'] == 2


def test_two_objects_of_one_slot(origin, yatagarasu):
    """What that costs: a miss."""
    slot = servers.purge_slot(origin.endpoint, "s", "k")
    other = next(key for key in map(str, itertools.count()) if servers.purge_slot(origin.endpoint, "s", key) == slot)
    body = put(origin, other, "1")
    put(origin, "k", "1")
    ours = start(yatagarasu, origin, **layers("memory"))
    assert [see(ours, f"/s/{other}")[1] for _ in range(2)] == ["MISS", "HIT"]
    purge(ours, "/s/k")
    assert [see(ours, f"/s/{other}") for _ in range(2)] == [(body, "MISS"), (body, "HIT")]


def test_key_is_decoded_once(origin, yatagarasu):
    put(origin, "a%20b/c%2525", "1")
    ours = start(yatagarasu, origin)
    see(ours, "/s/a%20b/c%2525")
    answer = purge(ours, "/s/a%20b%2Fc%2525")
    assert answer["key"] == "a b/c%25" and answer["stored"]["etag"] == '"1"'
    assert see(ours, "/s/a%20b/c%2525")[1] == "MISS"


@pytest.mark.parametrize("how", ["at once", "SIGTERM", "SIGKILL"])
def test_what_is_purged_does_not_come_back(origin, yatagarasu, how):
    """Of a mixed store: every scope, hard, with objects in chunks and inline, in both tiers."""
    ours = start(yatagarasu, origin, "s", "t")
    for turn, (path, body, gone) in enumerate([
            ("/s/a/x", {}, {"s/a/x"}),
            ("/s", {"prefix": "b/"}, {"s/b/x", "s/b/y"}),
            ("/s", {"tag": "tag-y"}, {"s/a/y", "s/b/y", "s/c/y"}),
            ("", {"prefix": "c/"}, {f"{bucket}/c/{name}" for bucket in "st" for name in "xy"}),
            ("/t", {}, {f"t/{key}" for key in KEYS}),
            ("", {"tag": "all"}, {f"{bucket}/{key}" for bucket in "st" for key in KEYS}),
            ("", {}, {f"{bucket}/{key}" for bucket in "st" for key in KEYS})]):
        for key in KEYS:
            put(origin, key, turn, SLICED if key[0] == "b" else 2000, Surrogate_Key=f"all tag-{key[-1]}", Cache_Control="max-age=9999")
        ask_all = [f"{bucket}/{key}" for bucket in "st" for key in KEYS]
        if turn == 0:
            for name in ask_all:
                assert see(ours, f"/{name}")[1] == "MISS"
        settled(ours)
        purge(ours, path, **body)
        again(ours, how)
        for name in ask_all:
            assert see(ours, f"/{name}")[1] == ("MISS" if name in gone else "HIT"), (path, body, name)
        for name in ask_all:
            assert see(ours, f"/{name}")[1] == "HIT"


@pytest.mark.parametrize("how, size", [("at once", 1000), ("SIGTERM", SLICED), ("SIGKILL", SLICED)])
def test_soft_is_stale(origin, yatagarasu, how, size):
    body = put(origin, "k", "1", size, Cache_Control="max-age=9999")
    other = put(origin, "l", "1", size, Cache_Control="max-age=9999")
    ours = start(yatagarasu, origin)
    assert see(ours, "/s/k") == (body, "MISS") and see(ours, "/s/l") == (other, "MISS")
    settled(ours)
    assert purge(ours, "/s/k", soft=True)["soft"] is True
    again(ours, how)
    origin.seen.clear()
    assert see(ours, "/s/k") == (body, "REVALIDATED"), "the same one, asked about"
    assert [fields.get("If-None-Match") for fields in origin.asked("k")] == ['"1"']
    assert see(ours, "/s/k") == (body, "HIT") and see(ours, "/s/l") == (other, "HIT")
    new = put(origin, "k", "2", size)
    purge(ours, "/s", prefix="k", soft=True)
    assert see(ours, "/s/k")[0] == new
    assert see(ours, "/s/l") == (other, "HIT")


def test_versions_go_with_their_object(origin, yatagarasu):
    body = put(origin, "k", "1")
    ours = start(yatagarasu, origin)
    names = ["/s/k", "/s/k?versionId=v1", "/s/k?versionId=v2"]
    for name in names:
        assert see(ours, name) == (body, "MISS")
        assert see(ours, name) == (body, "HIT")
    settled(ours)
    purge(ours, "/s/k")
    again(ours, "SIGKILL")
    for name in names:
        assert see(ours, name) == (body, "MISS"), name


def test_tags_of_all_fields(origin, yatagarasu):
    fields = {"a": {"Surrogate_Key": "red green"}, "b": {"Cache_Tag": "red,blue"}, "c": {"x_amz_meta_tags": "black, red"},
              "d": {"x_amz_meta_other": "red"}, "e": {"Surrogate_Key": "redder re"}}
    for key, own in fields.items():
        put(origin, key, "1", **own)
    ours = yatagarasu([{**servers.s3_bucket("s", origin), "cache": {"tag_field": "X-Amz-Meta-Tags"}}])
    ours.wait_for_disk()
    for key in fields:
        see(ours, f"/s/{key}")
    settled(ours)
    purge(ours, "/s", tag="red")
    assert {key: see(ours, f"/s/{key}")[1] for key in fields} == {"a": "MISS", "b": "MISS", "c": "MISS", "d": "HIT", "e": "HIT"}
    put(origin, "d", "1", Surrogate_Key="late")
    purge(ours, "/s/d", soft=True)
    assert see(ours, "/s/d")[1] == "REVALIDATED"
    purge(ours, tag="late")
    assert see(ours, "/s/d")[1] == "MISS", "a 304 brings new tags"


@pytest.mark.parametrize("where, path, body", [("head", "/s/k", {}), ("body", "/s/k", {}), ("head", "/s", {"prefix": "k"}), ("head", "", {"tag": "red"}),
                                               ("body", "", {"tag": "red"}), ("head", "/s/k", {"soft": True}), ("body", "/s/k", {"soft": True}), ("body", "", {})])
def test_a_fetch_under_way(origin, yatagarasu, where, path, body):
    """What was asked for before the purge reaches who waited for it, and nobody else."""
    old = put(origin, "k", "1", SLICED, Surrogate_Key="red")
    gate = threading.Event()
    (origin.head_gates if where == "head" else origin.body_gates)["k"] = gate
    ours = start(yatagarasu, origin)
    seen = []
    reader = threading.Thread(target=lambda: seen.append(see(ours, "/s/k")[0]))
    reader.start()
    assert wait_until(lambda: "k" in origin.waiting)
    time.sleep(0.3)
    new = put(origin, "k", "2", SLICED, Surrogate_Key="red")
    origin.head_gates.clear(), origin.body_gates.clear()
    purge(ours, path, **body)
    answer = see(ours, "/s/k")
    assert answer[0] == new and answer[1] != "HIT", "not joined to the old fetch"
    gate.set()
    reader.join()
    assert seen == [old]
    assert see(ours, "/s/k")[0] == new
    settled(ours)
    again(ours, "SIGKILL")
    assert see(ours, "/s/k")[0] == new


def test_a_check_under_way_does_not_bring_it_back(origin, yatagarasu):
    """The origin says 304 to a question that was asked before the purge: the stored bytes stay gone."""
    body = put(origin, "k", "1", SLICED, Cache_Control="max-age=0")
    ours = start(yatagarasu, origin)
    assert see(ours, "/s/k")[0] == body
    gate = origin.head_gates["k"] = threading.Event()
    origin.seen.clear()
    reader = threading.Thread(target=lambda: see(ours, "/s/k"))
    reader.start()
    assert wait_until(lambda: "k" in origin.waiting)
    time.sleep(0.3)
    origin.head_gates.clear()
    purge(ours, "/s/k")
    gate.set()
    reader.join()
    origin.seen.clear()
    assert see(ours, "/s/k") == (body, "MISS")
    assert all("If-None-Match" not in fields for fields in origin.asked("k"))


@pytest.mark.parametrize("path, body", [("/s/k", {}), ("/s", {"prefix": "k"}), ("", {"tag": "red"})], ids=["object", "prefix", "tag"])
def test_what_was_not_there_is_asked_for_again(origin, yatagarasu, path, body):
    ours = yatagarasu([{**servers.s3_bucket("s", origin), "cache": {"status_ttl": [{"status": 404, "ttl_seconds": 600}]}}])
    ours.wait_for_disk()
    assert ask(ours.port, "/s/k").status == 404
    there = put(origin, "k", "1")
    assert ask(ours.port, "/s/k").status == 404, "remembered"
    purge(ours, path, **body)
    assert see(ours, "/s/k") == (there, "MISS")


def test_purges_under_load(origin, yatagarasu):
    """Readers never see a version that was there before the last purge that had answered when they asked."""
    versions = {"k": 0, "l": 0}
    sizes = {"k": 3000, "l": 400_000}
    bodies = {}

    def publish(key):
        number = versions[key] + 1
        bodies[put(origin, key, number, sizes[key], Cache_Control="max-age=9999")] = (key, number)
        versions[key] = number
        return number

    for key in versions:
        publish(key)
    ours = start(yatagarasu, origin)
    floors, wrong, stop = {"k": 0, "l": 0}, [], threading.Event()

    def read(key):
        while not stop.is_set():
            floor = floors[key]
            body, _ = see(ours, f"/s/{key}")
            if bodies[body][1] < floor:
                wrong.append((key, bodies[body], floor))

    readers = [threading.Thread(target=read, args=(key,)) for key in "kkll"]
    for reader in readers:
        reader.start()
    for turn in range(60):
        key = "kl"[turn % 2]
        number = publish(key)
        path, body = [(f"/s/{key}", {}), ("/s", {"prefix": key}), ("/s", {})][turn % 3]
        purge(ours, path, **body)
        floors[key] = number
    stop.set()
    for reader in readers:
        reader.join()
    assert wrong == []


def test_what_is_refused(origin, yatagarasu):
    put(origin, "k", "1")
    ours = start(yatagarasu, origin)
    see(ours, "/s/k")
    assert purge(ours, "/nobody", 404)["status"] == 404
    for path, body in [("/s", {"prefx": "k"}), ("/s", {"prefix": 5}), ("/s", {"prefix": ""}), ("/s", {"tag": "a b"}),
                       ("/s", {"soft": 1}), ("/s/k", {"prefix": "k"}), ("/s/k", {"tag": "t"}), ("/s/", {}),
                       ("/s/" + "k" * 4000, {}), ("/s", {"prefix": "k" * 1025})]:
        assert purge(ours, path, 400, **body)["message"]
    for text in ("[]", "{", "null", '{"soft":true,"soft":false}', '{"tag":"a\\u0000b"}'):
        assert ours.admin("/admin/cache/purge/s", JSON, "POST", text)[0] == 400, text
    assert ours.admin("/admin/cache/purge/s", JSON, "POST", "x" * 300_000)[0] == 413
    assert ours.admin("/admin/cache/purge/s", {}, "POST", "")[0] == 415
    assert ours.admin("/admin/cache/purge/s", {**JSON, "Host": "evil.example"}, "POST", "")[0] == 403
    assert ours.admin("/admin/cache/purge/s")[0] == 405
    assert see(ours, "/s/k")[1] == "HIT", "nothing was purged by any of these"


def test_with_a_token(origin, yatagarasu):
    put(origin, "k", "1")
    ours = start(yatagarasu, origin, admin={"token": "TheAdminToken3"})
    see(ours, "/s/k")
    assert ours.admin("/admin/cache/purge", JSON, "POST", "")[0] == 401
    assert see(ours, "/s/k")[1] == "HIT"
    assert ours.admin("/admin/cache/purge", {"Authorization": "Bearer TheAdminToken3"}, "POST", "")[0] == 200
    assert see(ours, "/s/k")[1] == "MISS"


def test_ten_thousand_objects_cost_what_one_does(origin, yatagarasu):
    """By counting what is written: one record, however much it hides."""
    ours = start(yatagarasu, origin)
    for i in range(150):
        put(origin, f"many/{i}", "1", 300)
        see(ours, f"/s/many/{i}")
    settled(ours)
    time.sleep(0.5)
    before = ours.metrics()["yatagarasu_disk_written_bytes_total"]
    purge(ours, "/s", prefix="many/")
    one = ours.metrics()["yatagarasu_disk_written_bytes_total"] - before
    assert one <= 8192, one
    assert see(ours, "/s/many/7")[1] == "MISS"
