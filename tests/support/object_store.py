"""A server that speaks S3, for tests: moto's, in a process of its own."""

import json
import re
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from support.free_port import free_port, wait_for_port

_EVERYTHING = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}
_TO_IAM = "AWS4-HMAC-SHA256 Credential=x/20200101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=x"


@contextmanager
def object_store(buckets: Mapping[str, Mapping[str, bytes]]) -> Iterator[str]:
    """Serve objects by bucket and key to whoever asks; gives the server's URL."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "--host=127.0.0.1", f"--port={port}"]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for_port(port)
            for bucket, objects in buckets.items():
                _put(f"{address}/{bucket}", b"")
                for key, content in objects.items():
                    _put(f"{address}/{bucket}/{key}", content)
            yield address
        finally:
            process.terminate()


def lock(address: str) -> Mapping[str, str]:
    """Have the server refuse whoever lacks a user's key from now on; gives that key by AWS's variables."""
    user = {"UserName": "sailor"}
    _ask_iam(address, {"Action": "CreateUser", **user})
    policy = {"PolicyName": "all", "PolicyDocument": json.dumps(_EVERYTHING)}
    _ask_iam(address, {"Action": "PutUserPolicy", **user, **policy})
    answer = _ask_iam(address, {"Action": "CreateAccessKey", **user})
    _send("POST", f"{address}/moto-api/reset-auth", b"0", {"Content-Type": "text/plain"})
    found = {
        name: re.search(f"<{tag}>(.*?)</{tag}>", answer)
        for name, tag in (("AWS_ACCESS_KEY_ID", "AccessKeyId"), ("AWS_SECRET_ACCESS_KEY", "SecretAccessKey"))
    }
    return {name: match[1] for name, match in found.items() if match is not None}


def _ask_iam(address: str, fields: Mapping[str, str]) -> str:
    body = urllib.parse.urlencode({**fields, "Version": "2010-05-08"}).encode()
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    return _send("POST", f"{address}/", body, {**form, "Authorization": _TO_IAM}).decode()


def _put(url: str, content: bytes) -> None:
    _send("PUT", url, content, {"Content-Type": "application/octet-stream", "x-amz-acl": "public-read"})


def _send(method: str, url: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    request = urllib.request.Request(url, data=body, method=method, headers=dict(headers))
    with urllib.request.urlopen(request, timeout=20) as response:
        answer: bytes = response.read()
    return answer
