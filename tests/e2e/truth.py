"""What a right answer is: objects as lists of versions, each with the time in which it was the origin's, and what HTTP says that an
answer made of one version looks like.

An answer is right if one version, that the origin had late enough, explains all of it: status, headers and bytes. Late enough: at
some time since the request began (or since an older request began that was still waiting for its head, whose flight it may have
joined), less the time to live. Bytes of two versions never explain an answer. Written from RFC 9110, not from our C code.
"""
import copy
import email.utils
import json
import random
import re
import time

RANGES_MAX = 64
MULTIPART = re.compile(rb"multipart/byteranges; *boundary=\"?([0-9A-Za-z'()+_,./:=?-]{1,70})\"?$")


def content(seed, size):
    return random.Random(seed).randbytes(size)


class Version:
    """One state of an object. size None: there is none (404). since: (from, by) around the moment when it appeared."""

    def __init__(self, number, size, seed):
        self.number, self.size, self.seed = number, size, seed
        self.data = content(seed, size) if size is not None else None
        self.etag = self.last_modified = None
        self.began, self.began_s = time.monotonic(), int(time.time())
        self.came = None  # by then it was there
        self.gone = None  # by then it was replaced; None: it is the current one
        self.fields = {}  # that the answer must repeat: lower-case name to value

    def __repr__(self):
        gone = "now" if self.gone is None else f"{self.gone:.3f}"
        return f"v{self.number} size={self.size} etag={self.etag} [{self.began:.3f}..{gone}]"


class Object:
    """ttl: seconds for which an answer may be used unasked. dates_exact: If-Range dates may be tried."""

    def __init__(self, path, ttl, dates_exact=True):
        self.path, self.ttl, self.dates_exact = path, ttl, dates_exact
        self.versions = []
        self.coming = None
        self.pending = {}  # request: when it began; without their heads yet
        self.shown = {}  # number of a version: when it was first seen in an answer

    def begin(self, size, seed):
        """The origin is about to get a new version; it may be seen from now on."""
        self.coming = Version(len(self.versions) + 1, size, seed)
        return self.coming

    def replace(self, version):
        """The origin has it now."""
        version.came = time.monotonic()
        self.coming = None
        if self.versions:
            self.versions[-1].gone = version.came
        self.versions.append(version)
        for old in self.versions[:-8]:
            if old.gone < time.monotonic() - self.ttl - 60:
                old.data = None

    @property
    def current(self):
        return self.versions[-1]

    def asked(self, request):
        self.pending[request] = time.monotonic()
        return min(self.pending.values())

    def answered(self, request):
        self.pending.pop(request, None)

    def candidates(self, since, until, ttl):
        """Versions that an answer may be of."""
        known = self.versions + ([self.coming] if self.coming else [])
        return [v for v in known if v.began <= until and (v.gone is None or v.gone >= since - ttl)]

    def went_back(self, version, sent):
        """A newer version had been answered before this request was sent."""
        return [number for number, first in self.shown.items() if number > version.number and first < sent]

    def changed(self, since):
        return any(v.gone is not None and v.gone >= since for v in self.versions)


# ---- what a version answers ----


def parse_ranges(value):
    """None: no (valid) Range. 'refuse': absurd. Else a list of (first, last), each int or None."""
    match = re.fullmatch(r"[ \t]*bytes=(.*?)[ \t]*", value or "", re.IGNORECASE)
    if not match:
        return None
    specs = []
    for part in match[1].split(","):
        part = part.strip(" \t")
        if not part:
            continue
        spec = re.fullmatch(r"(\d*)-(\d*)", part)
        if not spec or spec[0] == "-":
            return None
        first, last = (int(g) if g else None for g in spec.groups())
        if first is not None and last is not None and first > last:
            return None
        specs.append((first, last))
    if len(specs) > RANGES_MAX:
        return "refuse"
    return specs or None


def resolve_ranges(specs, size):
    """A list of (first, last); empty: 416."""
    found = []
    for first, last in specs:
        if first is None:
            first, end = max(0, size - last), size if last else 0
        else:
            end = size if last is None else min(last + 1, size)
        if first < end:
            found.append((first, end - 1))
    if any(sum(a <= first <= b for a, b in found) > 2 for first, _ in found):
        return []
    return found


def tags_match(value, etag, weak):
    if value.strip() == "*":
        return True
    tags = [t.strip() for t in value.split(",")]
    if not all(re.fullmatch(r'(W/)?"[^"]*"', t) for t in tags):
        return False
    return any((t.removeprefix("W/") if weak else t) == etag for t in tags)


def date_of(value):
    try:
        return int(email.utils.parsedate_to_datetime(value).timestamp())
    except (TypeError, ValueError):
        return None


def preconditions(version, headers):
    """200, 304 or 412, and whether a Range applies: RFC 9110 13.2.2."""
    modified = version.last_modified
    if "If-Match" in headers:
        if not tags_match(headers["If-Match"], version.etag, weak=False):
            return 412, False
    elif date_of(headers.get("If-Unmodified-Since")) is not None and modified is not None:
        if modified > date_of(headers["If-Unmodified-Since"]):
            return 412, False
    if "If-None-Match" in headers:
        if tags_match(headers["If-None-Match"], version.etag, weak=True):
            return 304, False
    elif date_of(headers.get("If-Modified-Since")) is not None and modified is not None:
        if modified <= date_of(headers["If-Modified-Since"]):
            return 304, False
    condition = headers.get("If-Range")
    if condition is None or condition == version.etag:
        return 200, True
    return 200, date_of(condition) is not None and date_of(condition) == modified


def expected(version, method, headers):
    """(status, ranges): what a server with this version answers."""
    if method == "OPTIONS":
        return 204, None
    if method not in ("GET", "HEAD"):
        return 405, None
    if version.size is None:
        return 404, None
    status, range_applies = preconditions(version, headers)
    if status != 200:
        return status, None
    specs = parse_ranges(headers.get("Range")) if method == "GET" and range_applies else None
    if specs is None:
        return 200, None
    ranges = [] if specs == "refuse" else resolve_ranges(specs, version.size)
    return (206, ranges) if ranges else (416, None)


# ---- is this answer it? ----


def where(part, data, at, others):
    """Says where bytes differ, and which version they are of."""
    want = data[at:at + len(part)]
    first = next((i for i in range(min(len(part), len(want))) if part[i] != want[i]), min(len(part), len(want)))
    piece = bytes(part[first:first + 64])
    of = [v.number for v in others if v.data and v.data[at + first:at + first + len(piece)] == piece]
    elsewhere = [(v.number, v.data.find(piece)) for v in others if v.data and len(piece) >= 16 and piece in v.data]
    return f"byte {at + first} differs; these 64 bytes stand there in versions {of}, anywhere in {elsewhere}"


def same(part, data, at):
    return memoryview(data)[at:at + len(part)] == part


def check_body(version, ranges, answer, others):
    body, size = memoryview(answer.body), version.size
    if ranges is None:
        ranges = [(0, size - 1)]
    if len(ranges) == 1:
        first, last = ranges[0]
        length = last + 1 - first
        if answer.length != length:
            return f"Content-Length {answer.length}, not {length}"
        if not answer.cut and len(body) != length:
            return f"{len(body)} bytes, not {length}"
        if not same(body, version.data, first):
            return where(body, version.data, first, others)
        return None
    if answer.cut:
        return None  # parts of a multipart that was cut are not looked at
    return check_multipart(version, ranges, answer, others)


def check_multipart(version, ranges, answer, others):
    match = MULTIPART.match((answer.get("content-type") or "").encode())
    if not match:
        return f"Content-Type {answer.get('content-type')!r} of several ranges"
    rest, boundary = bytes(answer.body), match[1]
    if len(rest) != answer.length:
        return f"{len(rest)} bytes, Content-Length {answer.length}"
    for first, last in ranges:
        opening = re.match(rb"(?:\r\n)?--" + re.escape(boundary) + rb"\r\n((?:[^\r\n]+\r\n)+)\r\n", rest)
        if not opening:
            return f"no part for {first}-{last} at {rest[:100]!r}"
        fields = dict(line.split(b": ", 1) for line in opening[1].split(b"\r\n") if line)
        fields = {k.lower(): v for k, v in fields.items()}
        if fields.get(b"content-range") != f"bytes {first}-{last}/{version.size}".encode():
            return f"part {first}-{last} says {fields}"
        part = rest[opening.end():opening.end() + last + 1 - first]
        if not same(part, version.data, first) or len(part) != last + 1 - first:
            return where(part, version.data, first, others)
        rest = rest[opening.end() + len(part):]
    if not re.fullmatch(rb"\r\n--" + re.escape(boundary) + rb"--(\r\n)?", rest):
        return f"the end is {rest[:100]!r}"
    return None


def check_fields(version, status, ranges, answer):
    if answer.get("etag") != version.etag:
        return f"ETag {answer.get('etag')}, not {version.etag}"
    if status == 304:
        return None
    if version.last_modified and date_of(answer.get("last-modified")) != version.last_modified:
        return f"Last-Modified {answer.get('last-modified')}"
    if ranges and len(ranges) == 1:
        want = f"bytes {ranges[0][0]}-{ranges[0][1]}/{version.size}"
        if answer.get("content-range") != want:
            return f"Content-Range {answer.get('content-range')}, not {want}"
    elif answer.get("content-range") is not None:
        return f"Content-Range {answer.get('content-range')}"
    for name, value in version.fields.items():
        if name == "content-type" and ranges and len(ranges) > 1:
            continue
        if answer.get(name) != value:
            return f"{name}: {answer.get(name)!r}, not {value!r}"
    if answer.get("x-cache") not in ("HIT", "MISS", "PARTIAL", "REVALIDATED", "STALE", "BYPASS"):
        return f"X-Cache {answer.get('x-cache')!r}"
    return None


def check_error(answer, status, method):
    if method == "HEAD" or status in (204, 304):
        return None if not answer.body else "a body"
    try:
        if answer.cut or json.loads(answer.body)["status"] == status:
            return None
    except (ValueError, KeyError):
        pass
    return f"not the JSON of an error {status}: {bytes(answer.body[:200])!r}"


def check(version, method, headers, answer, others):
    """None if this version explains the answer; else why not."""
    if version.last_modified is not None or version.size is None:
        return check_dated(version, method, headers, answer, others)
    now, told = int(time.time()), date_of(answer.get("last-modified"))  # the origin has not told us yet when it was
    reasons = []
    for modified in (None, *range(version.began_s - 1, now + 2)) if told is None else (told,):
        dated = copy.copy(version)
        dated.last_modified = modified
        reasons.append(check_dated(dated, method, headers, answer, others))
    return None if None in reasons else reasons[0]


def check_dated(version, method, headers, answer, others):
    status, ranges = expected(version, method, headers)
    if answer.status != status:
        return f"status {answer.status}, not {status}"
    if status == 416 and answer.get("content-range") != f"bytes */{version.size}":
        return f"Content-Range {answer.get('content-range')} of a 416"
    if status not in (200, 206, 304):
        return check_error(answer, status, method)
    wrong = check_fields(version, status, ranges, answer)
    if wrong or status == 304:
        return wrong or check_error(answer, status, method)
    if method == "HEAD":
        return None if answer.length == version.size and not answer.body else f"Content-Length {answer.length} of a HEAD"
    return check_body(version, ranges, answer, others)
