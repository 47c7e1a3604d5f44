"""S3's event notifications: what they name is purged, in every entry that reads the bucket, durably; what they don't, stays."""
import itertools
import json
import time
import urllib.parse
import uuid

import boto3
import pytest

import devices
import servers
from wire import ask, wait_until

PATH = "/admin/events/s3"
JSON = {"Content-Type": "application/json"}
ENVELOPES = ["records", "eventbridge"]
KEYS = ["plain", "red flower.jpg", "a+b/c%20d", "é/%25 &=?#", "folder//end/"]


def record(bucket, key, name="ObjectCreated:Put"):
    """As S3 writes it: the key form-encoded."""
    return {"eventVersion": "2.2", "eventSource": "aws:s3", "awsRegion": "us-east-1", "eventName": name,
            "s3": {"s3SchemaVersion": "1.0", "bucket": {"name": bucket, "arn": f"arn:aws:s3:::{bucket}"},
                   "object": {"key": urllib.parse.quote_plus(key), "size": 5, "sequencer": "0055AED6DCD90281E5"}}}


def message(envelope, bucket, key, removed=False):
    if envelope == "records":
        return {"Records": [record(bucket, key, "ObjectRemoved:Delete" if removed else "ObjectCreated:Put")]}
    return {"version": "0", "detail-type": "Object Deleted" if removed else "Object Created", "source": "aws.s3", "region": "us-east-1",
            "detail": {"version": "0", "bucket": {"name": bucket}, "object": {"key": key, "size": 5}}}


def send(ours, body, status=200, headers=JSON):
    code, _, text = ours.admin(PATH, headers, "POST", body if isinstance(body, (str, bytes)) else json.dumps(body))
    assert code == status, text
    return json.loads(text)


def purged(count=1, ignored=0, unknown=0):
    return {"purged": count, "ignored": ignored, "unknown_bucket": unknown, "durable": True}


class Store:
    """A bucket of its own in moto, which tells a queue of its changes, and the path of its keys in ours."""

    def __init__(self, moto):
        names = (f"events-{uuid.uuid4().hex[:12]}" for _ in itertools.count())
        self.moto, self.client = moto, moto.client()
        self.name = next(n for n in names if servers.slots_differ([(moto.endpoint, n, key + end) for key in KEYS for end in ("", "x")]))
        self.client.create_bucket(Bucket=self.name)

    def of(self, service):
        return boto3.client(service, endpoint_url=self.moto.endpoint, region_name="us-east-1",
                            aws_access_key_id=servers.KEYS["access"], aws_secret_access_key=servers.KEYS["secret"])

    def tell(self, envelope):
        self.queues = self.of("sqs")
        self.queue = self.queues.create_queue(QueueName=self.name)["QueueUrl"]
        arn = f"arn:aws:sqs:us-east-1:123456789012:{self.name}"
        if envelope == "records":
            to = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}]}
        else:
            pattern = {"source": ["aws.s3"], "detail": {"bucket": {"name": [self.name]}}}
            self.of("events").put_rule(Name=self.name, EventPattern=json.dumps(pattern))
            self.of("events").put_targets(Rule=self.name, Targets=[{"Id": "queue", "Arn": arn}])
            to = {"EventBridgeConfiguration": {}}
        self.client.put_bucket_notification_configuration(Bucket=self.name, NotificationConfiguration=to)
        return self

    def told(self):
        """The bodies of what it told since the last time."""
        messages, bodies = True, []
        while messages:
            messages = self.queues.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10, WaitTimeSeconds=0).get("Messages", [])
            for message in messages:
                bodies.append(message["Body"])
                self.queues.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
        return bodies

    def put(self, key, body):
        self.client.put_object(Bucket=self.name, Key=key, Body=body)

    def delete(self, key):
        self.client.delete_object(Bucket=self.name, Key=key)


@pytest.fixture
def store(moto):
    return Store(moto)


def see(ours, key, entry="s"):
    answer = ask(ours.port, f"/{entry}/" + urllib.parse.quote(key, safe="/"))
    return answer.status, answer.body, answer.cache


def start(yatagarasu, moto, store, *entries, **keys):
    ours = yatagarasu([servers.s3_bucket(name, moto, bucket=store.name) for name in entries or ("s",)], **keys)
    ours.wait_for_disk()
    return ours


@pytest.mark.parametrize("envelope", ENVELOPES)
def test_created_and_removed(moto, store, yatagarasu, envelope):
    """With what the S3 server itself says of its objects."""
    ours = start(yatagarasu, moto, store)
    for key in KEYS:
        store.put(key, b"old")
        store.put(key + "x", b"kept")
        assert see(ours, key) == (200, b"old", "MISS") and see(ours, key + "x")[2] == "MISS"
    store.tell(envelope)

    def pass_on():
        counts = []
        assert wait_until(lambda: counts.extend(send(ours, body)["purged"] for body in store.told()) or sum(counts) > 0)
        return sum(counts)

    for key in KEYS:
        store.put(key, b"new")
        assert see(ours, key) == (200, b"old", "HIT")
        assert pass_on() == 1
        assert see(ours, key) == (200, b"new", "MISS"), key
        store.delete(key)
        assert see(ours, key)[2] == "HIT"
        assert pass_on() == 1
        assert see(ours, key)[0] == 404
        assert see(ours, key + "x") == (200, b"kept", "HIT"), "its neighbour stays"
    metrics = ours.metrics()
    for kind in ("created", "removed"):
        assert metrics[f'yatagarasu_events_total{{kind="{kind}",result="purged"}}'] == len(KEYS)
    label = "s3" if envelope == "records" else envelope
    assert metrics[f'yatagarasu_event_messages_total{{envelope="{label}",result="accepted"}}'] >= 2 * len(KEYS)


def test_an_object_that_appears_ends_its_404(moto, store, yatagarasu):
    ours = start(yatagarasu, moto, store)
    assert see(ours, "later")[0] == 404
    store.put("later", b"here")
    send(ours, message("records", store.name, "later"))
    assert see(ours, "later") == (200, b"here", "MISS")


@pytest.mark.parametrize("envelope", ENVELOPES)
def test_it_is_durable_when_it_answers(moto, store, yatagarasu, envelope):
    ours = start(yatagarasu, moto, store)
    for key in ("gone", "kept"):
        store.put(key, b"old" * 1000)
        see(ours, key)
    assert wait_until(lambda: ours.metrics()["yatagarasu_disk_waiting_bytes"] == 0)
    store.put("gone", b"new")
    send(ours, message(envelope, store.name, "gone"))
    ours.kill()
    ours.start()
    ours.wait_for_disk()
    assert see(ours, "gone") == (200, b"new", "MISS")
    assert see(ours, "kept")[2] == "HIT"


def test_what_is_not_durable_is_to_be_sent_again(moto, store, yatagarasu, tmp_path):
    with devices.FaultFs(tmp_path / "fs") as fs:
        disk = {"cache_dir": None, "max_disk_cache_size_mb": None, "devices": [{"path": str(fs.device), "size_mb": 64}]}
        ours = start(yatagarasu, moto, store, cache={"disk": disk})
        store.put("k", b"old")
        see(ours, "k")
        assert wait_until(lambda: ours.metrics()["yatagarasu_disk_waiting_bytes"] == 0)
        store.put("k", b"new")
        fs.rule("write EIO")
        answer = send(ours, message("records", store.name, "k"), 503)
        assert answer["durable"] is False and answer["purged"] == 0
        assert see(ours, "k") == (200, b"new", "MISS"), "in force all the same"
        fs.rule()
        assert wait_until(lambda: ours.admin(PATH, JSON, "POST", json.dumps(message("records", store.name, "k")))[0] == 200, 60)
        metrics = ours.metrics()
        assert metrics['yatagarasu_events_total{kind="created",result="not_durable"}'] >= 1
        assert metrics['yatagarasu_event_messages_total{envelope="s3",result="failed"}'] >= 1
        assert not ours.stop(), "before its file system"


def test_every_entry_that_reads_the_bucket(moto, store, yatagarasu):
    """Two entries of one S3 bucket by two names of the server are two objects; of one name, one."""
    by_name = f"http://localhost:{moto.port}"
    others = (Store(moto) for _ in itertools.count())
    other = next(o for o in others if servers.slots_differ([(moto.endpoint, o.name, "k"), (moto.endpoint, store.name, "k"), (by_name, store.name, "k")]))
    ours = yatagarasu([servers.s3_bucket("a", moto, bucket=store.name), servers.s3_bucket("b", moto, bucket=store.name),
                       servers.s3_bucket("c", moto, bucket=store.name, endpoint=by_name), servers.s3_bucket("d", moto, bucket=other.name)])
    store.put("k", b"old")
    other.put("k", b"other")
    for entry in "acd":
        see(ours, "k", entry)
    store.put("k", b"new")
    assert send(ours, message("records", store.name, "k")) == purged(2)
    assert see(ours, "k", "a") == (200, b"new", "MISS") and see(ours, "k", "b") == (200, b"new", "HIT")
    assert see(ours, "k", "c") == (200, b"new", "MISS")
    assert see(ours, "k", "d") == (200, b"other", "HIT")


def test_what_changes_nothing_is_answered_200(moto, store, yatagarasu):
    ours = start(yatagarasu, moto, store)
    store.put("k", b"old")
    see(ours, "k")
    test_event = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": store.name}
    assert send(ours, test_event) == purged(0, ignored=1)
    assert send(ours, {"Records": [record(store.name, "k", "ObjectTagging:Put")]}) == purged(0, ignored=1)
    assert send(ours, {"Records": []}) == purged(0)
    assert send(ours, message("records", "somebody-elses", "k")) == purged(0, unknown=1)
    assert send(ours, message("records", "s", "k")) == purged(0, unknown=1), "the entry's name is not the bucket's"
    assert see(ours, "k")[2] == "HIT"
    ours.error_log("no bucket is configured that reads the S3 bucket 'somebody-elses'")
    metrics = ours.metrics()
    assert metrics['yatagarasu_events_total{kind="created",result="unknown_bucket"}'] == 2
    assert metrics['yatagarasu_events_total{kind="other",result="ignored"}'] == 2


def test_many_records_in_one_message(moto, store, yatagarasu):
    ours = start(yatagarasu, moto, store)
    keys = [f"many/{i}" for i in range(40)]
    for key in keys:
        store.put(key, b"old")
        see(ours, key)
    body = {"Records": [record(store.name, key) for key in keys] + [record("nobody", "k"), record(store.name, "x", "ObjectAcl:Put")]}
    assert send(ours, body) == purged(40, ignored=1, unknown=1)
    assert {see(ours, key)[2] for key in keys} == {"MISS"}


def test_what_is_refused(moto, store, yatagarasu):
    ours = start(yatagarasu, moto, store)
    store.put("k", b"old")
    see(ours, "k")
    good = message("records", store.name, "k")
    for body in ("", "{", "[]", "{}", '{"Records":[{"eventName":"ObjectCreated:Put"}]}',
                 {"Records": [record(store.name, "k"), {"eventName": "ObjectRemoved:Delete", "s3": {}}]}):
        assert send(ours, body, 400)["message"], body
    assert ours.admin(PATH, JSON, "POST")[0] == 400, "no body at all"
    padding = " " * (256 * 1024 - len(json.dumps(good)))
    assert send(ours, json.dumps(good) + padding + " ", 413)
    assert send(ours, good, 415, {"Content-Type": "text/plain"})
    assert send(ours, good, 403, {**JSON, "Host": "evil.example"})
    assert ours.admin(PATH)[0] == 405
    assert see(ours, "k")[2] == "HIT", "nothing was purged by any of these"
    assert ours.metrics()['yatagarasu_event_messages_total{envelope="s3",result="malformed"}'] == 7
    assert send(ours, json.dumps(good) + padding) == purged(), "the largest body there may be"
    assert see(ours, "k")[2] == "MISS"


def test_with_a_token(moto, store, yatagarasu):
    ours = start(yatagarasu, moto, store, admin={"token": "TheAdminToken3"})
    store.put("k", b"old")
    see(ours, "k")
    for envelope in ENVELOPES:
        assert send(ours, message(envelope, store.name, "k"), 401)["status"] == 401
    assert see(ours, "k")[2] == "HIT"
    bearer = {"Authorization": "Bearer TheAdminToken3", "Host": "cache.example", "Content-Type": "text/plain"}
    for envelope in ENVELOPES:
        assert send(ours, message(envelope, store.name, "k"), headers=bearer) == purged()
        assert see(ours, "k")[2] == "MISS"


# ---- SNS: what is decided before anything would be fetched; the rest is in tests/app/test_sns.c ----

TOPIC = "arn:aws:sns:us-east-1:123456789012:changes"
SNS = {"Content-Type": "text/plain; charset=UTF-8", "Host": "cache.example", "x-amz-sns-message-type": "Notification"}


def sns(text, topic=TOPIC, age=0, **fields):
    sent = time.strftime("%Y-%m-%dT%H:%M:%S.123Z", time.gmtime(time.time() - age))
    return {"Type": "Notification", "MessageId": str(uuid.uuid4()), "TopicArn": topic, "Message": json.dumps(text), "Timestamp": sent,
            "SignatureVersion": "1", "Signature": "RVhBTVBMRQ==",
            "SigningCertURL": "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0000000000000000000000.pem", **fields}


@pytest.mark.parametrize("token", [None, "TheAdminToken3"])
def test_sns_messages_that_are_not(moto, store, yatagarasu, token):
    ours = start(yatagarasu, moto, store, admin={"events": {"sns_topics": [TOPIC]}, **({"token": token} if token else {})})
    store.put("k", b"old")
    see(ours, "k")
    good = message("records", store.name, "k")
    for bad in (sns(good, topic=TOPIC + "x"), sns(good, age=3700), sns(good, age=-1000), sns(good, SigningCertURL="https://evil.example/a.pem"),
                sns(good, SigningCertURL="http://sns.us-east-1.amazonaws.com/a.pem"), sns(good, SigningCertURL=None)):
        assert "SNS" in send(ours, bad, 403, SNS)["message"], bad
        assert "SNS" in send(ours, bad, 403, {**JSON, "Authorization": f"Bearer {token}"})["message"], "a token is no signature"
    for bad in (sns(good, Type="Other"), sns(good, SignatureVersion="3"), sns(good, Signature="?"), sns(good, Timestamp="now"),
                sns(good, MessageId=5), {"Type": "Notification", "TopicArn": TOPIC}):
        assert send(ours, bad, 400, SNS)["message"], bad
    assert send(ours, good, 401 if token else 403, SNS), "what SNS did not wrap needs what it always needs"
    assert send(ours, "{", 401 if token else 403, SNS)
    assert send(ours, json.dumps(sns(good)) + " " * 300_000, 413, SNS)
    assert see(ours, "k")[2] == "HIT", "nothing was purged by any of these"
    metrics = ours.metrics()
    assert metrics['yatagarasu_event_messages_total{envelope="sns",result="refused"}'] == 12
    assert metrics['yatagarasu_event_messages_total{envelope="sns",result="malformed"}'] == 6
    assert "evil.example" not in ours.error_log("the SNS topic is not one of admin.events.sns_topics")


def test_without_topics_nothing_of_sns_is_taken(moto, store, yatagarasu):
    ours = start(yatagarasu, moto, store)
    assert "names no SNS topic" in send(ours, sns(message("records", store.name, "k")), 403)["message"]
    assert send(ours, sns(message("records", store.name, "k")), 403, SNS)["message"].startswith("without admin.token")
