"""Answers whose length the origin does not say: delivered as they come, stored once they are complete, and never taken for complete
when they were cut."""
import threading

import pytest

import raw_origin
import servers
from faulty_origin import pattern
from wire import Wire, ask, wait_until

MIB = 1 << 20
FRAMINGS = ["chunked", "no-length"]
SIZES = [0, 1, 1000, 16 << 10, (16 << 10) + 1, 256 << 10, (256 << 10) + 1, 3 * MIB + 17]


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with servers.Faulty() as origin:
        buckets = [servers.s3_bucket("b", origin, timeout=20),
                   servers.s3_bucket("small", origin, prefix="/small", bucket="small", timeout=20)]
        ours = servers.Yatagarasu(tmp_path_factory.mktemp("no_length"), buckets)
        ours.start()
        yield ours, origin
        problems = ours.stop()
        assert not problems, problems


def asked(origin, key):
    return origin.stats()[key]["requests"]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("framing", FRAMINGS)
def test_delivered_and_stored(stage, framing, size):
    ours, origin = stage
    key, data = f"{framing},n=0,size={size}/stored", pattern(0, size, 1)
    first = ask(ours.port, f"/b/{key}")
    assert first.status == 200 and not first.cut and first.body == data and first.cache == "MISS"
    again = ask(ours.port, f"/b/{key}")
    assert again.cache == "HIT" and again.body == data and again.get("Content-Length") == str(size)
    head = ask(ours.port, f"/b/{key}", method="HEAD")
    assert head.cache == "HIT" and head.get("Content-Length") == str(size)
    if size > 10:
        part = ask(ours.port, f"/b/{key}", {"Range": "bytes=-10"})
        assert part.status == 206 and part.body == data[-10:] and part.cache == "HIT"
    assert asked(origin, key) == 1


@pytest.mark.parametrize("framing", FRAMINGS)
def test_survives_a_restart(yatagarasu, faulty, framing):
    ours = yatagarasu([servers.s3_bucket("b", faulty)])
    ours.wait_for_disk()
    keys = {f"{framing},n=0,size={size}/kept": pattern(0, size, 1) for size in (1000, 700_000)}
    for key, data in keys.items():
        assert ask(ours.port, f"/b/{key}").body == data
    ours.restart()
    ours.wait_for_disk()
    for key, data in keys.items():
        again = ask(ours.port, f"/b/{key}")
        assert again.cache == "HIT" and again.body == data and faulty.stats()[key]["requests"] == 1


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_first_bytes_come_before_the_last(yatagarasu, version):
    """The origin sends the second half of a chunked answer once the client has the first."""
    data, go = pattern(0, 600_000, 1), threading.Event()

    def halves(talk):
        talk.send('HTTP/1.1 200 OK\r\nETag: "a"\r\nTransfer-Encoding: chunked\r\n\r\n')
        for half in data[:300_000], data[300_000:]:
            talk.send(b"%x\r\n" % len(half) + half + b"\r\n")
            assert go.wait(30)
        talk.send("0\r\n\r\n")

    with raw_origin.RawOrigin() as origin:
        origin.scripts["/b/k"] = halves
        ours = yatagarasu([servers.s3_bucket("b", origin, timeout=60)])
        with Wire(ours.port) as wire:
            answer = wire.request("/b/k", version=version).head()
            while len(wire.buffer) < 250_000:
                assert wire.more()
            go.set()
            assert answer.get("Transfer-Encoding") == ("chunked" if version == "1.1" else None)
            whole = wire.chunks(answer) if version == "1.1" else wire.until_close(answer)
            assert not whole.cut and whole.body == data


def test_http_1_0_is_ended_by_the_close(stage):
    ours, _ = stage
    with Wire(ours.port) as wire:
        answer = wire.request("/b/slow-chunked,size=100000/old", {"Connection": "keep-alive"}, version="1.0").response()
        assert answer.get("Connection") == "close" and not answer.cut and answer.body == pattern(0, 100_000, 1)


def test_a_connection_goes_on_after_chunks(stage):
    ours, _ = stage
    with Wire(ours.port) as wire:
        for i in range(3):
            answer = wire.request(f"/b/slow-chunked,size=300000/on{i}").response()
            assert answer.get("Transfer-Encoding") == "chunked" and answer.body == pattern(0, 300_000, 1)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("fault", ["chunked-truncate", "no-length-reset"])
def test_a_cut_transfer_is_cut_and_not_stored(yatagarasu, fault, version):
    """It is cut once the client has its beginning."""
    data, begun, chunked = pattern(0, 2_000_000, 1), threading.Event(), fault == "chunked-truncate"

    def answer_of(talk):
        first = origin.count("/b/k") == 1
        part = data[:1_000_000] if first else data
        talk.send('HTTP/1.1 200 OK\r\nETag: "v1"\r\n' + ("Transfer-Encoding: chunked" if chunked else "Connection: close") + "\r\n\r\n")
        talk.send(b"%x\r\n" % len(part) + part + b"\r\n" if chunked else part)
        if first:
            assert begun.wait(60)
            talk.close() if chunked else talk.reset()
        elif chunked:
            talk.send("0\r\n\r\n")
        else:
            talk.close()

    with raw_origin.RawOrigin() as origin:
        origin.scripts["/b/k"] = answer_of
        ours = yatagarasu([servers.s3_bucket("b", origin, timeout=60)])
        with Wire(ours.port) as wire:
            wire.request("/b/k", version=version)
            while b"\r\n\r\n" not in wire.buffer:
                assert wire.more()
            begun.set()
            answer = wire.response()
        assert answer.status == 200 and answer.cut and data.startswith(answer.body)
        again = ask(ours.port, "/b/k")
        assert again.cache == "MISS" and again.body == data and origin.count("/b/k") == 2


def test_clients_share_the_transfer(stage):
    """Also those that come in its middle, and those that read slowly."""
    ours, origin = stage
    size = 4 * MIB
    key, data = f"slow-chunked,size={size},at={2 * MIB},ms=2000/shared", pattern(0, size, 1)
    wires = [Wire(ours.port) for _ in range(8)]
    for wire in wires[:4]:
        wire.request(f"/b/{key}")
    assert wires[0].more()
    for wire in wires[4:]:
        wire.request(f"/b/{key}")
    for wire in wires:
        answer = wire.response()
        assert not answer.cut and answer.body == data
        wire.close()
    assert asked(origin, key) == 1


def test_longer_than_the_window(stage):
    """A slow reader falls out of what the transfer keeps, and goes on from the tiers."""
    ours, origin = stage
    size = 40 * MIB
    key, data = f"slow-chunked,size={size},at=1000000,ms=12000/window", pattern(0, size, 1)
    slow, fast = Wire(ours.port, receive_buffer=4096), Wire(ours.port)
    for wire in (slow, fast):
        wire.request(f"/b/{key}")
    for wire in (fast, slow):
        answer = wire.response()
        assert not answer.cut and answer.body == data
        wire.close()
    assert ask(ours.port, f"/b/{key}").cache == "HIT"
    assert asked(origin, key) == 1


@pytest.mark.parametrize("asks", ["bytes=10-19", "bytes=-10", "bytes=0-9,20-29", "bytes=999999-"])
@pytest.mark.parametrize("framing", ["no-length", "chunked"])
def test_ranges_of_what_has_no_length_yet(stage, framing, asks):
    """The origin ignores Range, and says no length: 200 and all of it; from then on 206."""
    ours, _ = stage
    key, data = f"whole-{framing},n=0,size=300000/{asks.replace('=', '')}", pattern(0, 300_000, 1)
    first = ask(ours.port, f"/b/{key}", {"Range": asks})
    assert first.status == 200 and first.body == data and not first.cut
    again = ask(ours.port, f"/b/{key}", {"Range": asks})
    assert again.status == (416 if "999999" in asks else 206) and again.cache in ("HIT", None)


def test_head_of_what_has_no_length(stage):
    ours, _ = stage
    key = "chunked,n=0,size=1000/headed"
    head = ask(ours.port, f"/b/{key}", method="HEAD")
    assert head.status == 200 and head.get("Content-Length") is None and head.get("Transfer-Encoding") is None
    assert ask(ours.port, f"/b/{key}").body == pattern(0, 1000, 1)
    assert ask(ours.port, f"/b/{key}", method="HEAD").get("Content-Length") == "1000"


def test_not_modified_without_a_length(stage):
    ours, _ = stage
    answer = ask(ours.port, "/b/chunked,n=0,size=1000/conditional", {"If-None-Match": '"v1"'})
    assert answer.status == 304


def test_what_may_not_be_stored_for_its_size(yatagarasu, faulty):
    ours = yatagarasu([{**servers.s3_bucket("b", faulty), "cache": {"max_item_size_mb": 1}}])
    key, data = f"chunked,n=0,size={3 * MIB}/large", pattern(0, 3 * MIB, 1)
    for times in (1, 2):
        answer = ask(ours.port, f"/b/{key}")
        assert answer.body == data and not answer.cut and answer.cache != "HIT"
        assert faulty.stats()[key]["requests"] == times


def test_endless_ends_with_its_client(stage):
    ours, origin = stage
    with Wire(ours.port) as wire:
        wire.request("/b/endless,n=0")
        while len(wire.buffer) < 20 * MIB:
            assert wire.more()
        wire.close(reset=True)
    assert wait_until(lambda: ours.metrics()["yatagarasu_flights_in_progress"] == 0)
