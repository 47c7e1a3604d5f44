"""The servers of the benchmark: origin, nginx, Varnish, the floor and Yatagarasu, each with a folder of its own.

Every server is pinned to SERVER_CORE with all its processes (the log reader of Varnish too), logs one JSON line a
request to a file, and keeps the whole working set. They are started here and stopped by process id; nothing installed
on the machine as a service is touched.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request

SERVER_CORE, LOAD_CORE = 0, 1
MIB = 1 << 20


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for_port(port, process, name):
    for _ in range(600):
        if process.poll() is not None:
            raise SystemExit(f"{name} ended at once with status {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"{name} does not listen on port {port}")


class Server:
    """A running server: its port and the processes whose CPU counts."""

    def __init__(self, name, folder):
        self.name, self.folder, self.port = name, os.path.join(folder, name), free_port()
        self.processes = []
        os.makedirs(self.folder, exist_ok=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), "w") as f:
            f.write(text)
        return self.path(name)

    def launch(self, command, core=SERVER_CORE):
        output = open(self.path(os.path.basename(command[0]) + ".output"), "ab")
        process = subprocess.Popen(["taskset", "-c", str(core)] + command, stdout=output, stderr=output,
                                   stdin=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    def ready(self):
        wait_for_port(self.port, self.processes[0], self.name)
        return self

    def pids(self):
        """Its processes and all their descendants."""
        parents = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    with open(f"/proc/{entry}/stat") as f:
                        parents[int(entry)] = int(f.read().rsplit(")", 1)[1].split()[1])
                except OSError:
                    pass
        found = {p.pid for p in self.processes}
        while True:
            more = {pid for pid, parent in parents.items() if parent in found} - found
            if not more:
                return found
            found |= more

    def cpu_ns(self):
        """CPU time of all threads so far. schedstat has nanoseconds where stat has ticks of 10 ms."""
        total = 0
        for pid in self.pids():
            try:
                for task in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{task}/schedstat") as f:
                        total += int(f.read().split()[0])
            except OSError:
                pass
        return total

    def trim_logs(self):
        for name in os.listdir(self.folder):
            if name.endswith(".log"):
                os.truncate(self.path(name), 0)

    def stop(self):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in reversed(self.processes):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


# Without tcp_nopush: with it answers of 64 KiB and more wait 40 ms for an ACK on loopback here, and at 1 KiB it makes
# no difference.
NGINX = """
user root; daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log warn;
worker_rlimit_nofile 65536;
events {{ worker_connections 4096; }}
http {{
  default_type application/octet-stream; sendfile on; tcp_nodelay on;
  keepalive_timeout 600s; keepalive_requests 100000000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  {http}
}}
"""

ORIGIN = """
  access_log off; open_file_cache max=30000 inactive=1h; open_file_cache_valid 1h;
  server {{ listen 127.0.0.1:{port} backlog=1024; location /f/ {{ root {root}; }} location = /status {{ stub_status; }} }}
"""

CACHE = """
  log_format json escape=json '{{"time":"$time_iso8601","id":"$request_id","client":"$remote_addr",'
    '"method":"$request_method","uri":"$uri","range":"$http_range","status":$status,"bytes":$body_bytes_sent,'
    '"cache":"$upstream_cache_status","duration":$request_time}}';
  access_log {folder}/access.log json buffer=64k flush=1s;
  open_file_cache max=30000 inactive=1h; open_file_cache_valid 1h;
  proxy_cache_path {folder}/cache levels=1:2 keys_zone=zone:64m max_size=64g inactive=1d use_temp_path=off;
  upstream origin {{ server 127.0.0.1:{origin}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{
      proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffer_size 64k; proxy_buffers 16 64k; proxy_busy_buffers_size 512k; proxy_max_temp_file_size 4096m;
      proxy_cache zone; proxy_cache_valid 200 1d; proxy_cache_lock on;
    }}
  }}
"""


def start_nginx(name, folder, http, core, **values):
    server = Server(name, folder)
    values.update(port=server.port, folder=server.folder)
    config = server.write("nginx.conf", NGINX.format(folder=server.folder, http=http.format(**values)))
    server.launch(["nginx", "-e", server.path("error.log"), "-p", server.folder, "-c", config], core)
    return server.ready()


def start_origin(folder, root):
    return start_nginx("origin", folder, ORIGIN, LOAD_CORE, root=root)


def origin_requests(origin):
    """Requests that the origin has seen, this one included."""
    text = urllib.request.urlopen(f"http://127.0.0.1:{origin.port}/status", timeout=10).read().decode()
    return int(text.splitlines()[2].split()[2])


def start_nginx_cache(folder, origin, memory_bytes):
    return start_nginx("nginx", folder, CACHE, SERVER_CORE, origin=origin.port)


VCL = """
vcl 4.1;
backend default {{ .host = "127.0.0.1"; .port = "{origin}"; }}
sub vcl_backend_response {{ set beresp.ttl = 1d; set beresp.grace = 0s; }}
"""
VARNISH_LOG = ('{"time":"%t","id":"%{Varnish:vxid}x","client":"%h","method":"%m","uri":"%U","range":"%{Range}i",'
               '"status":%s,"bytes":%b,"cache":"%{Varnish:hitmiss}x","duration":%D}')


def start_varnish(folder, origin, memory_bytes):
    server = Server("varnish", folder)
    vcl = server.write("default.vcl", VCL.format(origin=origin.port))
    work = server.path("work")
    server.launch(["varnishd", "-F", "-j", "none", "-n", work, "-a", f"127.0.0.1:{server.port}", "-f", vcl,
                   "-s", f"malloc,{memory_bytes}", "-p", "thread_pools=1", "-p", "timeout_idle=600"])
    server.ready()
    server.launch(["varnishncsa", "-n", work, "-F", VARNISH_LOG, "-w", server.path("access.log")])
    time.sleep(0.5)
    if server.processes[1].poll() is not None:
        raise SystemExit("varnishncsa ended at once")
    return server


def start_floor(folder, program, count, object_bytes):
    server = Server("floor", folder)
    server.launch([program, str(server.port), str(count), str(object_bytes)])
    return server.ready()


YATAGARASU = """
server:
  address: 127.0.0.1
  port: {port}
  threads: 1
io: {driver}
admin:
  port: {admin}
logging:
  level: warn
  output: {folder}/error.log
  access: {folder}/access.log
buckets:
  - name: bench
    path_prefix: /f
    s3:
      bucket: f
      region: us-east-1
      endpoint: http://127.0.0.1:{origin}
      access_key: bench
      secret_key: bench-secret
cache:
  enabled: true
"""
YATAGARASU_MEMORY = """
  cache_layers: [memory]
  memory:
    max_cache_size_mb: {memory_mb}
    max_item_size_mb: 4096
    default_ttl_seconds: 86400
"""
YATAGARASU_TIERS = """
  cache_layers: [memory, disk]
  disk:
    cache_dir: {folder}/cache
    max_disk_cache_size_mb: {disk_mb}
"""


def start_yatagarasu(folder, program, driver, origin, memory_bytes=0, disk_mb=0):
    """With memory only, or (disk_mb) with both tiers at their defaults."""
    server = Server(driver, folder)
    server.admin = free_port()
    cache = YATAGARASU_TIERS if disk_mb else YATAGARASU_MEMORY
    os.makedirs(server.path("cache"), exist_ok=True)
    config = server.write("config.yaml", (YATAGARASU + cache).format(
        port=server.port, admin=server.admin, driver=driver, folder=server.folder, origin=origin.port,
        memory_mb=memory_bytes // MIB, disk_mb=disk_mb))
    server.launch([program, "-c", config, "--io", driver])
    return server.ready()


def metrics(server):
    """Yatagarasu's metrics, summed over labels by name; with a label's value also by (name, value)."""
    text = urllib.request.urlopen(f"http://127.0.0.1:{server.admin}/metrics", timeout=10).read().decode()
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            for key in {name, name.split("{")[0]}:
                found[key] = found.get(key, 0.0) + float(value)
    return found
