"""A client at the level of bytes: sends whatever it is told, reads exactly one answer at a time, and says when one was cut."""
import contextlib
import re
import socket
import struct
import time


class Response:
    def __init__(self, status, reason, fields):
        self.status, self.reason, self.fields = status, reason, fields
        self.body, self.cut = b"", False

    def get(self, name, default=None):
        values = [v for n, v in self.fields if n.lower() == name.lower()]
        assert len(values) <= 1, (name, values)
        return values[0] if values else default

    @property
    def cache(self):
        return self.get("X-Cache")

    def __repr__(self):
        return f"{self.status} {self.fields} {len(self.body)} bytes{' CUT' if self.cut else ''} {self.body[:120]!r}"


class Wire:
    """One connection."""

    def __init__(self, port, host="127.0.0.1", timeout=60, receive_buffer=None):
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        self.socket.connect((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self, reset=False):
        if reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def request(self, path, headers=None, method="GET", version="1.1"):
        lines = [f"{method} {path} HTTP/{version}"]
        headers = {"Host": "test", **(headers or {})}
        lines += [f"{name}: {value}" for name, value in headers.items() if value is not None]
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        return self

    def more(self):
        """False: the other side ended the connection."""
        try:
            piece = self.socket.recv(1 << 18)
        except ConnectionError:
            piece = b""
        self.buffer += piece
        return bool(piece)

    def begun(self):
        """Waits for a head, and leaves it to who reads the answer."""
        while b"\r\n\r\n" not in self.buffer:
            assert self.more(), self.buffer
        return self

    def head(self):
        while b"\r\n\r\n" not in self.buffer:
            if not self.more():
                raise EOFError(f"no answer, only {self.buffer[:200]!r}")
        text, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        first, *lines = text.decode("latin-1").split("\r\n")
        match = re.fullmatch(r"HTTP/1\.1 (\d{3}) ?(.*)", first)
        assert match, f"not a status line: {first!r}"
        return Response(int(match[1]), match[2], [tuple(line.split(": ", 1)) for line in lines])

    def response(self, method="GET"):
        answer = self.head()
        while answer.status in (100, 103):
            answer = self.head()
        if method == "HEAD" or answer.status in (204, 304):
            return answer
        length = answer.get("Content-Length")
        if answer.get("Transfer-Encoding") == "chunked":
            return self.chunks(answer)
        if length is None:
            return self.until_close(answer)
        pieces, have = [self.buffer], len(self.buffer)
        self.buffer = b""
        while have < int(length):
            if not self.more():
                answer.cut = True
                break
            pieces.append(self.buffer)
            have += len(self.buffer)
            self.buffer = b""
        body = b"".join(pieces)
        answer.body, self.buffer = body[:int(length)], body[int(length):]
        return answer

    def chunks(self, answer):
        """Cut: without its last chunk."""
        body = []
        while True:
            while b"\r\n" not in self.buffer:
                if not self.more():
                    answer.body, answer.cut = b"".join(body), True
                    return answer
            line, _, self.buffer = self.buffer.partition(b"\r\n")
            assert re.fullmatch(rb"[0-9a-fA-F]{1,16}", line), line
            size = int(line, 16)
            piece = self.read(size + 2)
            body.append(piece[:size])
            if size == 0 and piece == b"\r\n" or len(piece) < size + 2:
                answer.body, answer.cut = b"".join(body), len(piece) < size + 2
                return answer
            assert piece[size:] == b"\r\n", piece[size:]

    def until_close(self, answer):
        """Cut: by a reset."""
        assert answer.get("Connection") == "close", answer
        pieces = [self.buffer]
        self.buffer = b""
        try:
            while piece := self.socket.recv(1 << 18):
                pieces.append(piece)
        except ConnectionError:
            answer.cut = True
        answer.body = b"".join(pieces)
        return answer

    def read(self, count):
        """At most so many bytes of a body; fewer only at the end."""
        while len(self.buffer) < count and self.more():
            pass
        piece, self.buffer = self.buffer[:count], self.buffer[count:]
        return piece

    def ended(self, seconds=10):
        """The other side closes within this time, and sends nothing more."""
        self.socket.settimeout(seconds)
        with contextlib.suppress(TimeoutError):
            while self.more():
                pass
            assert self.buffer == b"", f"unexpected: {self.buffer[:200]!r}"
            return True
        return False


def ask(port, path, headers=None, method="GET", timeout=60):
    """One request on a connection of its own."""
    with Wire(port, timeout=timeout) as wire:
        return wire.request(path, headers, method).response(method)


def wait_until(what, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.05)
    return bool(what())
