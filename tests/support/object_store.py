"""A server that speaks S3, for tests: moto's, in a process of its own."""

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

_START_TIMEOUT_S = 60.0


@contextmanager
def object_store(buckets: Mapping[str, Mapping[str, bytes]]) -> Iterator[str]:
    """Serve objects by bucket and key to whoever asks; gives the server's URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "--host=127.0.0.1", f"--port={port}"]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            address = f"http://127.0.0.1:{port}"
            _wait(port)
            for bucket, objects in buckets.items():
                _put(f"{address}/{bucket}", b"")
                for key, content in objects.items():
                    _put(f"{address}/{bucket}/{key}", content)
            yield address
        finally:
            process.terminate()


def _wait(port: int) -> None:
    end = time.monotonic() + _START_TIMEOUT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def _put(url: str, content: bytes) -> None:
    request = urllib.request.Request(
        url,
        data=content,
        method="PUT",
        headers={"Content-Type": "application/octet-stream", "x-amz-acl": "public-read"},
    )
    with urllib.request.urlopen(request, timeout=20):
        pass
