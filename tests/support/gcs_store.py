"""A server that speaks Google Cloud Storage, for tests: an emulator behind a gate that asks for a token.

The gate issues tokens as Google does: for an assertion that the service account's key has signed (RFC 7523).
"""

import base64
import http.client
import json
import secrets
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from support.free_port import free_port, wait_for_port


def new_key() -> rsa.RSAPrivateKey:
    """A key for a service account."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass(frozen=True, slots=True)
class GcsStore:
    """Where the server is, with the key that it knows."""

    endpoint: str
    key: rsa.RSAPrivateKey

    def service_account(self, key: rsa.RSAPrivateKey | None = None) -> str:
        """The file that Google's console gives for a key; with another key, one that was revoked."""
        pem = (key or self.key).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        account = {
            "type": "service_account",
            "project_id": "fleet",
            "private_key_id": "0123456789",
            "private_key": pem.decode(),
            "client_email": "sailor@fleet.example",
            "token_uri": f"{self.endpoint}/token",
        }
        return json.dumps(account)


@contextmanager
def gcs_store(bucket: str, content: Path) -> Iterator[GcsStore]:
    """Serve a directory's files as the objects of a bucket, to who has a token."""
    port, key = free_port(), new_key()
    command = [sys.executable, "-m", "gcp_storage_emulator", "start", "--in-memory", f"--port={port}"]
    with subprocess.Popen(
        [*command, "--host=127.0.0.1", f"--default-bucket={bucket}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        gate = _Gate(port, key.public_key())
        thread = Thread(target=gate.serve_forever)
        thread.start()
        try:
            wait_for_port(port)
            store = GcsStore(f"http://{gate.name}", key)
            for path in sorted(content.rglob("*")):
                if path.is_file():
                    _put(port, bucket, path.relative_to(content).as_posix(), path.read_bytes(), gate.name)
            yield store
        finally:
            gate.shutdown()
            thread.join()
            gate.server_close()
            process.terminate()


def _put(port: int, bucket: str, key: str, content: bytes, name: str) -> None:
    """Store an object; links in what is known about it lead to the server of that name."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    query = urllib.parse.urlencode({"uploadType": "media", "name": key})
    headers = {"Host": name, "Content-Type": "application/octet-stream"}
    connection.request("POST", f"/upload/storage/v1/b/{bucket}/o?{query}", content, headers)
    status = connection.getresponse().status
    connection.close()
    assert status == 200, f"{key}: {status}"


class _Gate(ThreadingHTTPServer):
    """Lets those through who have its token."""

    def __init__(self, port: int, key: rsa.RSAPublicKey) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.name = f"127.0.0.1:{self.server_address[1]}"
        self.port = port
        self.key = key
        self.token = secrets.token_hex(16)

    def is_signed(self, assertion: str) -> bool:
        """Whether the account's key has signed the assertion, a JWT of the algorithm RS256."""
        signed, _, signature = assertion.rpartition(".")
        raw = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
        try:
            self.key.verify(raw, signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True


class _Handler(BaseHTTPRequestHandler):
    server: _Gate

    def do_POST(self) -> None:
        """Give a token."""
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        if self.server.is_signed(form["assertion"][0]):
            token = {"access_token": self.server.token, "token_type": "Bearer", "expires_in": 3600}
            self._answer(200, token)
        else:
            error = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
            self._answer(400, error)

    def do_GET(self) -> None:
        """Pass the request on."""
        if self.headers.get("Authorization") != f"Bearer {self.server.token}":
            self._answer(401, {"error": {"code": 401, "message": "Invalid Credentials"}})
            return
        onward = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        onward.request("GET", self.path, headers={"Host": self.headers["Host"]})
        response = onward.getresponse()
        content = response.read()
        onward.close()
        self._send(response.status, content, response.getheader("Content-Type", ""))

    def _answer(self, status: int, document: Any) -> None:
        self._send(status, json.dumps(document).encode(), "application/json")

    def _send(self, status: int, content: bytes, media_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass
