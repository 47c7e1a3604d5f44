"""Origins that do wrong (faulty_origin.py): what the client sees, and that nothing wrong stays in the cache.

Each row: the fault; the request's Range; what the client sees: a status, or "cut" for an answer that was begun and could not be
completed; then what the same request sees afterwards, when the origin does right again (n=1 requests go wrong; n=0: all).
"""
import json

import pytest

import servers
from faulty_origin import pattern
from wire import Wire, ask, wait_until

SIZE = 100_000
REUSED = (502, 200)  # nonsense on a reused connection may be left over from before, and is asked for once more on a fresh one
CUT = ("cut", 502)  # 502 where it broke before the first byte had left

# fault, range, first answer, second answer
TABLE = [
    # connections that break: tried again, and resumed where they broke
    ("reset-before", None, 200, 200),
    ("reset-head", None, 200, 200),
    ("reset-body", None, 200, 200),
    ("reset-body", "bytes=1000-99999", 206, 206),
    ("truncate", None, 200, 200),
    ("truncate", "bytes=60000-", 206, 206),
    ("truncate,at=0", None, 200, 200),
    ("close", None, 200, 200),
    ("reset-before,n=0", None, 502, 502),
    ("close,n=0", None, 502, 502),
    ("truncate,n=0,at=1000", None, CUT, CUT),
    ("reset-body,n=0,at=1000", "bytes=0-49999", CUT, CUT),
    # slow, but right
    ("slow-head", None, 200, 200),
    ("slow-body", None, 200, 200),
    ("drip,size=5000,ms=50", None, 200, 200),
    ("early-hints", None, 200, 200),
    # without a strong tag nothing is resumed, and half an answer is not kept
    ("weak-etag", None, CUT, 200),
    ("no-etag", None, CUT, 200),
    # framing
    ("long", None, 200, 200),
    ("no-length", None, 200, 200),
    ("chunked", None, 200, 200),
    ("chunked-truncate", None, CUT, 200),
    ("no-length-reset", None, CUT, 200),
    ("two-lengths", None, REUSED, 200),
    ("folded", None, REUSED, 200),
    ("bare-control", None, REUSED, 200),
    ("garbage", None, REUSED, 200),
    ("http09", None, REUSED, 200),
    ("chunked", "bytes=5-99", 206, 206),
    ("short-length", "bytes=0-99999", 502, 206),
    # ranges that were not asked for
    ("bad-range-first", "bytes=10-19", 502, 206),
    ("bad-range-last", "bytes=10-19", 502, 206),
    ("bad-range-total", "bytes=10-19", (502, 206), 206),
    ("no-content-range", "bytes=10-19", 502, 206),
    ("multipart", "bytes=10-19", 502, 206),
    ("bad-range-first", None, 502, 200),
    ("multipart", None, 502, 200),
    # a 200 for a range is the whole object, and good
    ("ignore-range", "bytes=10-19", 206, 206),
    ("ignore-range,n=0", "bytes=99990-", 206, 206),
    # statuses
    ("status,status=500", None, 200, 200),
    ("status,status=502", None, 200, 200),
    ("status,status=503", None, 200, 200),
    ("status,status=504", None, 200, 200),
    ("status,status=500,n=0,code=InternalError", None, 502, 502),
    ("status,status=503,n=0", None, 503, 503),
    ("status,status=503,n=0,code=SlowDown,after=1", None, 503, 503),
    ("status,status=404,code=NoSuchKey", None, 404, 404),  # remembered for 10 s
    ("status,status=404,code=NoSuchVersion", None, 404, 404),
    ("status,status=403,code=AccessDenied", None, 403, 200),
    ("status,status=404,code=NoSuchBucket", None, 502, 200),
    ("status,status=403,code=InvalidAccessKeyId", None, 502, 200),
    ("status,status=403,code=SignatureDoesNotMatch", None, 502, 200),
    ("status,status=403,code=RequestTimeTooSkewed", None, 502, 200),
    ("status,status=400,code=ExpiredToken", None, 502, 200),
    ("status,status=418,code=Teapot", None, 502, 200),
    ("status,status=204", None, 502, 200),
    ("redirect", None, 502, 200),
    ("redirect,status=307,code=TemporaryRedirect", None, 502, 200),
    ("nothing-of-that-name", None, 404, 404),
]


def staged(folder, timeout, request_timeout):
    with servers.Faulty() as origin:
        bucket = servers.s3_bucket("bad", origin, timeout=timeout, retry={"initial_backoff_ms": 10, "max_backoff_ms": 50})
        ours = servers.Yatagarasu(folder, [bucket], server={"request_timeout": request_timeout})
        ours.start()
        yield ours, origin
        problems = ours.stop()
        assert not problems, problems


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """One of ours in front of one faulty origin, for all rows; keys differ. Its time-outs are for origins that never answer: one that is
    late for once would be asked again, and spend its fault on nobody."""
    yield from staged(tmp_path_factory.mktemp("faults"), 15, 50)


@pytest.fixture(scope="module")
def hasty(tmp_path_factory):
    yield from staged(tmp_path_factory.mktemp("hasty"), 2, 5)


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    yield from staged(tmp_path_factory.mktemp("patient"), 2, 40)


def window(spec, size=SIZE):
    if spec is None:
        return 0, size
    first, last = spec.removeprefix("bytes=").split("-")
    return int(first), min(int(last) + 1, size) if last else size


def see(ours, key, spec, seeds=(1,)):
    """What a client sees: a status or "cut". Whatever bytes came must be right."""
    answer = ask(ours.port, f"/bad/{key}", {"Range": spec} if spec else None)
    if answer.status in (200, 206):
        options = dict(o.split("=") for o in key.split("/")[0].split(",")[1:])
        first, end = window(spec, int(options.get("size", SIZE)))
        wholes = [pattern(first, end - first, seed) for seed in seeds]
        assert any(w.startswith(answer.body) for w in wholes), f"{key} {spec}: wrong bytes: {answer}"
        assert answer.cut or answer.body in wholes, f"{key} {spec}: {answer}"
    else:
        assert not answer.cut and json.loads(answer.body)["status"] == answer.status, answer
    if answer.status == 503:
        assert int(answer.get("Retry-After")) >= 1
    return "cut" if answer.cut else answer.status


def test_hints_of_s3_end_here(stage):
    """RFC 9110 15.2 has 1xx answers forwarded; what S3's stand for is ours to answer."""
    ours, _ = stage
    with Wire(ours.port) as wire:
        wire.request("/bad/early-hints/ends-here")
        assert wire.head().status == 200


@pytest.mark.parametrize("fault,spec,first,second", TABLE, ids=[f"{row[0]} {row[1] or 'whole'}" for row in TABLE])
def test_what_the_client_sees(stage, fault, spec, first, second):
    ours, _ = stage
    key = fault + "/" + (spec or "whole").replace("=", "")
    assert see(ours, key, spec) in (first if isinstance(first, tuple) else (first,))
    assert see(ours, key, spec) in (second if isinstance(second, tuple) else (second,))
    if first == second and first in (200, 206):
        assert see(ours, key, spec) == first  # and once more, from the cache


def test_slow_first_byte_is_504(hasty):
    ours, _ = hasty
    assert see(ours, "hang,n=0", None) == 504


def test_a_second_try_is_answered(patient):
    """Once s3.timeout has passed."""
    ours, _ = patient
    assert see(ours, "hang,n=1", None) == 200


def test_stall_after_the_head_cuts_or_resumes(patient):
    """50,000 bytes, then silence: the origin is asked for the rest."""
    ours, _ = patient
    assert see(ours, "stall", None) == 200


def test_four_hundreds_are_not_tried_again(stage):
    ours, origin = stage
    for code in ("AccessDenied", "NoSuchKey"):
        key = f"status,status=403,code={code},n=0/once"
        see(ours, key, None)
        assert origin.stats()[key]["requests"] == 1


def test_resumed_by_if_match_at_the_byte_reached(stage):
    ours, origin = stage
    key = "truncate,size=3000000,at=1500000/resumed"
    assert see(ours, key, None) == 200
    seen = origin.stats()[key]
    assert seen["requests"] == 2 and seen["if_match"][1] == '"v1"', seen
    resumed = int(seen["ranges"][1].removeprefix("bytes=").split("-")[0])
    assert 0 < resumed <= 1_500_000
    assert seen["bytes"] < 3_000_000 + 600_000, "bytes that had come were not asked for again"


def test_storm_of_503_for_many_clients(stage):
    """Sixteen clients, one flight: the origin is not hammered, and everybody is told when to come back."""
    ours, origin = stage
    key = "status,status=503,n=0,code=SlowDown,after=1/storm"  # a flight lasts for seconds
    wires = [Wire(ours.port).request(f"/bad/{key}") for _ in range(16)]
    answers = [wire.response() for wire in wires]
    assert [a.status for a in answers] == [503] * 16
    assert all(int(a.get("Retry-After")) >= 1 for a in answers)
    assert origin.stats()[key]["requests"] <= 16


def test_changed_object_between_ranges(stage):
    """A new version appears after the first chunk was stored: the next range is of the new one, entirely."""
    ours, origin = stage
    key = "ok,size=2000000/changes"
    assert see(ours, key, "bytes=0-9") == 206
    servers.get(origin.port, "/_control/version?seed=9")
    try:
        assert see(ours, key, "bytes=1000000-1000999", seeds=(9,)) == 206
        assert see(ours, key, "bytes=0-9", seeds=(9,)) == 206, "the head was fetched again: the old chunk is not used"
        assert see(ours, key, None, seeds=(9,)) == 200
    finally:
        servers.get(origin.port, "/_control/version?seed=1")


@pytest.mark.parametrize("fault", ["ignore-if-match,n=0", "ok"])
def test_changed_object_in_midst_of_an_answer(stage, fault):
    """The client has the head and first chunks of version 1; the rest is not to be had any more: cut, never version 2's bytes. An
    origin that ignores If-Match and sends a 206 of the new version makes no difference."""
    ours, origin = stage
    key = fault + (",size=60000000/midst")
    whole = pattern(0, 1_000_000, 1)
    with Wire(ours.port, receive_buffer=4096) as wire:
        wire.request(f"/bad/{key}", {"Range": "bytes=0-999999"})
        assert wire.response().body == whole
    servers.get(origin.port, "/_control/version?seed=5")
    try:
        with Wire(ours.port) as wire:
            answer = wire.request(f"/bad/{key}", {"Range": "bytes=0-2999999"}).response()
            assert answer.status == 206
            of_old, of_new = pattern(0, 3_000_000, 1), pattern(0, 3_000_000, 5)
            assert answer.cut and of_old.startswith(answer.body) or answer.body == of_new, "cut, or all of the new version"
        assert see(ours, key, "bytes=0-2999999", seeds=(5,)) == 206
    finally:
        servers.get(origin.port, "/_control/version?seed=1")


def test_206_of_another_version(stage):
    """The origin answers the range with the next version, If-Match or not: that one is served whole, or nothing is."""
    ours, _ = stage
    key = "other-version,size=600000,n=1"
    assert see(ours, key, "bytes=0-99", seeds=(2,)) == 206
    # Version 1 again, without a change in between that we could know of: the stored head is of version 2.
    answer = ask(ours.port, f"/bad/{key}")
    parts = pattern(0, 600_000, 1), pattern(0, 600_000, 2)
    assert answer.cut and any(p.startswith(answer.body) for p in parts) or answer.body in parts, "never a mix"
    assert see(ours, key, None) == 200


def test_larger_than_any_object(stage):
    """A length that no store has, whose sums with others would not fit 64 bits."""
    ours, origin = stage
    for size in (2 ** 62 + 1, 2 ** 63 - 1, 2 ** 64 - 2, 2 ** 64 - 1):
        key = f"ok,size={size}"
        assert ask(ours.port, f"/bad/{key}", method="HEAD").status == 502, size
        for spec in ("bytes=0-9", "bytes=0-,0-", f"bytes={size - 10}-", "bytes=-10", f"bytes={size - 3}-{size - 2},0-1"):
            assert ask(ours.port, f"/bad/{key}", {"Range": spec}).status in (416, 502), (size, spec)
    answer = ask(ours.port, "/bad/ok,size=4611686018427387904", {"Range": "bytes=4611686018427387900-,0-3"})
    assert answer.status == 206 and pattern(2 ** 62 - 4, 4, 1) in answer.body and pattern(0, 4, 1) in answer.body


def test_what_is_stored_of_a_huge_object_is_told_at_once(stage):
    """A petabyte of which only the head is stored has 2^32 chunks: they are not all looked for, and nobody waits meanwhile."""
    ours, _ = stage
    key = f"ok,size={2 ** 50}/huge"
    assert ask(ours.port, f"/bad/{key}", method="HEAD").cache == "MISS"
    with Wire(ours.port, timeout=20) as wire:
        wire.request(f"/bad/{key}")
        answer = wire.head()
        assert answer.status == 200 and answer.cache == "MISS" and int(answer.get("Content-Length")) == 2 ** 50
        wire.close(reset=True)
    assert see(ours, "ok/beside", None) == 200


def test_answers_after_all_that(stage):
    """The process that saw all this still serves."""
    ours, _ = stage
    assert see(ours, "ok/last", None) == 200
    assert ask(ours.port, "/bad/ok/last").cache == "HIT"
