"""What is configured: each setting for a whole bucket and for a pattern of keys, of S3 buckets and of generic origins (docs/http-caching.md)."""
import itertools

import pytest

import servers
from scripted import date
from wire import ask


@pytest.fixture(params=["s3", "http"])
def kind(request):
    return request.param


@pytest.fixture(params=["memory", "disk"])
def start(request, yatagarasu, origin, kind):
    def started(**buckets):
        """Each with these settings; a rule's pattern begins after the slash that begins a generic origin's keys."""
        made = []
        for name, settings in buckets.items():
            bucket = servers.s3_bucket(name, origin, retry={"max_attempts": 1})
            if kind == "http":
                bucket = {"name": name, "path_prefix": f"/{name}", "http": {"endpoint": origin.endpoint + "/o"}}
                for rule in settings.get("rules", []):
                    rule["pattern"] = "/" + rule["pattern"]
            made.append({**bucket, "cache": settings})
        ours = yatagarasu(made, cache={"cache_layers": [request.param], "disk": {"enabled": request.param == "disk"}})
        if request.param == "disk":
            ours.wait_for_disk()
        return ours

    return started


FRESH = {"Cache-Control": "max-age=60"}
ZERO = {"Cache-Control": "max-age=0", "Expires": "0"}
COOKIE = {**FRESH, "Set-Cookie": "a=b"}

# What every bucket has; S3's would have a time to live else.
BASE = {"s3": {"set_cookie": "store", "ttl_seconds": 0}, "http": {"set_cookie": "store"}}
# A setting, and for what the origin says: X-Cache of the same question again with and without it.
SETTINGS = {
    "never": ({"enabled": False}, [(FRESH, "BYPASS", "HIT")]),
    "fills": ({"ttl_seconds": 600}, [({}, "HIT", "REVALIDATED"), (ZERO, "REVALIDATED", "REVALIDATED")]),
    "overrides": ({"ttl_seconds": 600, "ttl_overrides": True}, [
        ({}, "HIT", "REVALIDATED"), (ZERO, "HIT", "REVALIDATED"), ({"Cache-Control": "no-store"}, "BYPASS", "BYPASS"),
        ({"Cache-Control": "private"}, "BYPASS", "BYPASS"), ({"Cache-Control": "no-cache"}, "REVALIDATED", "REVALIDATED")]),
    "cache-control": ({"ignore": ["cache-control"]}, [
        ({"Cache-Control": "no-store", "Expires": date(86_400)}, "HIT", "BYPASS"), ({**FRESH, "Expires": "0"}, "REVALIDATED", "HIT")]),
    "expires": ({"ignore": ["expires"]}, [({"Expires": date(86_400)}, "REVALIDATED", "HIT")]),
    "targeted": ({"ignore": ["targeted"]}, [({"CDN-Cache-Control": "max-age=60"}, "REVALIDATED", "HIT")]),
    "strip": ({"set_cookie": "strip"}, [(COOKIE, "HIT", "HIT")]),
    "pass": ({"set_cookie": "pass"}, [(COOKIE, "BYPASS", "HIT")]),
    "stale": ({"stale_while_revalidate_seconds": 600}, [({**FRESH, "Age": "100"}, "HIT", "REVALIDATED")]),
}
GENERIC = {"unguessed": ({"heuristic_max_seconds": 0}, [({"Last-Modified": date(-100_000)}, "BYPASS", "HIT")])}


def test_settings(start, origin, kind):
    settings = SETTINGS | (GENERIC if kind == "http" else {})
    rules = [{"pattern": f"{name}/*", **made} for name, (made, _) in settings.items()]
    ours = start(**{name: BASE[kind] | made for name, (made, _) in settings.items()}, patterns=BASE[kind] | {"rules": rules})
    wrong = []
    for name, (_, rows) in settings.items():
        asked = [(name, f"whole-{name}", True), ("patterns", name, True), ("patterns", f"not-{name}", False)]
        for (bucket, folder, has_it), (number, (fields, *expected)) in itertools.product(asked, enumerate(rows)):
            origin.objects[f"{folder}/{number}"] = (b"x", fields)
            answers = [ask(ours.port, f"/{bucket}/{folder}/{number}") for _ in range(2)]
            has_cookie = "Set-Cookie" in fields and not (name == "strip" and has_it)
            if any((a.status, a.body, bool(a.get("Set-Cookie"))) != (200, b"x", has_cookie) for a in answers) or answers[1].cache != expected[not has_it]:
                wrong.append((bucket, folder, fields, *answers))
    assert not wrong, "\n".join(map(str, wrong))


def test_times_by_status(start, origin):
    """A rule's time for a status comes before the bucket's, which holds for what the rule does not name."""
    def times(**by_status):
        return [{"status": int(status[1:]), "ttl_seconds": ttl} for status, ttl in by_status.items()]

    ours = start(b={"status_ttl": times(_404=600, _503=600), "rules": [
        {"pattern": "own/*", "status_ttl": times(_403=600, _404=0)}, {"pattern": "none/*", "status_ttl": []}]})
    remembered = {"plain": [404, 503], "own": [403, 503], "none": [404, 503]}
    wrong = []
    for folder, statuses in remembered.items():
        for status in 403, 404, 503:
            key = f"{folder}/{status}"
            if status != 404:  # as it is, nothing is there
                origin.broken[key] = status
            answers = [ask(ours.port, f"/b/{key}") for _ in range(2)]
            kept = status in statuses
            if {a.status for a in answers} != {status} or (answers[1].cache == "HIT", len(origin.asked(key))) != (kept, 2 - kept):
                wrong.append((key, kept, *answers))
    assert not wrong, "\n".join(map(str, wrong))
