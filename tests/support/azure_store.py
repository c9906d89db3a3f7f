"""A server that speaks Azure Blob Storage, for tests: Azurite, which holds requests to their signatures."""

import base64
import hashlib
import hmac
import secrets
import subprocess
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from support.ci_tools import NODE, npm_program
from support.free_port import free_port, wait_for_port
from support.rclone import upload

_AZURITE = "azurite@3.37.0"
_VERSION = "2020-12-06"


def _new_key() -> str:
    return base64.b64encode(secrets.token_bytes(64)).decode()


@dataclass(frozen=True, slots=True)
class AzureStore:
    """One storage account at a server of its own; `endpoint` is the account's URL."""

    endpoint: str
    account: str = "ships"
    key: str = field(default_factory=_new_key)

    def sas_token(self, key: str = "") -> str:
        """A token to read and list, signed by the account's key or another (Azure, "account SAS")."""
        expiry = "2099-01-01T00:00:00Z"
        lines = [self.account, "rl", "b", "sco", "", expiry, "", "", _VERSION, "", ""]
        digest = hmac.digest(base64.b64decode(key or self.key), "\n".join(lines).encode(), hashlib.sha256)
        values = {"sv": _VERSION, "ss": "b", "srt": "sco", "sp": "rl", "se": expiry}
        return urllib.parse.urlencode({**values, "sig": base64.b64encode(digest).decode()})

    def connection_string(self) -> str:
        """As the portal shows it."""
        return f"AccountName={self.account};AccountKey={self.key};BlobEndpoint={self.endpoint};"


@contextmanager
def azure_store(container: str, content: Path, scratch: Path) -> Iterator[AzureStore]:
    """Serve a directory's files as the blobs of a container, to who has the account's key."""
    port = free_port()
    store = AzureStore(f"http://127.0.0.1:{port}/ships")
    command = [str(NODE), str(npm_program(_AZURITE, "azurite-blob")), f"--blobPort={port}"]
    # New clients send newer versions of the protocol than it knows.
    options = ["--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck", "--silent"]
    with subprocess.Popen(
        [*command, *options],
        cwd=scratch,
        env={"PATH": "/usr/bin:/bin", "AZURITE_ACCOUNTS": f"{store.account}:{store.key}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            wait_for_port(port)
            given = {"ACCOUNT": store.account, "KEY": store.key, "ENDPOINT": store.endpoint}
            options_of = {f"RCLONE_AZUREBLOB_{name}": value for name, value in given.items()}
            upload(content, f":azureblob:{container}", options_of)
            yield store
        finally:
            process.terminate()
