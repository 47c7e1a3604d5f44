"""What is configured: each setting for a whole bucket and for a pattern of keys, of S3 buckets and of generic origins (docs/http-caching.md)."""
import pytest

import servers
from scripted import Scripted
from wire import ask


@pytest.fixture
def origin():
    with Scripted() as server:
        yield server


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
        return yatagarasu(made, cache={"cache_layers": [request.param], "disk": {"enabled": request.param == "disk"}})

    return started


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
