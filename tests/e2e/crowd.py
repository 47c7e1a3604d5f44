"""Many clients at once in one thread, each with its own pace, all bytes compared as they come."""
import selectors
import time

from wire import Wire


class Member:
    """pace: bytes a second, None for as fast as it goes, 0 for never. leave_after: bytes, then it resets."""

    def __init__(self, port, path, data, pace=None, leave_after=None, headers=None, status=200):
        self.data, self.pace, self.leave_after, self.status = memoryview(data), pace, leave_after, status
        self.wire = Wire(port, receive_buffer=4096 if pace is not None else None)
        self.wire.request(path, headers)
        self.wire.socket.setblocking(False)
        self.got, self.head = 0, None
        self.began, self.first_byte, self.done, self.ended = time.monotonic(), None, None, None

    def due(self, now):
        return self.pace is None or self.got < (now - self.began) * self.pace

    def read(self):
        """One piece."""
        limit = 1 << 18 if self.pace is None else max(1, self.pace)
        try:
            piece = self.wire.socket.recv(limit)
        except BlockingIOError:
            return
        except ConnectionError:
            piece = b""
        if not piece:
            self.end("cut")
            return
        if self.head is None:
            self.wire.buffer += piece
            if b"\r\n\r\n" not in self.wire.buffer:
                return
            self.head = self.wire.head()
            piece, self.wire.buffer = self.wire.buffer, b""
            if self.head.status != self.status:
                self.end(f"status {self.head.status}")
                return
        if piece and self.first_byte is None:
            self.first_byte = time.monotonic()
        if self.data[self.got:self.got + len(piece)] != piece:
            self.end(f"wrong bytes in {self.got}..{self.got + len(piece)}")
            return
        self.got += len(piece)
        if self.got == len(self.data):
            self.end("complete")
        elif self.leave_after is not None and self.got >= self.leave_after:
            self.end("left")

    def end(self, how):
        self.ended, self.done = how, time.monotonic()
        self.wire.close(reset=how == "left")


def watch(members, until, seconds):
    """Lets them read until until() holds. False: it did not within the time."""
    selector = selectors.DefaultSelector()
    for member in members:
        if member.ended is None and member.pace != 0:
            selector.register(member.wire.socket, selectors.EVENT_READ, member)
    end = time.monotonic() + seconds
    while time.monotonic() < end and not until():
        ready = [key.data for key, _ in selector.select(0.05)]
        now = time.monotonic()
        idle = True
        for member in ready:
            if not member.due(now):
                continue
            idle = False
            file = member.wire.socket
            member.read()
            if member.ended is not None:
                selector.unregister(file)
        if idle and ready:
            time.sleep(0.01)
    selector.close()
    return until()


def leave(members):
    for member in members:
        if member.ended is None:
            member.end("left")
