"""An HTTP origin at the level of bytes: a test writes down, for each path, what it does with a connection; what it received is kept as
it came."""
import socket
import struct
import threading


class Talk:
    """One request on its way: `head` as received, then whatever the script asks for."""

    def __init__(self, connection, buffer, head):
        self.connection, self.buffer, self.head = connection, buffer, head
        self.body, self.framed, self.keep = b"", b"", True

    @property
    def line(self):
        return self.head.split(b"\r\n")[0].decode("latin-1")

    @property
    def fields(self):
        lines = self.head.decode("latin-1").split("\r\n")[1:-2]
        return [tuple(line.split(": ", 1)) if ": " in line else (line.rstrip(":"), "") for line in lines]

    def all(self, name):
        return [value for n, value in self.fields if n.lower() == name.lower()]

    def more(self):
        piece = self.connection.recv(1 << 18)
        if not piece:
            raise EOFError
        self.buffer += piece

    def take(self, count):
        while len(self.buffer) < count:
            self.more()
        piece, self.buffer = self.buffer[:count], self.buffer[count:]
        return piece

    def take_line(self):
        while b"\r\n" not in self.buffer:
            self.more()
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        self.framed += line + b"\r\n"
        return line

    def read_body(self, keep=True):
        """By its framing; returns how many bytes."""
        count = 0
        if self.all("Transfer-Encoding") == ["chunked"]:
            while size := int(self.take_line(), 16):
                piece = self.take(size + 2)
                assert piece[size:] == b"\r\n"
                count += size
                if keep:
                    self.body += piece[:size]
                self.framed = b""
            while self.take_line():
                pass
        elif self.all("Content-Length"):
            left = int(self.all("Content-Length")[0])
            while left:
                if not self.buffer:
                    self.more()
                piece, self.buffer = self.buffer[:left], self.buffer[left:]
                left -= len(piece)
                count += len(piece)
                if keep:
                    self.body += piece
        return count

    def send(self, data):
        self.connection.sendall(data if isinstance(data, bytes) else data.encode("latin-1"))

    def answer(self, body=b"", fields=(), status="200 OK"):
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
        self.send(f"HTTP/1.1 {status}\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode("latin-1") + body)

    def close(self):
        self.keep = False

    def reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.keep = False


class RawOrigin:
    """scripts: {path: function of a Talk}, by the target without its query; else the default: reads the body, answers its length.
    seen: Talks, in order."""

    def __init__(self):
        self.scripts, self.seen, self.connections = {}, [], 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        buffer = b""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while True:
                while b"\r\n\r\n" not in buffer:
                    piece = connection.recv(1 << 16)
                    if not piece:
                        return
                    buffer += piece
                head, _, buffer = buffer.partition(b"\r\n\r\n")
                talk = Talk(connection, buffer, head + b"\r\n\r\n")
                self.seen.append(talk)
                path = talk.line.split(" ")[1].split("?")[0]
                self.scripts.get(path, default)(talk)
                buffer = talk.buffer
                if not talk.keep:
                    return
        except (EOFError, OSError):
            pass
        finally:
            connection.close()

    def last(self, path):
        return [talk for talk in self.seen if talk.line.split(" ")[1].split("?")[0] == path][-1]

    def count(self, path):
        return len([talk for talk in self.seen if talk.line.split(" ")[1].split("?")[0] == path])


def default(talk):
    talk.answer(str(talk.read_body()).encode(), [("Content-Type", "text/plain")])


def script(*pieces, close=True):
    """Reads the body, sends the pieces, closes."""

    def run(talk):
        talk.read_body()
        for piece in pieces:
            if callable(piece):
                piece(talk)
            else:
                talk.send(piece)
        if close:
            talk.close()

    return run
