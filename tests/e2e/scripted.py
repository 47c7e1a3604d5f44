"""An origin in this process whose objects a test writes down as it likes: body, fields, and what was asked. Answers ranges, If-Match and
If-None-Match as S3 does."""
import http.server
import socket
import sys
import threading
import time
from email.utils import formatdate

import servers


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server = self.server
        key = self.path.split("/", 2)[2].split("?")[0]
        server.seen.append((self.path, dict(self.headers.items())))
        if key in server.held:
            server.held[key].wait(30)
        made = server.objects.get(key, (None, {}))
        own, body, fields = made(self) if callable(made) else (None, *made)
        fields = {"Date": formatdate(usegmt=True), "ETag": '"a"', "Content-Type": "text/plain", **fields}
        fields = {n: v for n, v in fields.items() if v is not None}
        status = 200
        if own not in (None, 200):
            status = own
        elif key in server.broken:
            status, body, fields = server.broken[key], b"<Error><Code>Broken</Code></Error>", {}
        elif body is None:
            status, body, fields = 404, b"<Error><Code>NoSuchKey</Code></Error>", {}
        elif self.headers.get("If-Match") not in (None, fields.get("ETag")):
            status, body, fields = 412, b"<Error><Code>PreconditionFailed</Code></Error>", {}
        elif self.headers.get("If-None-Match", "") == fields.get("ETag"):
            status = 304
        elif self.headers.get("If-Modified-Since", "") == fields.get("Last-Modified"):
            status = 304
        elif self.headers.get("Range"):
            first, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
            first, last = int(first), min(int(last or len(body)), len(body) - 1)
            if first < len(body):
                status = 206
                fields["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
                body = body[first:last + 1]
            else:
                status, fields["Content-Range"] = 416, f"bytes */{len(body)}"
                body = b""
        self.send_response_only(status)
        for name, value in fields.items():
            for line in value if isinstance(value, list) else [value]:
                self.send_header(name, line)
        if server.closing:
            self.send_header("Connection", "close")
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if status not in (204, 304) and self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.do_GET()

    do_PUT = do_DELETE = do_POST

    def log_message(self, *_):
        pass


def apart(names):
    """A server of whose objects, (base, bucket, key), none shares a purge slot with another."""
    while True:
        server = Scripted()
        if servers.slots_differ([(server.endpoint + base, bucket, key) for base, bucket, key in names]):
            return server
        server.server_close()


class Scripted(http.server.ThreadingHTTPServer):
    """objects: {key: (body, fields)}, or a function of the request that answers (status, body, fields); a field of None is left out, one of a list is as many lines. broken: {key: status} of an
    error. held: {key: event} that the answer waits for. closing: no connection is kept. seen: [(path, fields)] of requests."""

    daemon_threads = True
    request_queue_size = 128  # who comes beyond it waits for seconds

    def __init__(self, host="127.0.0.1", port=0):
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        if host == "127.0.0.1":
            port = port or servers.free_port()  # nobody else's, also when this server is gone
        super().__init__((host, port), Handler)
        self.objects, self.seen, self.broken, self.held, self.closing = {}, [], {}, {}, False
        self.endpoint = f"http://{f'[{host}]' if ':' in host else host}:{self.server_port}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], OSError):  # a client that was killed
            super().handle_error(request, client_address)

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def put(self, key, body, **fields):
        self.objects[key] = (body, {n.replace("_", "-"): v for n, v in fields.items()})

    def asked(self, key):
        return [fields for path, fields in self.seen if path.split("/", 2)[2].split("?")[0] == key]


def date(seconds_from_now):
    return formatdate(time.time() + seconds_from_now, usegmt=True)
