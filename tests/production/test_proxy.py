"The reverse proxy of production: nginx with our file, TLS with a certificate of its own, and services that echo."

import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from base64 import b64encode
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from images import ROOT
from lacking import skip_without
from processes import end_process, find_free_port, is_open

SERVICES = {"mlflow": 5000, "api": 5001, "desk": 5002}


class Echo(BaseHTTPRequestHandler):
    "Answers with what it was asked."

    def do_GET(self) -> None:
        known = {"port": self.server.server_address[1], "headers": dict(self.headers), "path": self.path}
        body = json.dumps(known).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        "Nothing."


def make_certificate(folder: Path) -> None:
    "A self-signed one for the three names."
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    names = x509.SubjectAlternativeName([x509.DNSName(f"{service}.bank.example") for service in SERVICES])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(1))
    signed = made.add_extension(names, critical=True).sign(key, hashes.SHA256())
    forms = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "certificate").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / "certificate_key").write_bytes(key.private_bytes(*forms))


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    "A started proxy: the folder of its certificate, its port, and the ports of its services."
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None:
        skip_without("there is no nginx on this machine: make servers installs Debian's", by_root=True)
    folder, port = tmp_path_factory.mktemp("proxy"), find_free_port()
    make_certificate(folder)
    (folder / "mlflow_users").write_text("auditor:{PLAIN}for-this-test-only\n")
    services = {name: ThreadingHTTPServer(("127.0.0.1", 0), Echo) for name in SERVICES}
    text = (ROOT / "containers" / "nginx.conf").read_text().replace("/tmp/", f"{folder}/")
    text = text.replace("/run/secrets", str(folder)).replace("listen 8443", f"listen 127.0.0.1:{port}")
    for name, service in services.items():
        text = text.replace(f"127.0.0.1:{SERVICES[name]}", f"127.0.0.1:{service.server_address[1]}")
        threading.Thread(target=service.serve_forever, daemon=True).start()
    (folder / "nginx.conf").write_text(text)
    as_root = "user root; " if os.getuid() == 0 else ""
    words = [nginx, "-e", "stderr", "-c", str(folder / "nginx.conf"), "-g", f"{as_root}daemon off;"]
    checked = subprocess.run([*words, "-t"], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stderr
    log = (folder / "nginx.log").open("wb")
    process = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        end = time.monotonic() + 30
        while not is_open(port):
            assert process.poll() is None and time.monotonic() < end, "nginx did not start"
            time.sleep(0.05)
        yield folder, port, {name: service.server_address[1] for name, service in services.items()}
    finally:
        end_process(process, 10)
        for service in services.values():
            service.shutdown()
            service.server_close()
        log.close()


class Secure(http.client.HTTPSConnection):
    "A connection to the proxy by one of its names, which no name server knows."

    def connect(self) -> None:
        plain = socket.create_connection(("127.0.0.1", self.port), 10)
        self.sock = self._context.wrap_socket(plain, server_hostname=self.host)


def ask(proxy, name: str, path: str = "/a/path", **headers: str) -> tuple[int, dict[str, str], bytes]:
    "What the proxy answers under this name, with its certificate checked."
    folder, port, _ = proxy
    context = ssl.create_default_context(cafile=str(folder / "certificate"))
    with closing(Secure(f"{name}.bank.example", port, context=context, timeout=10)) as connection:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, {key.lower(): value for key, value in answer.headers.items()}, answer.read()


@pytest.mark.parametrize("name", ["api", "desk"])
def test_a_name_leads_to_its_service_with_its_key_and_host(proxy, name):
    status, headers, body = ask(proxy, name, Authorization="Bearer of-the-caller")
    known = json.loads(body)
    assert (status, known["port"], known["path"]) == (200, proxy[2][name], "/a/path")
    assert known["headers"]["Host"] == f"{name}.bank.example:{proxy[1]}"
    assert known["headers"]["Authorization"] == "Bearer of-the-caller"
    assert "max-age" in headers["strict-transport-security"] and headers["server"] == "nginx"


def test_the_desk_gets_its_websockets(proxy):
    _, _, body = ask(proxy, "desk", Upgrade="websocket", Connection="Upgrade")
    known = json.loads(body)["headers"]
    assert (known["Upgrade"], known["Connection"]) == ("websocket", "upgrade")


def test_a_token_in_an_address_is_in_no_log(proxy):
    address = "/page?token=for-this-test-only"
    assert (
        json.loads(ask(proxy, "desk", address, Referer=f"https://desk.bank.example{address}")[2])["path"]
        == address
    )
    end = time.monotonic() + 10
    while "/page" not in (log := (proxy[0] / "nginx.log").read_text()) and time.monotonic() < end:
        time.sleep(0.05)
    assert '"GET /page HTTP/1.1" 200' in log and "for-this-test-only" not in log


def test_mlflow_is_shown_to_its_users_only(proxy):
    def basic(password: str) -> str:
        return "Basic " + b64encode(f"auditor:{password}".encode()).decode()

    assert ask(proxy, "mlflow")[0] == 401
    assert ask(proxy, "mlflow", Authorization=basic("a guess"))[0] == 401
    status, _, body = ask(proxy, "mlflow", Authorization=basic("for-this-test-only"))
    assert (status, json.loads(body)["port"]) == (200, proxy[2]["mlflow"])


def test_another_name_is_not_served(proxy):
    assert ask(proxy, "api", Host="elsewhere.example")[0] == 421


def test_nothing_is_answered_without_tls(proxy):
    with closing(http.client.HTTPConnection("127.0.0.1", proxy[1], timeout=10)) as plain:
        plain.request("GET", "/", headers={"Host": "api.bank.example"})
        assert plain.getresponse().status == 400
