"""Random requests at Yatagarasu, each answer held against the truth (truth.py), while objects are replaced at the origins and the
process is restarted. One seed decides what is asked; the order in which things happen is the machine's.

Clients are coroutines, each with a raw connection of its own: kept alive, pipelined, aborted, read slowly.
"""
import asyncio
import collections
import contextlib
import email.utils
import random
import time
import urllib.parse

import truth

ANSWER_SECONDS = 90
PIECE = 1 << 18
INLINE_MAX = 16 << 10  # a body up to here lies in its head's item, which is put once it is whole


class Wrong(Exception):
    """Yatagarasu's fault; the text is the bug report."""


class Gone(Exception):
    """The connection ended where an answer should have begun."""


class Answer:
    def __init__(self, status, fields):
        self.status, self.fields = status, fields
        self.body = bytearray()
        self.cut = False
        length = self.get("content-length")
        self.length = int(length) if length is not None else None
        self.closes = (self.get("connection") or "").lower() == "close"

    def get(self, name):
        values = [v for n, v in self.fields if n == name]
        if len(values) > 1:
            raise Wrong(f"{name} came {len(values)} times: {self.fields}")
        return values[0] if values else None


class Client:
    """One connection."""

    def __init__(self, port):
        self.port, self.reader, self.opened = port, None, 0

    async def open(self):
        self.opened = time.monotonic()
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)

    def close(self, abort=False):
        if self.reader is None:
            return
        self.reader = None
        if abort:
            self.writer.transport.abort()
        else:
            self.writer.close()

    def send(self, method, path, headers, close=False):
        lines = [f"{method} {path} HTTP/1.1", "Host: differential"] + [f"{n}: {v}" for n, v in headers.items()]
        if close:
            lines.append("Connection: close")
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    async def head(self):
        try:
            text = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise Wrong(f"half a head: {error.partial!r}") from None
            raise Gone from None
        except ConnectionError:
            raise Gone from None
        first, *lines = text[:-4].decode("latin-1").split("\r\n")
        if not first.startswith("HTTP/1.1 "):
            raise Wrong(f"not a status line: {first!r}")
        return Answer(int(first.split(" ")[1]), [(n.lower(), v) for n, v in (line.split(": ", 1) for line in lines)])

    async def body(self, answer, method, pause=None):
        """Reads what belongs to the answer; pause() is awaited after each piece."""
        if method == "HEAD" or answer.status in (204, 304):
            return
        if answer.length is None:
            raise Wrong(f"no Content-Length: {answer.status} {answer.fields}")
        while len(answer.body) < answer.length:
            try:
                piece = await self.reader.read(min(PIECE, answer.length - len(answer.body)))
            except ConnectionError:
                piece = b""
            if not piece:
                answer.cut = True
                return
            answer.body += piece
            if pause:
                await pause()


class Request:
    def __init__(self, target, method, headers):
        self.target, self.method, self.headers = target, method, headers

    def __str__(self):
        return f"{self.method} {self.target.path} {self.headers}"


# ---- what is asked ----


def borders(rng, size):
    """A byte position, likely where something could go wrong."""
    chunk = 256 * 1024
    kind = rng.random()
    if kind < 0.3:
        at = rng.choice([0, 1, 16383, 16384, 16385, size - 1, size, size + 1])
    elif kind < 0.6:
        at = rng.randrange(0, size // chunk + 2) * chunk + rng.choice([-1, 0, 1])
    else:
        at = rng.randrange(0, size + 1)
    return max(0, at)


def one_range(rng, size):
    first = borders(rng, size)
    kind = rng.random()
    if kind < 0.15:
        return f"{first}-"
    if kind < 0.3:
        return f"-{rng.choice([0, 1, 8, 1000, 65536, size, size + 1, 10**30])}"
    if kind < 0.5:
        return f"{first}-{first + rng.choice([0, 1, 99, 8191, 65535, 300_000])}"
    return "{}-{}".format(*sorted([first, borders(rng, size)]))


def range_value(rng, size):
    kind = rng.random()
    if kind < 0.65:
        return "bytes=" + one_range(rng, size)
    if kind < 0.85:
        return "bytes=" + rng.choice([",", ", ", " ,"]).join(one_range(rng, size) for _ in range(rng.randrange(2, 6)))
    if kind < 0.88:
        return "bytes=" + ",".join(f"{i * 7}-{i * 7 + 3}" for i in range(rng.choice([63, 64, 65, 200])))
    return rng.choice(["bytes=", "bytes=-", "bytes=5-2", "bytes=a-b", "bytes 0-5", "items=0-5", "bytes=--1", "bytes=0-5-",
                       "bytes=1-2,x", "0-5", "Bytes=0-0", "bytes= 0-5 , 7-9", "bytes=,0-1,", "bytes=,", "bytes=0x1-5",
                       "bytes=0-99999999999999999999999999", "bytes=99999999999999999999999999-", "bytes=1 - 2"])


def tag_value(rng, target):
    current = target.current.etag or '"none"'
    old = rng.choice(target.versions).etag or '"none"'
    return rng.choice([current, current, current, old, old, '"wrong"', "W/" + current, "*", f'"x", {current}', f'{old}, "y"',
                       "malformed", ""])


def date_value(rng, target):
    modified = rng.choice(target.versions[-2:]).last_modified
    if modified is None or rng.random() < 0.1:
        return rng.choice(["yesterday", "0", "Tue, 99 Nov 2024 00:00:00 GMT"])
    return email.utils.formatdate(modified + rng.choice([-86400, -1, 0, 0, 0, 1, 86400]), usegmt=True)


def conditions(rng, target):
    headers = {}
    if rng.random() < 0.35:
        headers["If-None-Match"] = tag_value(rng, target)
    if rng.random() < 0.3:
        headers["If-Match"] = tag_value(rng, target)
    if rng.random() < 0.2:
        headers["If-Modified-Since"] = date_value(rng, target)
    if rng.random() < 0.2:
        headers["If-Unmodified-Since"] = date_value(rng, target)
    return {n: v for n, v in headers.items() if v}


def request_of(rng, targets):
    target = targets[min(int(rng.expovariate(4 / len(targets))), len(targets) - 1)]
    if rng.random() < 0.02:
        return Request(target, rng.choice(["POST", "PUT", "DELETE", "OPTIONS"]), {"Content-Length": "0"})
    headers = {}
    size = target.current.size or 0
    large = size > 4 << 20
    method = "HEAD" if rng.random() < 0.12 else "GET"
    if rng.random() < (0.97 if large else 0.45):
        headers["Range"] = range_value(rng, size)
        if large and rng.random() < 0.85:
            first = borders(rng, size)
            headers["Range"] = f"bytes={first}-{first + rng.choice([0, 1000, 100_000, 700_000])}"
        if rng.random() < 0.2:
            choices = [tag_value(rng, target)] + ([date_value(rng, target)] if target.dates_exact else [])
            headers["If-Range"] = rng.choice(choices) or '"wrong"'
    if rng.random() < 0.3:
        headers.update(conditions(rng, target))
    return Request(target, method, headers)


# ---- the run ----


class Run:
    """targets: truth.Objects with a first version. replacers: coroutines (rng) that give one of them, each of others, a new version at
    its origin. restart(kind): a coroutine that restarts the process after SIGTERM or SIGKILL (`restarts`), or None."""

    def __init__(self, port, targets, seed, clients=12, replacers=(), restart=None, restarts=("term", "kill"),
                 restart_every=8):
        self.port, self.targets, self.seed, self.clients = port, targets, seed, clients
        self.replacers, self.restart, self.restarts, self.restart_every = replacers, restart, restarts, restart_every
        self.counts = collections.Counter()
        self.down = False  # a restart is under way
        self.stops = []  # [(kind, from, to)], to is None while it lasts
        self.wrong = None
        self.end = 0

    def stopped(self, since, kinds=("term", "kill")):
        return any(kind in kinds and (to is None or to >= since) for kind, _, to in self.stops)

    def go_on(self):
        return self.wrong is None and time.monotonic() < self.end

    async def run(self, seconds):
        self.end = time.monotonic() + seconds
        tasks = [self.client_task(random.Random(f"{self.seed}/{i}")) for i in range(self.clients)]
        tasks += [self.replace_task(random.Random(f"{self.seed}/{r}"), r) for r in self.replacers]
        if self.restart:
            tasks.append(self.restart_task(random.Random(f"{self.seed}/restart")))
        await asyncio.gather(*(self.guarded(task) for task in tasks))
        if self.wrong is not None:
            raise self.wrong

    async def guarded(self, task):
        try:
            await task
        except BaseException as error:
            if self.wrong is None:
                self.wrong = error
            raise

    async def replace_task(self, rng, replace):
        while self.go_on():
            await asyncio.sleep(rng.choice([0.002, 0.01, 0.05, 0.2]))
            await replace(rng)
            self.counts["replaced"] += 1

    async def restart_task(self, rng):
        while True:
            await asyncio.sleep(self.restart_every * rng.uniform(0.5, 1.5))
            if not self.go_on() or time.monotonic() + 3 > self.end:
                return
            kind = rng.choice(self.restarts)
            stop = [kind, time.monotonic(), None]
            self.stops.append(stop)
            await self.restart(kind)
            if kind == "kill":
                for target in self.targets:
                    target.shown.clear()
            stop[2] = time.monotonic()
            self.counts[f"restart {kind}"] += 1

    async def client_task(self, rng):
        client = Client(self.port)
        while self.go_on():
            if client.reader is None:
                began = time.monotonic()
                try:
                    await client.open()
                except OSError as error:
                    if not self.stopped(began):
                        raise Wrong(f"connect: {error}") from None
                    await asyncio.sleep(0.05)
                    continue
            try:
                await asyncio.wait_for(self.exchange(rng, client), ANSWER_SECONDS)
            except asyncio.TimeoutError:
                raise Wrong(f"no answer within {ANSWER_SECONDS} s: {self.last[client]}") from None
        client.close()

    last = {}

    async def exchange(self, rng, client):
        """One request, or some pipelined ones."""
        count = rng.choice([2, 3, 6]) if rng.random() < 0.1 else 1
        requests = [request_of(rng, self.targets) for _ in range(count)]
        requests = [r for i, r in enumerate(requests) if i == 0 or (r.target.current.size or 0) < 1 << 20]
        close = rng.random() < 0.05
        self.last[client] = [str(r) for r in requests]
        for request in requests:
            request.sent = time.monotonic()
            request.since = request.target.asked(request)
        try:
            for i, request in enumerate(requests):
                client.send(request.method, request.target.path, request.headers, close and i == len(requests) - 1)
            for request in requests:
                if client.reader is None:
                    return
                await self.one_answer(rng, client, request)
        finally:
            for request in requests:
                request.target.answered(request)
        if close and client.reader is not None:
            if await client.reader.read(1):
                raise Wrong(f"bytes after the last answer to {requests[-1]}")
            client.close()

    async def one_answer(self, rng, client, request):
        manner = rng.random()
        if manner < 0.02:  # gone before the answer; its flight may go on, and others join it
            await asyncio.sleep(rng.choice([0, 0.001, 0.01]))
            client.close(abort=rng.random() < 0.5)
            self.leave(request)
            return
        try:
            answer = await client.head()
        except Gone:
            client.close()
            if not self.stopped(client.opened):
                raise Wrong(f"closed without an answer: {request}") from None
            self.counts["unanswered while down"] += 1
            return
        headed = time.monotonic()
        if (answer.length or 0) > INLINE_MAX:  # a smaller one's flight is joined until it is whole
            request.target.answered(request)
        if manner < 0.08 and answer.length and request.method == "GET" and answer.status != 304:
            answer.body += await self.some(client, rng.randrange(answer.length + 1))
            answer.cut = True
            client.close(abort=rng.random() < 0.5)
            self.leave(request)
            self.judge(request, answer, headed, ours=True)
            return
        await client.body(answer, request.method, self.slow(rng) if manner < 0.12 else None)
        self.judge(request, answer, headed)
        if answer.cut or answer.closes:
            client.close()

    def leave(self, request):
        """The client is gone; what it asked for is perhaps still coming, and who joins gets it as old as that."""
        self.counts["aborted"] += 1
        request.target.pending[self.counts["aborted"]] = request.since
        asyncio.get_running_loop().call_later(6, request.target.answered, self.counts["aborted"])

    def slow(self, rng):
        until = time.monotonic() + rng.uniform(0.1, 3)

        async def pause():
            if time.monotonic() < until:
                await asyncio.sleep(rng.choice([0.01, 0.1, 0.4]))

        return pause

    async def some(self, client, count):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            return await client.reader.readexactly(count)
        return b""

    def judge(self, request, answer, headed, ours=False):
        target, now = request.target, time.monotonic()
        self.counts[f"status {answer.status}"] += 1
        self.counts[f"X-Cache {answer.get('x-cache')}"] += 1
        if answer.cut and not ours:
            self.judge_cut(request, answer)
        if answer.status in (502, 503) and (target.changed(request.since) or target.coming):
            self.counts["refused while changing"] += 1
            return
        ttl = 0 if answer.status in (404, 412) else target.ttl
        candidates = target.candidates(request.since, headed, ttl)
        reasons = []
        for version in reversed(candidates):
            reason = truth.check(version, request.method, request.headers, answer, target.versions)
            if reason is None:
                self.counts["right"] += 1
                self.counts["bytes"] += len(answer.body)
                if answer.status in (200, 206, 304):
                    self.judge_order(request, answer, version, headed)
                return
            reasons.append(f"    {version}: {reason}")
        listing = "\n".join(reasons)
        older = "\n".join(f"    {v}" for v in target.versions[-12:] if v not in candidates)
        stops = "\n".join(f"    {s}" for s in self.stops)
        raise Wrong(f"seed {self.seed}: {request}\n  began {request.since:.3f} head {headed:.3f} now {now:.3f} ttl {ttl}\n"
                    f"  answer {answer.status} {answer.fields} {len(answer.body)} bytes, cut: {answer.cut}\n"
                    f"  explained by no version that was the origin's:\n{listing}\n  others:\n{older}\n  restarts:\n{stops}")

    def judge_order(self, request, answer, version, headed):
        """Who was shown a version is never shown an older one, unless a kill lost the newer."""
        target = request.target
        if any(kind == "kill" and (to is None or request.sent < to) for kind, _, to in self.stops):
            return
        back = target.went_back(version, request.sent)
        if back:
            raise Wrong(f"seed {self.seed}: {request} sent {request.sent:.3f} head {headed:.3f} went back to {version}, though {back} had "
                        f"been answered: {target.shown}\n  {answer.fields}\n  restarts: {self.stops}")
        target.shown.setdefault(version.number, headed)

    def judge_cut(self, request, answer):
        """A cut is right only if the object changed, or the process was killed."""
        self.counts["cut"] += 1
        target = request.target
        ended = any(v.gone is not None and v.etag == answer.get("etag") for v in target.versions)
        if not (ended or target.coming or self.stopped(request.since, ("kill",))):
            raise Wrong(f"seed {self.seed}: cut after {len(answer.body)} of {answer.length} bytes, though nothing changed: "
                        f"{request}\n  {answer.fields}")


def quoted(key):
    return urllib.parse.quote(key, safe="/~")
