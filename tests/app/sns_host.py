"""What stands for an SNS host in test_sns.c: `sns_host.py FOLDER CERTIFICATE KEY`, by https on a free port of 127.0.0.1, told on stdout.

Serves the files of the folder. A path with "held" waits until the folder has a file `go`; "redirect" answers 302, "large" 20 KiB; a
confirmation answers 200, with "bad" in it 500. Each request's target becomes a line of the file `seen`. Ends when stdin does.
"""
import http.server
import pathlib
import ssl
import sys
import threading
import time

folder = pathlib.Path(sys.argv[1])
lock = threading.Lock()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b"", **fields):
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        with lock, (folder / "seen").open("a") as seen:
            seen.write(self.path + "\n")
        while "held" in self.path and not (folder / "go").exists():
            time.sleep(0.01)
        if self.path.startswith("/?Action="):
            self.answer(500 if "bad" in self.path else 200, b"<ConfirmSubscriptionResponse/>")
        elif "redirect" in self.path:
            self.answer(302, Location="/good.pem")
        elif "large" in self.path:
            self.answer(200, b"x" * 20_000)
        else:
            path = folder / self.path.split("/")[-1]
            self.answer(200, path.read_bytes()) if path.exists() else self.answer(404, b"none")

    def log_message(self, *_):
        pass


class Host(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """Clients that leave in the middle are part of the test."""


server = Host(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2], sys.argv[3])
server.socket = context.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(f"port {server.server_port}", flush=True)
sys.stdin.read()
