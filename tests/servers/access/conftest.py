"""A server that speaks TLS, with certificates made for the run."""

import contextlib
import os
import shutil
import socketserver
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from twotier.errors import RemoteUnavailable
from twotier.remote.deploy.embedded import EmbeddedServer, _free_port


@dataclass(frozen=True)
class Certificates:
    """Files in PEM: of an authority, of a server (127.0.0.1) and a client that it vouches for, of another authority."""

    folder: Path

    def __getattr__(self, name):
        """Return the path of a file, by its name with an underscore for the dot."""
        return str(self.folder / name.replace("_", ".", 1))


def openssl(folder, *words):
    """Run openssl in `folder`."""
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=30)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """Certificates of an authority of our own."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make certificates with")
    folder = tmp_path_factory.mktemp("certificates")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    for authority in ("ca", "stranger"):
        extensions = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")  # else a strict verification refuses it
        openssl(
            folder, "req", "-x509", *key, *extensions, "-subj", f"/CN={authority}",
            "-keyout", f"{authority}.key", "-out", f"{authority}.crt",
        )  # fmt: skip
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\nauthorityKeyIdentifier=keyid\n")
    for owner in ("server", "client"):
        openssl(folder, "req", *key, "-subj", f"/CN={owner}", "-keyout", f"{owner}.key", "-out", f"{owner}.csr")
        openssl(
            folder, "x509", "-req", "-days", "2", "-in", f"{owner}.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
            "-CAcreateserial", "-extfile", "names", "-out", f"{owner}.crt",
        )  # fmt: skip
    return Certificates(folder)


@pytest.fixture
def tls_server(certificates):
    """Makes servers with a TLS port (`server.tls_port`); a test without one that can is skipped."""
    servers = []

    # The bundled Valkey is built without TLS; Debian's redis-server has it, on which `make test-redis-7` runs this.
    binary = os.environ.get("TWOTIER_TEST_TLS_SERVER") or shutil.which("redis-server") or shutil.which("valkey-server")
    if binary is None:
        pytest.skip("there is no server with TLS: install redis-server, or name one in TWOTIER_TEST_TLS_SERVER")

    def make(*, clients_certified=False):
        port = _free_port()
        server = EmbeddedServer(
            tcp=True,
            binary=binary,
            settings={
                "tls-port": str(port),
                "tls-cert-file": certificates.server_crt,
                "tls-key-file": certificates.server_key,
                "tls-ca-cert-file": certificates.ca_crt,
                "tls-auth-clients": "yes" if clients_certified else "no",
            },
        )
        servers.append(server)
        server.tls_port = port
        try:
            return server.start()
        except RemoteUnavailable as error:
            if "tls" in str(error).lower() or "Bad directive" in str(error):
                pytest.skip(f"{binary} is built without TLS")
            raise

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def fake_answers():
    """Starts servers on a port of 127.0.0.1, which it returns, that answer whatever comes with one text."""
    with contextlib.ExitStack() as stack:

        def make(text):
            class Answer(socketserver.BaseRequestHandler):
                def handle(self):
                    while self.request.recv(65536):
                        self.request.sendall(text.encode())

            server = stack.enter_context(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer))
            server.daemon_threads = True
            stack.callback(server.shutdown)
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
            return server.server_address[1]

        yield make
