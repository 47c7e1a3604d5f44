"""boto3 as a client through Yatagarasu: what programs do with S3 works unchanged, the second time from the cache. And what S3's
errors become."""
import base64
import datetime
import hashlib
import json
import os
import zlib

import boto3
import boto3.s3.transfer
import botocore.config
import botocore.exceptions
import pytest

import servers
from wire import ask

MIB = 1 << 20
SERVERS = ["versitygw", "moto"]


@pytest.fixture(params=SERVERS)
def origin(request):
    return request.getfixturevalue(request.param)


class Stage:
    """A bucket at the origin, ours before it, and boto3 pointed at ours."""

    def __init__(self, origin, yatagarasu, bucket):
        self.origin, self.bucket = origin.client(), bucket
        try:
            self.origin.create_bucket(Bucket=bucket)
        except (self.origin.exceptions.BucketAlreadyOwnedByYou, self.origin.exceptions.BucketAlreadyExists):
            pass
        self.ours = yatagarasu([servers.s3_bucket(bucket, origin)])
        self.client = boto3.client("s3", endpoint_url=self.ours.endpoint, aws_access_key_id="clients-own", aws_secret_access_key="not-ours",
                                   region_name="us-east-1", config=botocore.config.Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}))

    def put(self, key, body, **more):
        self.origin.put_object(Bucket=self.bucket, Key=key, Body=body, **more)
        return body

    def get(self, key, **more):
        answer = self.client.get_object(Bucket=self.bucket, Key=key, **more)
        answer["Body"] = answer["Body"].read()
        answer["Cache"] = answer["ResponseMetadata"]["HTTPHeaders"]["x-cache"]
        return answer


@pytest.fixture
def stage(origin, yatagarasu, request):
    return Stage(origin, yatagarasu, "client-" + hashlib.md5(request.node.name.encode()).hexdigest()[:8])


def status_of(error):
    return error.value.response["ResponseMetadata"]["HTTPStatusCode"]


def test_get_twice(stage):
    for size in (0, 1, 10_000, 300_000, 5 * MIB):
        body = stage.put(f"o{size}", os.urandom(size))
        for cache in ("MISS", "HIT"):
            answer = stage.get(f"o{size}")
            assert (answer["Body"], answer["Cache"], answer["ContentLength"]) == (body, cache, size)


def test_ranges(stage):
    body = stage.put("k", os.urandom(MIB))
    for spec, want in (("bytes=0-9", body[:10]), ("bytes=500000-", body[500_000:]), ("bytes=-7", body[-7:]), ("bytes=262143-262144", body[262143:262145])):
        for _ in range(2):
            answer = stage.get("k", Range=spec)
            assert answer["Body"] == want and answer["ResponseMetadata"]["HTTPStatusCode"] == 206
            assert answer["ContentRange"].endswith(f"/{MIB}")
    with pytest.raises(botocore.exceptions.ClientError) as error:
        stage.get("k", Range=f"bytes={MIB}-")
    assert status_of(error) == 416


def test_head_object(stage):
    stage.put("k", b"x" * 12345, ContentType="text/x-y")
    for _ in range(2):
        head = stage.client.head_object(Bucket=stage.bucket, Key="k")
        direct = stage.origin.head_object(Bucket=stage.bucket, Key="k")
        for name in ("ContentLength", "ETag", "LastModified", "ContentType"):
            assert head[name] == direct[name], name
    with pytest.raises(botocore.exceptions.ClientError) as error:
        stage.client.head_object(Bucket=stage.bucket, Key="nothing")
    assert status_of(error) == 404


def test_metadata_is_kept(stage):
    expires = datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
    stage.put("k", zlib.compress(b"some text"), ContentType="text/plain; charset=utf-8", ContentEncoding="deflate", ContentDisposition='attachment; filename="x y.txt"',
              ContentLanguage="de, en", CacheControl="max-age=600", Expires=expires, Metadata={"one": "1", "long-name": "v" * 500})
    direct = stage.origin.get_object(Bucket=stage.bucket, Key="k")
    for cache in ("MISS", "HIT"):
        answer = stage.get("k")
        assert answer["Cache"] == cache
        for name in ("ContentType", "ContentEncoding", "ContentDisposition", "ContentLanguage", "CacheControl", "ExpiresString", "ETag", "LastModified", "Metadata"):
            assert answer.get(name) == direct.get(name), f"{name} of a {cache}"
    part = stage.get("k", Range="bytes=0-3")
    assert part["ContentEncoding"] == "deflate" and part["Metadata"] == direct["Metadata"]


def test_conditionals(stage):
    stage.put("k", b"hello")
    etag = stage.get("k")["ETag"]
    assert stage.get("k", IfMatch=etag)["Body"] == b"hello"
    assert stage.get("k", IfNoneMatch='"other"')["Body"] == b"hello"
    for more, status in (({"IfNoneMatch": etag}, 304), ({"IfMatch": '"other"'}, 412), ({"IfModifiedSince": datetime.datetime(2037, 1, 1)}, 304),
                         ({"IfUnmodifiedSince": datetime.datetime(2001, 1, 1)}, 412)):
        with pytest.raises(botocore.exceptions.ClientError) as error:
            stage.get("k", **more)
        assert status_of(error) == status, more


def test_client_that_knows_a_newer_version(stage):
    """If-Match with the tag of a version that we do not have yet: the origin is asked before anything is refused."""
    stage.put("k", b"old")
    assert stage.get("k")["Body"] == b"old"
    stage.put("k", b"newer")
    assert stage.get("k")["Body"] == b"old", "still fresh"
    etag = stage.origin.head_object(Bucket=stage.bucket, Key="k")["ETag"]
    assert stage.get("k", IfMatch=etag)["Body"] == b"newer"
    assert stage.get("k")["Body"] == b"newer"


def test_download_file_in_parts(stage, tmp_path):
    body = stage.put("large", os.urandom(20 * MIB + 17))
    config = boto3.s3.transfer.TransferConfig(multipart_threshold=MIB, multipart_chunksize=3 * MIB + 1, max_concurrency=8)
    asked = []
    for turn in range(2):
        stage.client.download_file(stage.bucket, "large", str(tmp_path / "got"), Config=config)
        assert (tmp_path / "got").read_bytes() == body
        asked.append(stage.ours.metrics()[f's3_operations_total{{bucket="{stage.bucket}"}}'])
    assert asked[0] > 0 and asked[1] == asked[0], "the second download is from the cache"


def test_multipart_objects_have_opaque_tags(stage):
    """The ETag of an object uploaded in parts is no MD5; it is just a tag."""
    upload = stage.origin.create_multipart_upload(Bucket=stage.bucket, Key="parts")["UploadId"]
    parts, body = [], b""
    for number in (1, 2):
        piece = os.urandom(5 * MIB)
        body += piece
        etag = stage.origin.upload_part(Bucket=stage.bucket, Key="parts", UploadId=upload, PartNumber=number, Body=piece)["ETag"]
        parts.append({"ETag": etag, "PartNumber": number})
    stage.origin.complete_multipart_upload(Bucket=stage.bucket, Key="parts", UploadId=upload, MultipartUpload={"Parts": parts})
    for _ in range(2):
        answer = stage.get("parts")
        assert answer["Body"] == body and "-2" in answer["ETag"]


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA256"])
def test_checksums_to_who_asks(stage, algorithm):
    body = stage.put("k", b"checked" * 1000, ChecksumAlgorithm=algorithm)
    name = f"x-amz-checksum-{algorithm.lower()}"
    value = zlib.crc32(body).to_bytes(4, "big") if algorithm == "CRC32" else hashlib.sha256(body).digest()
    for _ in range(2):
        answer = stage.get("k", ChecksumMode="ENABLED")  # boto3 checks the body against it
        assert answer["ResponseMetadata"]["HTTPHeaders"].get(name) == base64.b64encode(value).decode()
        plain = ask(stage.ours.port, f"/{stage.bucket}/k")
        assert plain.body == body and plain.get(name) is None
        part = ask(stage.ours.port, f"/{stage.bucket}/k", {"x-amz-checksum-mode": "ENABLED", "Range": "bytes=0-9"})
        assert part.status == 206 and part.get(name) is None, "the checksum of the whole is none of a part"


def test_new_version_replaces_the_old_at_its_time(stage):
    stage.put("k", b"a" * 400_000, CacheControl="max-age=0")
    assert stage.get("k")["Body"] == b"a" * 400_000
    assert stage.get("k")["Cache"] == "REVALIDATED"
    stage.put("k", b"b" * 500_000, CacheControl="max-age=0", ContentType="text/new")
    answer = stage.get("k")
    assert answer["Body"] == b"b" * 500_000 and answer["ContentType"] == "text/new"


# ---- what S3's errors become ----


def test_missing_objects_are_404(stage):
    answer = ask(stage.ours.port, f"/{stage.bucket}/nothing")
    assert answer.status == 404 and json.loads(answer.body)["status"] == 404 and answer.get("Content-Type") == "application/json"
    assert answer.get("X-Request-ID")
    head = ask(stage.ours.port, f"/{stage.bucket}/nothing", method="HEAD")
    assert head.status == 404 and head.body == b""
    with pytest.raises(botocore.exceptions.ClientError) as error:
        stage.get("nothing")
    assert status_of(error) == 404


def test_missing_bucket_is_our_configuration_s_fault(origin, yatagarasu):
    ours = yatagarasu([servers.s3_bucket("absent", origin, bucket="no-such-bucket")])
    answer = ask(ours.port, "/absent/k")
    assert answer.status == 502 and "NoSuchBucket" not in answer.body.decode()
    line = next(line for line in ours.error_log("NoSuchBucket").splitlines() if "NoSuchBucket" in line)
    assert "no-such-bucket" in line and "us-east-1" in line and answer.get("X-Request-ID") in line, line


def test_wrong_secret_is_502_and_in_no_log(versitygw, yatagarasu):
    secret = "a-wrong-secret-that-nobody-may-see"
    ours = yatagarasu([servers.s3_bucket("wrong", versitygw, secret_key=secret)])
    versitygw.client().create_bucket(Bucket="wrong")
    versitygw.client().put_object(Bucket="wrong", Key="k", Body=b"x")
    answer = ask(ours.port, "/wrong/k")
    assert answer.status == 502
    log = ours.error_log("SignatureDoesNotMatch")
    for text in (log, (ours.folder / "access.log").read_text(), (ours.folder / "stdio.log").read_text(), str(answer), ours.admin("/metrics")[2].decode(),
                 ours.admin("/ready")[2].decode()):
        assert secret not in text and servers.KEYS["secret"] not in text


def test_unknown_access_key_is_502(versitygw, yatagarasu):
    ours = yatagarasu([servers.s3_bucket("who", versitygw, access_key="nobody")])
    assert ask(ours.port, "/who/k").status == 502
    ours.error_log("access key")  # versitygw: 404 XAdminUserNotFound, S3: 403 InvalidAccessKeyId
