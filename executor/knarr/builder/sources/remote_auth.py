"""The secrets that ADD itself uses, under the ids that BuildKit reads."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from knarr.errors import ContextError
from knarr.registry.transfer.download import basic_authorization

_NO_HEADER = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_TOKEN_USER = "x-access-token"


@dataclass(frozen=True, slots=True)
class GitAuth:
    """What git shows to the origin of a repository; at most one of both is given."""

    userinfo: str = field(default="", repr=False)
    """`user[:password]`, percent-encoded."""
    header: str = field(default="", repr=False)
    """The value of Authorization, sent unasked."""


@dataclass(frozen=True, slots=True)
class RemoteAuth:
    """The values of `--secret` by id; one for the host goes before one for all, a header before a token."""

    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    def of_download(self, url: str, userinfo: str) -> str:
        """The value of Authorization for a URL without credentials; empty for none.

        A secret goes before `userinfo`, what the Dockerfile has in the URL. Raises ContextError.
        """
        hosts = _hosts(url)
        header = self._first(f"HTTP_AUTH_HEADER_{host}" for host in hosts)
        if header:
            return header
        token = self._first(f"HTTP_AUTH_TOKEN_{host}" for host in hosts)
        if token:
            return f"Bearer {token}"
        return basic_authorization(userinfo) if userinfo else ""

    def of_repository(self, remote: str, userinfo: str) -> GitAuth:
        """What git is given for a repository; nothing but `userinfo` where it is not reached by http(s).

        Raises ContextError.
        """
        if not remote.startswith(("http://", "https://")):
            return GitAuth(userinfo)
        hosts = _hosts(remote)
        for names in ([f".{host}" for host in hosts], [""]):
            header = self._first(f"GIT_AUTH_HEADER{name}" for name in names)
            if header:
                return GitAuth(header=header)
            token = self._first(f"GIT_AUTH_TOKEN{name}" for name in names)
            if token:
                return GitAuth(f"{_TOKEN_USER}:{quote(token, safe='')}")
        return GitAuth(userinfo)

    def _first(self, ids: Iterable[str]) -> str:
        """The text of the first secret that was given."""
        for id_ in ids:
            data = self.secrets.get(id_)
            if data is None:
                continue
            text = data.decode("latin-1").strip()  # a file has a newline at its end
            if _NO_HEADER.search(text):
                raise ContextError(
                    f"the secret {id_} can't be sent: it has more than one line",
                    hint="it is a token, or what follows `Authorization:`, and nothing else",
                )
            return text
        return ""


def _hosts(url: str) -> tuple[str, ...]:
    """How the ids may name the host of a URL: with its port, then without."""
    parts = urlsplit(url)
    return tuple(dict.fromkeys((parts.netloc, parts.hostname or "")))
