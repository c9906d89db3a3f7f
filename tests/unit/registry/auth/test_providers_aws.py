"""Credentials for AWS's registries, from endpoints that are ours."""

import base64
import json
import os
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from knarr.errors import AuthError
from knarr.registry.auth.aws_roles import WebIdentity
from knarr.registry.auth.aws_signature import AwsKeys, SigningScope, signed_headers
from knarr.registry.auth.cloud_service import require_https
from knarr.registry.auth.credential_helper import CredentialHelpers
from knarr.registry.auth.credentials import Credentials
from knarr.registry.auth.ecr import ECR_URL, STS_URL, EcrProvider
from support.faulty_registry import Answer, Asked, FaultyRegistry

REGISTRY = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
KEYS = AwsKeys("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
NOW_S = 1_440_938_160.0  # 2015-08-30 12:36:00 UTC, of AWS's test suite
NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"


@pytest.mark.parametrize(
    ("method", "signature"),
    [
        ("GET", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    ],
)
def test_signature_is_that_of_the_test_suite(method: str, signature: str) -> None:
    """`get-vanilla` and `post-vanilla` of AWS's Signature Version 4 test suite."""
    scope = SigningScope("us-east-1", "service", NOW_S)
    headers = signed_headers(KEYS, scope, method, "https://example.amazonaws.com/")
    assert headers == {
        "x-amz-date": "20150830T123600Z",
        "Authorization": "AWS4-HMAC-SHA256 "
        "Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders=host;x-amz-date, Signature={signature}",
    }


def _answer(expires_s: float = NOW_S + 43200) -> Answer:
    token = base64.b64encode(b"AWS:pass:word").decode()
    entry = {"authorizationToken": token, "expiresAt": expires_s, "proxyEndpoint": "https://evil.com"}
    return Answer(200, json.dumps({"authorizationData": [entry]}).encode())


def _provider(server: FaultyRegistry, **options: object) -> EcrProvider:
    url = f"http://{server.host}/{{region}}/"
    return EcrProvider(wall_clock=lambda: NOW_S, ecr_url=url, sts_url=f"{url}sts/", **options)  # type: ignore[arg-type]


def test_addresses_are_fixed_and_https() -> None:
    assert (ECR_URL, STS_URL) == ("https://api.ecr.{region}.{domain}/", "https://sts.{region}.{domain}/")
    assert EcrProvider().ecr_url == ECR_URL
    with pytest.raises(AuthError, match="not an https URL"):
        require_https("http://api.ecr.eu-west-1.amazonaws.com/")


def test_access_key_gives_a_password() -> None:
    keys = AwsKeys("AWS_ACCESS_KEY_ID", "AKID", "secret", "session")
    with FaultyRegistry(lambda asked: _answer()) as server:
        found = _provider(server, keys=keys).lookup(REGISTRY)
    assert found.credentials == Credentials("AWS_ACCESS_KEY_ID", "AWS", "pass:word")
    assert found.life_s == 43200
    (asked,) = server.asked
    assert (asked.method, asked.path, asked.body) == ("POST", "/eu-west-1/", b"{}")
    assert asked.headers["x-amz-target"] == "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"
    assert asked.headers["x-amz-security-token"] == "session"
    signature = asked.headers["authorization"]
    assert "Credential=AKID/20150830/eu-west-1/ecr/aws4_request" in signature
    assert "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target" in signature
    assert "secret" not in repr(keys) + repr(found)


def test_others_registries_ask_nobody() -> None:
    with FaultyRegistry(lambda asked: _answer()) as server:
        for registry in (f"{REGISTRY}.evil.com", "public.ecr.aws", "ghcr.io"):
            assert _provider(server, keys=KEYS).lookup(registry).credentials is None
    assert not server.asked


def _sts(asked: Asked) -> Answer:
    if not asked.path.endswith("/sts/"):
        return _answer()
    body = (
        f'<AssumeRoleWithWebIdentityResponse xmlns="{NAMESPACE}">'
        "<AssumeRoleWithWebIdentityResult><Credentials>"
        "<AccessKeyId>ASIAX</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>"
        "</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
    )
    return Answer(200, body.encode())


def test_web_identity_takes_its_role(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("ey.J.x\n")
    identity = WebIdentity("arn:aws:iam::123456789012:role/build", token)
    with FaultyRegistry(_sts) as server:
        found = _provider(server, identity=identity).lookup(REGISTRY)
    assert found.credentials == Credentials("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS", "pass:word")
    role, ecr = server.asked
    assert parse_qs(role.body.decode()) == {
        "Action": ["AssumeRoleWithWebIdentity"],
        "Version": ["2011-06-15"],
        "RoleArn": ["arn:aws:iam::123456789012:role/build"],
        "RoleSessionName": ["knarr"],
        "WebIdentityToken": ["ey.J.x"],
    }
    assert "authorization" not in role.headers
    assert ecr.headers["x-amz-security-token"] == "t"
    assert "Credential=ASIAX/" in ecr.headers["authorization"]


@pytest.mark.parametrize(
    ("body", "note"),
    [
        (
            b'<E xmlns="x"><Error><Code>AccessDenied</Code><Message>no</Message></Error></E>',
            "AccessDenied: no",
        ),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', "(403)"),
        (b"not xml", "(403)"),
    ],
)
def test_refused_role_is_a_note(tmp_path: Path, body: bytes, note: str) -> None:
    token = tmp_path / "token"
    token.write_text("ey.J.x")
    with FaultyRegistry(lambda asked: Answer(403, body)) as server:
        found = _provider(server, identity=WebIdentity("arn:role", token)).lookup(REGISTRY)
    assert found.credentials is None
    assert note in found.notes[0]
    assert "ey.J.x" not in found.notes[0]


def test_missing_token_file_is_a_note(tmp_path: Path) -> None:
    with FaultyRegistry(_sts) as server:
        found = _provider(server, identity=WebIdentity("arn:role", tmp_path / "absent")).lookup(REGISTRY)
    assert found.notes == (
        f"ecr: AWS_WEB_IDENTITY_TOKEN_FILE: can't read {tmp_path}/absent: No such file or directory",
    )
    assert not server.asked


@pytest.mark.parametrize(
    ("answer", "note"),
    [
        (
            Answer(400, b'{"__type":"com.aws#UnrecognizedClientException","message":"bad token"}'),
            "ecr: AWS gave no token for AWS_ACCESS_KEY_ID (400): UnrecognizedClientException: bad token",
        ),
        (Answer(200, b"{}"), "ecr: AWS gave an answer without a token"),
        (Answer(200, b'{"authorizationData":[{"authorizationToken":"!"}]}'), "ecr: AWS gave an answer"),
        (Answer(200, b"[1]"), "ecr: AWS gave an answer without a token"),
        (Answer(None), "ecr: POST http://127.0.0.1"),
    ],
)
def test_refused_key_is_a_note(answer: Answer, note: str) -> None:
    with FaultyRegistry(lambda asked: answer) as server:
        found = _provider(server, keys=KEYS).lookup(REGISTRY)
    assert found.credentials is None
    assert found.notes[0].startswith(note)
    assert KEYS.secret_access_key not in found.notes[0]


def test_program_is_asked_where_there_is_no_key(tmp_path: Path) -> None:
    assert EcrProvider().lookup(REGISTRY).remarks
    program = tmp_path / "docker-credential-ecr-login"
    program.write_text(
        '#!/bin/sh\nread server; echo "{\\"Username\\":\\"at $server\\",\\"Secret\\":\\"s\\"}"\n'
    )
    program.chmod(0o755)
    helpers = CredentialHelpers(str(tmp_path), {"PATH": os.defpath})
    found = EcrProvider(helpers=helpers).lookup(REGISTRY)
    assert found.credentials == Credentials("docker-credential-ecr-login", f"at {REGISTRY}", "s")
