"""Names of objects: each reaches exactly the object of that name, nothing is silently changed, nothing escapes its bucket.

moto stores any name, so there the bytes prove which object was reached. versitygw aliases or refuses some names, but checks
signatures: there every name must be answered 200, 400 or 404, never for its signature's sake."""
import urllib.parse

import botocore.exceptions
import pytest

import servers
from scripted import Scripted
from wire import ask

NAMES = {
    "plain": "plain.txt", "deep": "a/b/c/d/e/f.txt", "space": "with space", "spaces": " two  spaces ", "plus": "a+b", "plus and space": "a + b",
    "percent": "100%", "percent escape": "a%20b", "percent twice": "a%2520b", "percent slash": "a%2Fb", "parens": "f(1)", "amp": "a&b", "equals": "a=b", "semicolon": "a;b",
    "star": "a*b", "tilde": "~a~", "single quotes": "it's", "double quotes": 'say "x"', "question": "what?", "hash": "a#b", "brackets": "a[1]{2}",
    "exclaim": "a!b$c,d:e@f", "backslash": "a\\b", "pipe caret": "a|b^c`d<e>f", "unicode": "ünï/cödé", "cjk": "三本足/烏.txt", "emoji": "🐦",
    "decomposed": "u\u0308", "double slash": "a//b", "triple slash": "a///b", "leading slash": "/lead", "two leading": "//lead",
    "trailing slash": "folder/", "trailing two": "folder//", "only slash": "/", "dots": "...", "dot file": ".hidden", "dots inside": "a/.../b..c/..d",
    "sql": "a'--b", "html": "<b>&amp;", "control": "tab\there", "delete": "a\x7fb", "long": "k" * 1024, "long unicode": "ü" * 512,
    "query alike": "a?versionId=1", "sub-resource alike": "acl", "x-id": "x-id=GetObject",
}


def encodings(name):
    """Ways to write the same path, from everything encoded to as little as may be."""
    raw = name.encode()
    everything = "".join(f"%{b:02X}" for b in raw)
    lower = "".join(f"%{b:02x}" if not chr(b).isalnum() and b != 0x2f else chr(b) for b in raw)
    little = urllib.parse.quote(name, safe="/!$&'()*+,;=:@~-._")
    return dict.fromkeys([everything, lower, little, urllib.parse.quote(name, safe="/~")])


def body_of(name):
    return f"the object of the name {name!r}".encode()


@pytest.fixture(scope="module")
def on_moto(tmp_path_factory, moto):
    client = moto.client()
    client.create_bucket(Bucket="names")
    for name in NAMES.values():
        client.put_object(Bucket="names", Key=name, Body=body_of(name))
    ours = servers.Yatagarasu(tmp_path_factory.mktemp("moto"), [servers.s3_bucket("names", moto)]).start()
    yield ours
    problems = ours.stop()
    assert not problems, problems


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_every_name_reaches_its_object(on_moto, name):
    for path in encodings(name):
        for _ in ("cold", "cached"):
            answer = ask(on_moto.port, f"/names/{path}")
            assert answer.status == 200, f"{path}: {answer}"
            assert answer.body == body_of(name), f"{path}: {answer.body!r}"
        head = ask(on_moto.port, f"/names/{path}", method="HEAD")
        assert head.status == 200 and int(head.get("Content-Length")) == len(body_of(name))
        part = ask(on_moto.port, f"/names/{path}", {"Range": "bytes=2-9"})
        assert part.status == 206 and part.body == body_of(name)[2:10]


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_no_name_is_its_neighbour(on_moto, name):
    """Names that only differ by what careless code changes: they do not exist, and must not be answered."""
    for other in (name + "/", "/" + name, name + "%20", name.replace("+", " "), name.replace("//", "/"), urllib.parse.unquote(name), name.rstrip("/"),
                  name.lstrip("/"), name.upper(), name.strip()):
        if other in NAMES.values() or not other or len(other.encode()) > 1024:
            continue
        answer = ask(on_moto.port, f"/names/{urllib.parse.quote(other, safe='/~')}")
        assert answer.status == 404, f"{other!r}: {answer}"


@pytest.mark.parametrize("path", [
    "/names/.", "/names/..", "/names/a/./b", "/names/a/../b", "/names/../names/plain.txt", "/names/%2e%2e/names/plain.txt", "/names/a/%2E%2e", "/names/a%2f..%2fb",
    "/names/%2E/plain.txt", "/../etc/passwd", "/names/..%2f..%2fetc/passwd", "/./names/plain.txt",
    "/names/%ff", "/names/%c0%af", "/names/%ed%a0%80", "/names/%f5%80%80%80", "/names/a%80", "/names/\xff", "/names/%c3",
    "/names/%00", "/names/a%00.txt", "/names/%", "/names/%4", "/names/%zz", "/names/%u0041", "/names/a#b",
    "/names/" + "k" * 1025, "/names/" + "%C3%BC" * 513,
])
def test_what_could_mean_two_things_is_400(on_moto, path):
    assert ask(on_moto.port, path).status == 400


@pytest.mark.parametrize("path", ["/names", "/names/", "/", "/other", "/namesx/plain.txt", "/name/plain.txt", "/NAMES/plain.txt"])
def test_no_bucket_or_no_key_is_404(on_moto, path):
    """An empty key would be a listing, signed by us."""
    assert ask(on_moto.port, path).status == 404


@pytest.mark.parametrize("query,status", [
    ("x-id=GetObject", 200), ("X-Amz-Signature=abc&X-Amz-Expires=60", 200), ("x-amz-date=1", 200), ("utm_source=mail", 200), ("", 200), ("&&", 200),
    ("acl", 400), ("policy", 400), ("tagging=", 400), ("uploads", 400), ("list-type=2", 400), ("uploadId=1", 400), ("partNumber=1", 400), ("%61cl", 400),
    ("response-content-type=text/html", 400), ("versionId=", 400), ("versionId=%zz", 400), ("versionId=1&versionId=2", 400), ("a=1&torrent", 400),
    ("attributes", 400), ("select&select-type=2", 400),
])
def test_queries(on_moto, query, status):
    answer = ask(on_moto.port, f"/names/plain.txt?{query}")
    assert answer.status == status, answer
    if status == 200:
        assert answer.body == body_of("plain.txt")


def test_version_ids_are_objects_of_their_own(moto, yatagarasu):
    client = moto.client()
    client.create_bucket(Bucket="versions")
    client.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
    ids = [client.put_object(Bucket="versions", Key="k", Body=f"body {i}".encode())["VersionId"] for i in range(3)]
    ours = yatagarasu([servers.s3_bucket("versions", moto)])
    for cache in ("MISS", "HIT"):
        for i, version in enumerate(ids):
            answer = ask(ours.port, f"/versions/k?versionId={version}")
            assert (answer.status, answer.body, answer.cache) == (200, f"body {i}".encode(), cache)
            assert answer.get("x-amz-version-id") == version
        answer = ask(ours.port, "/versions/k")
        assert (answer.body, answer.cache) == (b"body 2", cache)
    assert ask(ours.port, "/versions/k?versionId=00000000-0000-0000-0000-000000000000").status in (400, 404)


def test_longest_prefix_at_a_segment_border(tmp_path, yatagarasu):
    for name in ("root", "a", "ab", "deep"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    (tmp_path / "a" / "bc").mkdir()
    (tmp_path / "a" / "bc" / "file").write_text("a, below bc")
    (tmp_path / "root" / "abx").mkdir()
    (tmp_path / "root" / "abx" / "file").write_text("root, below abx")
    ours = yatagarasu([servers.file_bucket(name, tmp_path / name, prefix)
                       for name, prefix in (("root", "/"), ("a", "/a"), ("ab", "/a/b"), ("deep", "/a/b/c d"))])
    for path, want in {"/file": "root", "/a/file": "a", "/a/b/file": "ab", "/a/b/c%20d/file": "deep", "/a/bc/file": "a, below bc",
                       "/abx/file": "root, below abx", "/%61/%62/file": "ab", "/a%2Fb%2Ffile": "ab", "/a/b/c d/file": None}.items():
        answer = ask(ours.port, path)
        assert answer.body.decode() == want if want else answer.status == 400, f"{path}: {answer}"
    assert ask(ours.port, "/a/b/nothing").status == 404, "the longest prefix decides, not the first that has the object"


# ---- versitygw: signatures ----


def error_log_is_clean(ours):
    log = ours.error_log()
    assert "SignatureDoesNotMatch" not in log and "InvalidAccessKeyId" not in log, log[-2000:]


def signed_names(ours, server, bucket):
    client = server.client()
    client.create_bucket(Bucket=bucket)
    stored = set()
    for name in NAMES.values():
        try:
            client.put_object(Bucket=bucket, Key=name, Body=body_of(name))
            stored.add(name)
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError):
            pass  # a name that a file system can't hold
    reached = 0
    for name in NAMES.values():
        for path in encodings(name):
            answer = ask(ours.port, f"/{bucket}/{path}")
            aliased = name == "/"  # versitygw takes it for the bucket and lists it: not an object, 502
            assert answer.status in (200, 400, 404) or aliased and answer.status == 502, f"{name!r} as {path}: {answer}"
            reached += answer.status == 200
    assert reached > len(NAMES)
    error_log_is_clean(ours)


def test_signatures_of_every_name(versitygw, yatagarasu):
    signed_names(yatagarasu([servers.s3_bucket("names", versitygw)]), versitygw, "names")


def test_virtual_host_style(tmp_path, yatagarasu):
    """bucket.localhost is the loopback address to libcurl (RFC 6761)."""
    port = servers.free_port()
    with servers.Versitygw(tmp_path, "--virtual-domain", f"localhost:{port}", port=port) as server:
        bucket = servers.s3_bucket("virtual", server, endpoint=f"http://localhost:{port}", addressing="virtual")
        ours = yatagarasu([bucket])
        signed_names(ours, server, "virtual")
        assert ask(ours.port, "/virtual/plain.txt").body == body_of("plain.txt")


# ---- what the origin is sent ----


@pytest.fixture
def recorder():
    with Scripted() as server:
        server.put("k", b"hello")
        yield server


def test_session_token_is_sent_and_signed(recorder, yatagarasu):
    ours = yatagarasu([servers.s3_bucket("token", recorder, session_token="the/session+token==")])
    assert ask(ours.port, "/token/k").body == b"hello"
    path, fields = recorder.seen[0]
    assert path == "/token/k"
    assert fields["x-amz-security-token"] == "the/session+token=="
    assert "x-amz-security-token" in fields["Authorization"].split("SignedHeaders=")[1].split(",")[0]
    assert "the/session" not in ours.error_log()


def test_origin_gets_nothing_of_the_client_s(recorder, yatagarasu):
    """Neither credentials, nor cookies, nor query, nor fields of the client's connection."""
    ours = yatagarasu([servers.s3_bucket("own", recorder)])
    ask(ours.port, "/own/k?utm=1&X-Amz-Signature=2", {"Authorization": "Bearer client", "Cookie": "a=b", "X-Forwarded-For": "1.2.3.4", "Accept": "text/html",
                                                      "Accept-Encoding": "gzip", "Referer": "http://x/", "User-Agent": "tester", "X-Amz-Security-Token": "client"})
    path, fields = recorder.seen[0]
    assert path == "/own/k"
    text = str(fields)
    assert "client" not in text and "Cookie" not in fields and "tester" not in text and "gzip" not in text and "1.2.3.4" not in text
    assert fields["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=testaccess/")
    assert fields["Host"] == f"127.0.0.1:{recorder.server_port}", "with the port"


def test_unsigned_without_keys(recorder, yatagarasu):
    ours = yatagarasu([servers.s3_bucket("open", recorder, access_key=None, secret_key=None)])
    assert ask(ours.port, "/open/k").body == b"hello"
    assert "Authorization" not in recorder.seen[0][1]
