"""Debian's docker-registry, started for tests."""

import ctypes
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.free_port import free_port

_START_S = 20.0


@dataclass(frozen=True)
class Registry:
    """A running registry; `root` is the directory with its data."""

    host: str
    root: Path
    process: "subprocess.Popen[bytes]"
    ca_file: Path | None = None

    @classmethod
    def start(cls, tmp: Path, *, auth: tuple[str, str] | None = None, tls: bool = False) -> "Registry":
        """Start one on a free port of 127.0.0.1, with `auth` for this user and password only."""
        program = shutil.which("docker-registry")
        assert program is not None, "needs Debian's docker-registry"
        root = Path(tempfile.mkdtemp(prefix="registry-", dir=tmp))
        host = f"127.0.0.1:{free_port()}"
        config: dict[str, Any] = {
            "version": 0.1,
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": str(root / "data")}, "delete": {"enabled": True}},
            "http": {"addr": host, "secret": "for tests"},
        }
        if auth is not None:
            (root / "htpasswd").write_text(f"{auth[0]}:{_bcrypt(auth[1])}\n")
            config["auth"] = {"htpasswd": {"realm": "tests", "path": str(root / "htpasswd")}}
        ca_file = None
        if tls:
            ca_file, certificate, key = make_certificates(root)
            config["http"]["tls"] = {"certificate": str(certificate), "key": str(key)}
        # JSON is YAML.
        (root / "config.yml").write_text(json.dumps(config))
        with (root / "log").open("wb") as log:
            process = subprocess.Popen(
                [program, "serve", str(root / "config.yml")],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )
        registry = cls(host, root, process, ca_file)
        registry._wait_until_up()
        return registry

    def stop(self) -> None:
        """End it; its data stays."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def blob_path(self, digest: str) -> Path:
        """Where the registry keeps a blob's bytes."""
        algorithm, _, encoded = digest.partition(":")
        return self.root / f"data/docker/registry/v2/blobs/{algorithm}/{encoded[:2]}/{encoded}/data"

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> bytes:
        """GET something; a registry with authentication wants its header."""
        context = ssl.create_default_context(cafile=self.ca_file) if self.ca_file else None
        url = f"{'https' if context else 'http'}://{self.host}/v2/{path}"
        request = urllib.request.Request(url, headers=dict(headers or {}))
        with urllib.request.urlopen(request, timeout=10, context=context) as response:
            data: bytes = response.read()
        return data

    def _wait_until_up(self) -> None:
        address, _, port = self.host.partition(":")
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, (self.root / "log").read_text()
            with socket.socket() as probe:
                if probe.connect_ex((address, int(port))) == 0:
                    return
            time.sleep(0.05)
        self.stop()
        raise AssertionError((self.root / "log").read_text())


def server_context(certificate: Path, key: Path, *, clients: Path | None = None) -> ssl.SSLContext:
    """TLS as a server speaks it; with `clients` to those alone that show a certificate of this authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if clients is not None:
        context.load_verify_locations(clients)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def make_certificates(directory: Path) -> tuple[Path, Path, Path]:
    """A CA of our own, with a certificate and its key for 127.0.0.1, localhost, registry.test."""
    ca_key, ca = directory / "ca.key", directory / "ca.pem"
    key, request, certificate = directory / "server.key", directory / "server.csr", directory / "server.pem"
    extensions = directory / "extensions"
    extensions.write_text(
        "subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:registry.test\nbasicConstraints=CA:FALSE\n"
    )
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    _openssl("req", "-x509", *curve, "-keyout", ca_key, "-out", ca, "-subj", "/CN=Knarr tests", "-days", "2")
    _openssl("req", *curve, "-keyout", key, "-out", request, "-subj", "/CN=127.0.0.1")
    signing: list[str | Path] = ["-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-extfile", extensions]
    _openssl("x509", "-req", "-in", request, "-out", certificate, "-days", "2", *signing)
    return ca, certificate, key


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *(os.fspath(item) for item in arguments)], check=True, capture_output=True)


def _bcrypt(password: str) -> str:
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    hashed: bytes | None = library.crypt(password.encode(), b"$2b$04$abcdefghijklmnopqrstuu")
    assert hashed is not None
    return hashed.decode()
