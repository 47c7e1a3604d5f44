"""One fetch for any number of clients: each byte leaves the origin once, everybody streams as bytes arrive, and nobody pays for a
client that leaves, stalls or reads at 1 KB/s. Memory stays within its budget, shown under 1,000 readers that do not read."""
import os
import resource
import time

import pytest

import crowd
import servers
from faulty_origin import pattern
from wire import Wire, ask, wait_until

SLOW_BUILD = bool(os.environ.get("YATA_SLOW_BUILD"))
MIB = 1 << 20
LARGE = (32 if SLOW_BUILD else 100) * MIB
SECONDS = 240 if SLOW_BUILD else 120


@pytest.fixture
def start(yatagarasu, faulty):
    def started(memory_mb=512, **keys):
        memory = {"max_cache_size_mb": memory_mb, "max_item_size_mb": memory_mb}
        return yatagarasu([servers.s3_bucket("b", faulty, timeout=25)], cache={"memory": memory}, **keys)

    return started


def complete(members):
    return lambda: all(m.ended is not None for m in members)


def assert_complete(members):
    assert crowd.watch(members, complete(members), SECONDS), [(m.ended, m.got) for m in members]
    assert {m.ended for m in members} == {"complete"}


def sent_by_origin(faulty, key):
    return faulty.stats()[key]["bytes"]


def test_sixty_four_clients_of_a_cold_object(start, faulty):
    """The origin pauses in the middle: everybody has first bytes by then, and each byte was sent once."""
    ours = start()
    key = f"slow-body,size={LARGE},at={LARGE // 2},ms=4000"
    data = pattern(0, LARGE, 1)
    members = [crowd.Member(ours.port, f"/b/{key}", data) for _ in range(64)]
    assert_complete(members)
    last_first, first_last = max(m.first_byte for m in members), min(m.done for m in members)
    assert last_first < first_last - 1, "first bytes come long before the last ones"
    assert sent_by_origin(faulty, key) == LARGE
    assert faulty.stats()[key]["requests"] == 1
    again = ask(ours.port, f"/b/{key}")
    assert again.cache == "HIT" and again.body == data and sent_by_origin(faulty, key) == LARGE


def test_ranges_join_the_flight(start, faulty):
    """Clients that ask for ranges of what is on its way do not fetch it again."""
    ours = start()
    size = 8 * MIB
    key = f"slow-body,size={size},at={4 * MIB},ms=3000"
    data = pattern(0, size, 1)
    whole = crowd.Member(ours.port, f"/b/{key}", data)
    assert wait_until(lambda: crowd.watch([whole], lambda: whole.got > MIB, 20))
    members = [crowd.Member(ours.port, f"/b/{key}", data[i * MIB:i * MIB + 700_000], status=206,
                            headers={"Range": f"bytes={i * MIB}-{i * MIB + 699_999}"}) for i in range(7)]
    assert_complete([whole] + members)
    assert sent_by_origin(faulty, key) == size


def test_clients_that_leave_stall_or_crawl_cost_the_others_nothing(start, faulty):
    ours = start()
    key = f"slow-body,size={LARGE},at={8 * MIB},ms=15000"
    path, data = f"/b/{key}", pattern(0, LARGE, 1)
    leader = crowd.Member(ours.port, path, data)
    assert crowd.watch([leader], lambda: leader.got > 100_000, 20)
    stalled = [crowd.Member(ours.port, path, data, pace=0) for _ in range(8)]
    crawling = [crowd.Member(ours.port, path, data, pace=1000) for _ in range(8)]
    leaving = [crowd.Member(ours.port, path, data, leave_after=3 * MIB) for _ in range(8)]
    normal = [crowd.Member(ours.port, path, data) for _ in range(16)]
    # Left alone for a moment, the transfer would end with its leader, and be taken up again, at the cost of what the origin
    # has on the way. Who reads what is stored is not in it: the leader leaves while all wait where the origin pauses.
    assert crowd.watch([*crawling, *leaving, *normal], lambda: all(m.got >= 8 * MIB for m in normal), 60)
    assert all(m.got for m in [*crawling, *leaving])
    crowd.leave([leader])
    assert crowd.watch([*stalled, *crawling, *leaving, *normal], complete(normal), SECONDS)
    assert {m.ended for m in normal} == {"complete"}
    assert leader.ended == "left" and {m.ended for m in leaving} == {"left"}
    assert all(m.ended is None and m.got > 0 for m in crawling), "crawling is allowed"
    assert sent_by_origin(faulty, key) == LARGE
    crowd.leave(stalled + crawling)


def test_leader_leaves_and_the_flight_goes_on(start, faulty):
    ours = start()
    size = 24 * MIB
    key = f"slow-body,size={size},at={4 * MIB},ms=8000"
    data = pattern(0, size, 1)
    leader = crowd.Member(ours.port, f"/b/{key}", data)
    assert crowd.watch([leader], lambda: leader.got > MIB, 20)
    follower = crowd.Member(ours.port, f"/b/{key}", data)
    # Until it has come to where the origin pauses it reads what is stored, outside the transfer.
    assert crowd.watch([follower], lambda: follower.got >= 4 * MIB, 20)
    assert wait_until(lambda: ours.metrics()["yatagarasu_flights_joined_total"] >= 1)
    crowd.leave([leader])
    assert_complete([follower])
    assert faulty.stats()[key]["requests"] == 1 and sent_by_origin(faulty, key) == size


def test_everybody_leaves_and_the_fetch_ends(start, faulty):
    """Of a large object that nobody wants any more not all is fetched; what came is kept and not fetched again."""
    ours = start()
    size = 200 * MIB
    key = f"ok,size={size}"
    with Wire(ours.port) as wire:
        wire.request(f"/b/{key}")
        assert wire.head().status == 200
        assert wire.read(2 * MIB) == pattern(0, 2 * MIB, 1)
        wire.close(reset=True)
    assert wait_until(lambda: ours.metrics() and sent_by_origin(faulty, key) == (time.sleep(0.5), sent_by_origin(faulty, key))[1])
    assert sent_by_origin(faulty, key) < 100 * MIB
    answer = ask(ours.port, f"/b/{key}", {"Range": "bytes=0-1048575"})
    assert answer.cache == "HIT" and answer.body == pattern(0, MIB, 1)


def memory_mib(ours):
    with open(f"/proc/{ours.process.pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) // 1024


def test_memory_stays_in_budget_under_a_thousand_slow_readers(start, faulty):
    """What is in flight and what is being sent is bounded, however many do not read: budget plus a constant. Others are served."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    readers, budget_mib, constant_mib = (200 if SLOW_BUILD else 1000), 64, 128
    ours = start(memory_mb=budget_mib, server={"max_concurrent_requests": 3000})
    empty = memory_mib(ours)
    size = 20 * MIB
    data = pattern(0, size, 1)
    slow = []
    for i in range(readers):
        slow.append(crowd.Member(ours.port, f"/b/ok,size={size}/{i % 16}", data, pace=0 if i % 2 else 1000))
    crowd.watch(slow, lambda: False, 8)
    assert not [m.ended for m in slow if m.ended is not None]
    for i in range(16):
        answer = ask(ours.port, f"/b/ok,size={size}/{i}", timeout=SECONDS)
        assert answer.status == 200 and answer.body == data, "others are served meanwhile"
    full = memory_mib(ours)
    print(f"resident memory: {empty} MiB at start, {full} MiB with {readers} slow readers, budget {budget_mib} MiB")
    if not SLOW_BUILD:
        assert full < budget_mib + constant_mib
    crowd.leave(slow)
    assert ask(ours.port, f"/b/ok,size={size}/0").body == data

