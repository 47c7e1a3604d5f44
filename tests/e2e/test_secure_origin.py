"""Origins over TLS, with certificates of our own making, and over IPv6; proxies of the environment; origins that move, go and come back."""
import contextlib
import itertools
import os
import pathlib
import re
import socket
import ssl
import subprocess

import pytest

import servers
from scripted import Scripted
from wire import Wire, ask, wait_until


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    """ca.pem signs good.pem (localhost), other-ca.pem signs nothing that is served."""
    folder = tmp_path_factory.mktemp("pki")
    for name in ("ca", "other-ca"):
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem"))
    for name, names in (("good", "DNS:localhost"), ("elsewhere", "DNS:elsewhere.example")):
        (folder / f"{name}.ext").write_text(f"subjectAltName={names}\n")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.csr"))
        openssl("x509", "-req", "-days", "2", "-in", str(folder / f"{name}.csr"), "-CA", str(folder / "ca.pem"), "-CAkey", str(folder / "ca.key"), "-CAcreateserial",
                "-extfile", str(folder / f"{name}.ext"), "-out", str(folder / f"{name}.pem"))
    return folder


def over_tls(pki, certificate):
    server = Scripted()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / f"{certificate}.pem", pki / f"{certificate}.key")
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.endpoint = f"https://localhost:{server.server_port}"
    server.put("k", b"over tls" * 100_000)
    return server


def test_https_with_a_ca_file(pki, yatagarasu):
    with over_tls(pki, "good") as origin:
        ours = yatagarasu([servers.s3_bucket("s", origin, ca_file=str(pki / "ca.pem"))])
        for cache in ("MISS", "HIT"):
            answer = ask(ours.port, "/s/k")
            assert (answer.status, answer.body, answer.cache) == (200, b"over tls" * 100_000, cache)
        assert origin.asked("k")[0]["Host"] == f"localhost:{origin.server_port}"


@pytest.mark.parametrize("certificate,authority", [("good", "other-ca"), ("good", None), ("elsewhere", "ca")],
                         ids=["untrusted", "not the system's", "of another name"])
def test_certificates_that_are_not_right(pki, yatagarasu, certificate, authority):
    with over_tls(pki, certificate) as origin:
        more = {"ca_file": str(pki / f"{authority}.pem")} if authority else {}
        ours = yatagarasu([servers.s3_bucket("s", origin, retry={"max_attempts": 1}, **more)])
        assert ask(ours.port, "/s/k").status == 502
        assert origin.seen == [], "no request, hence no signature, went to who can't prove its name"
        assert wait_until(lambda: re.search("certificate|tls|ssl", ours.error_log().lower())), ours.error_log()[-1000:]


def test_plain_http_at_a_tls_endpoint(yatagarasu):
    with Scripted() as origin:
        origin.put("k", b"x")
        ours = yatagarasu([servers.s3_bucket("s", origin, endpoint=f"https://127.0.0.1:{origin.server_port}", retry={"max_attempts": 1})])
        assert ask(ours.port, "/s/k").status == 502
        assert origin.seen == []


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
        return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
def test_ipv6_on_both_sides(yatagarasu):
    with Scripted("::1") as origin:
        origin.put("k", b"six")
        ours = yatagarasu([servers.s3_bucket("s", origin)])
        assert ask(ours.port, "/s/k").body == b"six"
        assert origin.asked("k")[0]["Host"] == f"[::1]:{origin.server_port}"
        six = servers.Yatagarasu(ours.folder, [servers.s3_bucket("s", origin)], server={"address": "::1"})
        try:
            six.start(wait=False)
            servers.wait_for_port(six.port, six.process, host="::1")
            with Wire(six.port, host="::1") as wire:
                assert wire.request("/s/k").response().body == b"six"
        finally:
            assert six.stop() == []
        assert '"client":"[::1]:' in (six.folder / "access.log").read_text()


def test_proxies_of_the_environment_mean_nothing(yatagarasu):
    with Scripted() as origin:
        origin.put("k", b"direct")
        nowhere = "http://127.0.0.1:1"
        ours = yatagarasu([servers.s3_bucket("s", origin)], env={"http_proxy": nowhere, "HTTP_PROXY": nowhere, "https_proxy": nowhere, "ALL_PROXY": nowhere, "all_proxy": nowhere})
        assert ask(ours.port, "/s/k").body == b"direct"


def test_an_origin_that_goes_and_comes_back(yatagarasu, tmp_path):
    with servers.Faulty() as origin:
        ours = yatagarasu([servers.s3_bucket("s", origin, retry={"max_attempts": 2, "initial_backoff_ms": 10})])
        assert ask(ours.port, "/s/ok/cached").status == 200
        origin.stop()
        assert ask(ours.port, "/s/ok/other").status == 502
        assert ask(ours.port, "/s/ok/cached").cache == "HIT", "a hit needs no origin"
        ready = ours.admin("/ready")
        assert ready[0] == 200 and b"degraded" in ready[2]
        port = origin.port
        origin.start(port)
        assert wait_until(lambda: ask(ours.port, "/s/ok/other").status == 200)


def test_an_origin_that_is_nowhere(yatagarasu):
    with Scripted() as origin:
        for endpoint in ("http://no-such-host.invalid", f"http://127.0.0.1:{servers.free_port()}"):
            ours = yatagarasu([servers.s3_bucket("s", origin, endpoint=endpoint, retry={"max_attempts": 2, "initial_backoff_ms": 10})],
                              env={"RES_OPTIONS": "timeout:1 attempts:1"})  # a lost datagram is no time-out of ours
            assert ask(ours.port, "/s/k").status == 502
            ours.error_log(endpoint)


def test_an_origin_that_does_not_take_connections(yatagarasu):
    """A backlog that is full lets every connect run into its time-out. Clients must not be the ones who pay: libcurl closes such a
    socket without a word, and its number goes to the next client."""
    with Scripted() as origin, socket.socket() as listener, contextlib.ExitStack() as crowd:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            client = crowd.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        origin.put("k", b"here")
        full = servers.s3_bucket("full", origin, endpoint=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=1, retry={"max_attempts": 2})
        ours = yatagarasu([full, servers.s3_bucket("s", origin)], server={"threads": 1, "request_timeout": 1})
        assert wait_until(lambda: ask(ours.port, "/s/k").body == b"here")
        wires = [crowd.enter_context(Wire(ours.port)).request(f"/full/{i}") for i in range(4)]
        assert [wire.response().status for wire in wires] == [504] * 4
        assert wait_until(lambda: ours.metrics()['yatagarasu_origin_requests_in_flight{bucket="full"}'] == 0, seconds=60)
        wires = [crowd.enter_context(Wire(ours.port)).request("/s/k") for _ in range(12)]
        assert [wire.response().body for wire in wires] == [b"here"] * 12
        assert ours.metrics()["yatagarasu_accept_errors_total"] == 0
        assert ours.terminate() == 0
        assert "were left" not in ours.error_log()


@pytest.mark.skipif("YATA_LONG" not in os.environ, reason="waits for 30 s: only in ./test --long")
def test_a_name_is_looked_up_again(yatagarasu, tmp_path):
    """An origin that moves to another address is followed when its name expires, without a restart."""
    library, place = tmp_path / "moving_name.so", tmp_path / "address"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, pathlib.Path(__file__).parent / "moving_name.c", "-ldl"], check=True)
    place.write_text("127.0.0.1")
    with Scripted() as here, Scripted("127.0.0.2", here.server_port) as there:
        for origin in (here, there):
            origin.closing = True
            for i in range(2000):
                origin.put(f"k{i}", b"here" if origin is here else b"there")
        bucket = servers.s3_bucket("s", here, endpoint=f"http://moving.test:{here.server_port}")
        ours = yatagarasu([bucket], server={"threads": 1}, env={"LD_PRELOAD": str(library), "MOVING_NAME": str(place)})
        keys = itertools.count()
        assert ask(ours.port, f"/s/k{next(keys)}").body == b"here"
        place.write_text("127.0.0.2")
        assert wait_until(lambda: ask(ours.port, f"/s/k{next(keys)}").body == b"there", seconds=90)
        assert next(keys) > 2, "until then it was remembered"
