"""AWS roles that a web identity may take: its token for an access key (STS, "AssumeRoleWithWebIdentity")."""

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from knarr.errors import AuthError
from knarr.registry.auth.aws_signature import AwsKeys
from knarr.registry.auth.cloud_service import CloudService, require_https
from knarr.registry.http.locations import shown
from knarr.registry.http.message import Reply

_FORM = "application/x-www-form-urlencoded"
_MAX_TOKEN_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class WebIdentity:
    """A role, with the file whose token proves who asks for it; the file is read anew each time."""

    role_arn: str
    token_file: Path
    session_name: str = "knarr"


def assume_role(identity: WebIdentity, service: CloudService, url: str) -> AwsKeys:
    """An access key of the role, from the token service at a URL. Raises RegistryError, CorruptError."""
    form = {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": identity.role_arn,
        "RoleSessionName": identity.session_name,
        "WebIdentityToken": _read_token(identity.token_file),
    }
    reply = service.ask(
        "POST", require_https(url), headers={"Content-Type": _FORM}, body=urlencode(form).encode()
    )
    values = _texts(reply)
    if reply.status != 200:
        said = ": ".join(filter(None, (values.get("Code"), values.get("Message"))))
        raise AuthError(f"STS refused the role {shown(identity.role_arn)} ({reply.status}): {shown(said)}")
    key, secret = values.get("AccessKeyId", ""), values.get("SecretAccessKey", "")
    if not key or not secret:
        raise AuthError("STS gave no access key")
    return AwsKeys("AWS_WEB_IDENTITY_TOKEN_FILE", key, secret, values.get("SessionToken", ""))


def _read_token(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_TOKEN_BYTES + 1)
        text = data.decode("ascii").strip()
    except OSError as error:
        raise AuthError(f"AWS_WEB_IDENTITY_TOKEN_FILE: can't read {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        text = ""
    if not text or len(data) > _MAX_TOKEN_BYTES:
        raise AuthError(f"AWS_WEB_IDENTITY_TOKEN_FILE: {path} holds no token")
    return text


def _texts(reply: Reply) -> dict[str, str]:
    """The texts of a document's leaves, by their names without the namespace."""
    if b"<!" in reply.body:  # neither a document type nor entities are in an answer of STS
        return {}
    try:
        root = ElementTree.fromstring(reply.body)
    except ElementTree.ParseError:
        return {}
    return {each.tag.rpartition("}")[2]: (each.text or "").strip() for each in root.iter() if not len(each)}
