#!/usr/bin/env python3
"""An S3-like HTTP/1.1 origin that does wrong on demand. Python's standard library only.

Started, it prints "port N" and serves until its standard input ends or it is killed. Any bucket name will do; the object is
what follows the first path segment. Its name says what goes wrong:

    FAULT[,option=value]...[/anything]

Objects are patterns: byte i is (i * 31 + (i >> 8) * 7 + (i >> 16) * 13 + (i >> 24) * 17 + seed) & 255, which pattern() and tests compute too. Options (defaults):

    size=100000  bytes of the object        seed=1     another seed is another version
    at=50000     where in the answer's body it breaks, or how much comes first
    ms=300       a delay                    n=1        how many requests go wrong; the rest go well (0: all)
    status=503   for `status`               after=     Retry-After in seconds
    code=        S3's code in the error's XML

Faults (each for the first n requests of that key; see HANDLERS below for what each does exactly):

    ok slow-head slow-body drip reset-before reset-head reset-body truncate long short-length bad-range-first
    bad-range-last bad-range-total no-content-range other-version weak-etag no-etag ignore-range ignore-if-match
    status garbage close hang stall endless chunked slow-chunked whole-chunked chunked-truncate
    no-length whole-no-length no-length-reset redirect two-lengths folded bare-control http09 huge-head early-hints multipart

GET /_control/stats answers JSON {key: {"requests", "bytes", "ranges": [...], "if_match": [...]}}; GET /_control/reset forgets it all;
GET /_control/version?seed=N makes every later answer (of all keys without a seed option) that version.
"""

import argparse
import asyncio
import contextlib
import fcntl
import functools
import json
import socket
import ssl
import struct
import sys
import termios
import time
import urllib.parse
from email.utils import formatdate

DEFAULTS = {"size": 100_000, "seed": 1, "at": 50_000, "ms": 300, "n": 1, "status": 503}
PIECE = 64 * 1024


PERIOD = bytes((i * 31 + (i >> 8) * 7) & 255 for i in range(1 << 16))


@functools.lru_cache(256)
def shifted(shift):
    return PERIOD.translate(bytes((b + shift) & 255 for b in range(256)))


def pattern(first, length, seed):
    """The bytes [first, first + length) of the object of that seed."""
    out = bytearray()
    at = first
    while len(out) < length:
        block, begin = at >> 16, at & 0xffff
        take = min((1 << 16) - begin, length - len(out))
        out += shifted((block * 13 + (block >> 8) * 17 + seed) & 255)[begin:begin + take]
        at += take
    return bytes(out)


class Reset(Exception):
    """Ends the connection by RST."""


class Close(Exception):
    """Ends the connection by FIN."""


class State:
    def __init__(self):
        self.stats = {}
        self.seed = DEFAULTS["seed"]

    def of(self, key):
        return self.stats.setdefault(key, {"requests": 0, "bytes": 0, "ranges": [], "if_match": [], "methods": []})


class Request:
    def __init__(self, method, target, fields):
        self.method, self.target, self.fields = method, target, fields
        path = urllib.parse.unquote(urllib.parse.urlsplit(target).path)
        self.key = path.lstrip("/").split("/", 1)[1] if "/" in path.lstrip("/") else ""
        head, *options = self.key.split("/")[0].split(",")
        self.fault = head
        self.options = dict(DEFAULTS)
        for option in options:
            name, _, value = option.partition("=")
            self.options[name] = int(value) if value.isdigit() else value
        self.own_seed = any(option.startswith("seed=") for option in options)

    def number(self, name):
        return self.options[name]


class Answer:
    """A right answer, which faults then spoil."""

    def __init__(self, request, seed):
        size = request.number("size")
        self.seed, self.etag = seed, f'"v{seed}"'
        self.status, self.first, self.last, self.total = 200, 0, size - 1, size
        self.extra = []
        tags = request.fields.get("if-match")
        if tags is not None and request.fault != "ignore-if-match" and tags not in ("*", self.etag):
            self.status = 412
        if request.fields.get("if-none-match") in ("*", self.etag):
            self.status = 304
        spec = request.fields.get("range")
        if spec and self.status == 200:
            self.apply_range(spec[len("bytes="):], size)
        self.length = self.last - self.first + 1

    def apply_range(self, spec, size):
        first, _, last = spec.partition("-")
        if first == "":
            self.first, self.last = max(0, size - int(last)), size - 1
        else:
            self.first, self.last = int(first), min(int(last) if last else size - 1, size - 1)
        self.status = 206 if self.first < size else 416

    def error(self, code):
        body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>as told</Message><RequestId>R1</RequestId></Error>'
        return body.encode()


class Connection:
    def __init__(self, state, reader, writer):
        self.state, self.reader, self.writer = state, reader, writer
        self.count = None

    async def send(self, data):
        self.writer.write(data)
        if self.count is not None:
            self.count["bytes"] += len(data)
        await self.writer.drain()

    async def head(self, status, fields):
        reason = {200: "OK", 206: "Partial Content", 304: "Not Modified"}.get(status, "Whatever")
        lines = [f"HTTP/1.1 {status} {reason}"] + [f"{name}: {value}" for name, value in fields]
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        await self.writer.drain()

    async def body(self, answer, length=None, first=0):
        """Bytes first.. of the answer's body, `length` of them."""
        length = answer.length - first if length is None else length
        at = answer.first + first
        while length > 0:
            take = min(length, PIECE)
            await self.send(pattern(at, take, answer.seed))
            at, length = at + take, length - take

    def fields(self, answer):
        fields = [("Date", formatdate(usegmt=True)), ("Content-Type", "application/octet-stream"),
                  ("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT")]
        if answer.etag:
            fields.append(("ETag", answer.etag))
        if answer.status == 206:
            fields.append(("Content-Range", f"bytes {answer.first}-{answer.last}/{answer.total}"))
        if answer.status != 304:
            fields.append(("Content-Length", str(answer.length)))
        return fields + answer.extra

    async def plain(self, request, answer):
        if answer.status in (412, 416):
            code = {412: "PreconditionFailed", 416: "InvalidRange"}[answer.status]
            extra = [("Content-Range", f"bytes */{answer.total}")] if answer.status == 416 else []
            await self.error(request, answer.status, code, extra)
            return
        await self.head(answer.status, self.fields(answer))
        if request.method != "HEAD" and answer.status != 304:
            await self.body(answer)

    async def error(self, request, status, code, extra=()):
        text = Answer.error(None, code) if code else b""
        await self.head(status, [("Content-Type", "application/xml"), ("x-amz-request-id", "R1"),
                                 ("Content-Length", str(len(text)))] + list(extra))
        if request.method != "HEAD":
            await self.send(text)

    # ---- the connection ----

    async def read_request(self):
        text = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = text.decode("latin-1").split("\r\n")[:-2]
        method, target, _ = first.split(" ")
        fields = {}
        for line in lines:
            name, _, value = line.partition(":")
            fields[name.lower()] = value.strip()
        return Request(method, target, fields)

    async def control(self, request):
        url = urllib.parse.urlsplit(request.target)
        if url.path.endswith("/reset"):
            self.state.__init__()
        if url.path.endswith("/version"):
            self.state.seed = int(urllib.parse.parse_qs(url.query)["seed"][0])
        text = json.dumps(self.state.stats).encode()
        await self.head(200, [("Content-Type", "application/json"), ("Content-Length", str(len(text)))])
        await self.send(text)

    async def answer(self, request):
        self.count = self.state.of(request.key)
        self.count["requests"] += 1
        self.count["methods"].append(request.method)
        self.count["ranges"].append(request.fields.get("range"))
        self.count["if_match"].append(request.fields.get("if-match"))
        seed = request.number("seed") if request.own_seed else self.state.seed
        answer = Answer(request, seed)
        wrong = request.number("n") == 0 or self.count["requests"] <= request.number("n")
        handler = HANDLERS.get(request.fault)
        if handler is None:
            await self.error(request, 404, "NoSuchKey")
        elif not wrong or answer.status == 416:  # there is no body to spoil
            await self.plain(request, answer)
        else:
            await handler(self, request, answer)

    async def run(self):
        try:
            while True:
                self.count = None
                request = await self.read_request()
                if request.target.startswith("/_control/"):
                    await self.control(request)
                else:
                    await self.answer(request)
                await self.writer.drain()
        except Reset:
            raw = self.writer.get_extra_info("socket")
            with contextlib.suppress(OSError):  # the peer may have gone first
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()
        except (Close, asyncio.IncompleteReadError, ConnectionError, asyncio.LimitOverrunError):
            pass
        finally:
            self.writer.close()


# ---- faults ----


def delay(request):
    return asyncio.sleep(request.number("ms") / 1000)


def unsent(conn):
    """Bytes that an RST would discard: not written yet, or not acknowledged by the peer's kernel."""
    queued = fcntl.ioctl(conn.writer.get_extra_info("socket").fileno(), termios.TIOCOUTQ, struct.pack("i", 0))
    return conn.writer.transport.get_write_buffer_size() + struct.unpack("i", queued)[0]


async def flushed(conn):
    """Lets what was written reach the peer before an RST overtakes it, for as long as a slow peer may take."""
    deadline = time.monotonic() + 5
    while unsent(conn) > 0 and time.monotonic() < deadline:
        await asyncio.sleep(0.005)


async def ok(conn, request, answer):
    await conn.plain(request, answer)


async def slow_head(conn, request, answer):
    await delay(request)
    await conn.plain(request, answer)


async def slow_body(conn, request, answer):
    """The whole answer, with a pause at `at`."""
    at = min(request.number("at"), answer.length)
    await conn.head(answer.status, conn.fields(answer))
    await conn.body(answer, at)
    await delay(request)
    await conn.body(answer, first=at)


async def drip(conn, request, answer):
    """1,000 bytes every `ms`."""
    await conn.head(answer.status, conn.fields(answer))
    for first in range(0, answer.length, 1000):
        await conn.body(answer, min(1000, answer.length - first), first)
        await delay(request)


async def reset_before(conn, request, answer):
    raise Reset


async def reset_head(conn, request, answer):
    """RST in the midst of the head."""
    conn.writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
    await flushed(conn)
    raise Reset


async def reset_body(conn, request, answer):
    await conn.head(answer.status, conn.fields(answer))
    await conn.body(answer, min(request.number("at"), answer.length))
    await flushed(conn)
    raise Reset


async def truncate(conn, request, answer):
    """FIN before all that was promised has come."""
    await conn.head(answer.status, conn.fields(answer))
    await conn.body(answer, min(request.number("at"), answer.length))
    raise Close


async def long(conn, request, answer):
    """More bytes than promised; then FIN."""
    await conn.head(answer.status, conn.fields(answer))
    await conn.body(answer)
    await conn.send(b"x" * 1000)
    raise Close


async def short_length(conn, request, answer):
    """A 206 or 200 whose Content-Length is less than its range (or its object)."""
    fields = [(n, v) for n, v in conn.fields(answer) if n != "Content-Length"]
    await conn.head(answer.status, fields + [("Content-Length", str(answer.length // 2))])
    await conn.body(answer, answer.length // 2)


async def with_range(conn, request, answer, first, last, total):
    fields = [(n, v) for n, v in conn.fields(answer) if n != "Content-Range"]
    await conn.head(206, fields + [("Content-Range", f"bytes {first}-{last}/{total}")])
    await conn.body(answer)


async def bad_range_first(conn, request, answer):
    await with_range(conn, request, answer, answer.first + 1, answer.last + 1, answer.total + 1)


async def bad_range_last(conn, request, answer):
    await with_range(conn, request, answer, answer.first, answer.last - 1, answer.total)


async def bad_range_total(conn, request, answer):
    await with_range(conn, request, answer, answer.first, answer.last, answer.last)


async def no_content_range(conn, request, answer):
    fields = [(n, v) for n, v in conn.fields(answer) if n != "Content-Range"]
    await conn.head(206, fields)
    await conn.body(answer)


async def multipart(conn, request, answer):
    part = b"--b\r\nContent-Range: bytes 0-0/2\r\n\r\nx\r\n--b--\r\n"
    await conn.head(206, [("ETag", answer.etag), ("Content-Type", "multipart/byteranges; boundary=b"),
                          ("Content-Length", str(len(part)))])
    await conn.send(part)


async def other_version(conn, request, answer):
    """Whatever is asked, the answer is of the next version, If-Match or not."""
    request.fault = "ignore-if-match"
    await conn.plain(request, Answer(request, answer.seed + 1))


async def weak_etag(conn, request, answer):
    """Never a strong tag; broken at `at`."""
    answer.etag = f'W/"v{answer.seed}"'
    await truncate(conn, request, answer)


async def no_etag(conn, request, answer):
    answer.etag = None
    await truncate(conn, request, answer)


async def ignore_range(conn, request, answer):
    """200 with the whole for a range."""
    request.fields.pop("range", None)
    await conn.plain(request, Answer(request, answer.seed))


async def ignore_if_match(conn, request, answer):
    await conn.plain(request, answer)


async def status(conn, request, answer):
    extra = [("Retry-After", str(request.options["after"]))] if "after" in request.options else []
    await conn.error(request, request.number("status"), request.options.get("code", "SlowDown"), extra)


async def garbage(conn, request, answer):
    await conn.send(b"\x00\x01\x02 this is not HTTP at all\r\n\r\n" * 20)
    raise Close


async def close(conn, request, answer):
    raise Close


async def hang(conn, request, answer):
    await asyncio.sleep(600)


async def stall(conn, request, answer):
    """`at` bytes, then nothing."""
    await conn.head(answer.status, conn.fields(answer))
    await conn.body(answer, min(request.number("at"), answer.length))
    await asyncio.sleep(600)


async def endless(conn, request, answer):
    """Chunked without an end."""
    await conn.head(200, [("Transfer-Encoding", "chunked"), ("ETag", answer.etag)])
    at = 0
    while True:
        await conn.send(b"10000\r\n" + pattern(at, 65536, answer.seed) + b"\r\n")
        at += 65536


async def chunked(conn, request, answer, pause_at=None):
    fields = [(n, v) for n, v in conn.fields(answer) if n != "Content-Length"]
    await conn.head(answer.status, fields + [("Transfer-Encoding", "chunked")])
    if request.method == "HEAD":
        return
    for first in range(0, answer.length, 10_000):
        if pause_at is not None and first >= pause_at:
            await delay(request)
            pause_at = None
        part = pattern(answer.first + first, min(10_000, answer.length - first), answer.seed)
        await conn.send(b"%x\r\n" % len(part) + part + b"\r\n")
    await conn.send(b"0\r\n\r\n")


async def slow_chunked(conn, request, answer):
    """With a pause at `at`."""
    await chunked(conn, request, answer, request.number("at"))


async def whole_chunked(conn, request, answer):
    """All of it, whatever the range."""
    request.fields.pop("range", None)
    await chunked(conn, request, Answer(request, answer.seed))


async def chunked_truncate(conn, request, answer):
    fields = [(n, v) for n, v in conn.fields(answer) if n != "Content-Length"]
    await conn.head(answer.status, fields + [("Transfer-Encoding", "chunked")])
    part = pattern(answer.first, min(request.number("at"), answer.length), answer.seed)
    await conn.send(b"%x\r\n" % len(part) + part + b"\r\n")
    if "ms" in request.options:
        await delay(request)
    raise Close


async def no_length(conn, request, answer):
    """A body that ends with the connection."""
    fields = [(n, v) for n, v in conn.fields(answer) if n != "Content-Length"]
    await conn.head(answer.status, fields + [("Connection", "close")])
    await conn.body(answer)
    raise Close


async def whole_no_length(conn, request, answer):
    """All of it, whatever the range."""
    request.fields.pop("range", None)
    await no_length(conn, request, Answer(request, answer.seed))


async def no_length_reset(conn, request, answer):
    """The same, but the connection breaks."""
    fields = [(n, v) for n, v in conn.fields(answer) if n != "Content-Length"]
    await conn.head(answer.status, fields + [("Connection", "close")])
    await conn.body(answer, min(request.number("at"), answer.length))
    await flushed(conn)
    if "ms" in request.options:
        await delay(request)
    raise Reset


async def redirect(conn, request, answer):
    code = request.options.get("code", "PermanentRedirect")
    text = (f"<Error><Code>{code}</Code><Message>Elsewhere</Message><Region>eu-west-3</Region></Error>").encode()
    number = request.number("status") if request.number("status") // 100 == 3 else 301
    await conn.head(number, [("x-amz-bucket-region", "eu-west-3"), ("Location", f"http://{request.fields['host']}/b/ok"),
                             ("Content-Length", str(len(text)))])
    if request.method != "HEAD":
        await conn.send(text)


async def two_lengths(conn, request, answer):
    await conn.head(answer.status, conn.fields(answer) + [("Content-Length", str(answer.length + 1))])
    await conn.body(answer)


async def folded(conn, request, answer):
    await conn.head(answer.status, conn.fields(answer) + [("X-Folded", "a\r\n b")])
    await conn.body(answer)


async def bare_control(conn, request, answer):
    await conn.head(answer.status, conn.fields(answer) + [("X-Control", "a\x01b")])
    await conn.body(answer)


async def http09(conn, request, answer):
    await conn.send(pattern(0, 1000, answer.seed))
    raise Close


async def huge_head(conn, request, answer):
    await conn.head(answer.status, conn.fields(answer) + [(f"X-{i}", "y" * 1000) for i in range(100)])
    await conn.body(answer)


async def early_hints(conn, request, answer):
    """Interim answers come first, which is right."""
    conn.writer.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nETag: \"wrong\"\r\nContent-Length: 3\r\n\r\n")
    await conn.plain(request, answer)


HANDLERS = {
    name.replace("_", "-"): globals()[name]
    for name in """ok slow_head slow_body drip reset_before reset_head reset_body truncate long short_length
    bad_range_first bad_range_last bad_range_total no_content_range other_version weak_etag no_etag ignore_range
    ignore_if_match status garbage close hang stall endless chunked slow_chunked whole_chunked
    chunked_truncate no_length whole_no_length no_length_reset redirect two_lengths folded bare_control http09 huge_head early_hints multipart""".split()
}


async def serve(options):
    state, tls = State(), None
    if options.cert:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(options.cert, options.key)

    async def connected(reader, writer):
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await Connection(state, reader, writer).run()
        except (ConnectionError, asyncio.CancelledError):
            pass

    server = await asyncio.start_server(connected, options.host, options.port, limit=1 << 20, ssl=tls)
    print(f"port {server.sockets[0].getsockname()[1]}", flush=True)
    if options.orphan:
        await server.serve_forever()
    loop = asyncio.get_running_loop()
    ended = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(ended), sys.stdin)
    await ended.read()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--cert", help="speak TLS, with this certificate")
    parser.add_argument("--key", help="of the certificate")
    parser.add_argument("--orphan", action="store_true", help="do not end with standard input")
    options = parser.parse_args()
    try:
        asyncio.run(serve(options))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
