"""Which secret a remote source gets."""

import pytest

from knarr.builder.sources.remote_auth import GitAuth, RemoteAuth
from knarr.errors import ContextError

SECRETS = {
    "HTTP_AUTH_HEADER_header.test": b"Custom x\n",
    "HTTP_AUTH_TOKEN_header.test": b"never",
    "HTTP_AUTH_TOKEN_token.test": b" t0 \r\n",
    "HTTP_AUTH_TOKEN_token.test:8080": b"port",
    "GIT_AUTH_TOKEN.token.test": b"a/b:c",
    "GIT_AUTH_HEADER.header.test": b"Bearer x",
    "GIT_AUTH_TOKEN.header.test": b"never",
    "GIT_AUTH_TOKEN": b"all",
    "OTHER": b"never",
}


@pytest.mark.parametrize(
    ("url", "userinfo", "authorization"),
    [
        ("https://header.test/f", "", "Custom x"),
        ("https://header.test/f", "me:pw", "Custom x"),
        ("https://token.test/f", "", "Bearer t0"),
        ("https://token.test:8080/f", "", "Bearer port"),
        ("https://TOKEN.test:9090/f", "", "Bearer t0"),
        ("https://other.test/f", "", ""),
        ("https://other.test/f", "me:p%40", "Basic bWU6cEA="),
    ],
)
def test_downloads(url: str, userinfo: str, authorization: str) -> None:
    assert RemoteAuth(SECRETS).of_download(url, userinfo) == authorization


@pytest.mark.parametrize(
    ("remote", "userinfo", "auth"),
    [
        ("https://header.test/r.git", "", GitAuth(header="Bearer x")),
        ("https://header.test/r.git", "me:pw", GitAuth(header="Bearer x")),
        ("https://token.test/r.git", "", GitAuth("x-access-token:a%2Fb%3Ac")),
        ("http://other.test/r.git", "me:pw", GitAuth("x-access-token:all")),
        ("ssh://git@token.test/r.git", "", GitAuth()),
        ("git@token.test:r.git", "", GitAuth()),
        ("git://token.test/r.git", "", GitAuth()),
    ],
)
def test_repositories(remote: str, userinfo: str, auth: GitAuth) -> None:
    assert RemoteAuth(SECRETS).of_repository(remote, userinfo) == auth


def test_without_secrets_the_url_counts() -> None:
    assert RemoteAuth().of_repository("https://other.test/r.git", "me:pw") == GitAuth("me:pw")


@pytest.mark.parametrize("value", [b"a\nb", b"a\x00", b"a\rb"])
def test_what_is_no_header_is_refused(value: bytes) -> None:
    auth = RemoteAuth({"GIT_AUTH_HEADER": value, "HTTP_AUTH_TOKEN_h": value})
    for ask in (auth.of_download, auth.of_repository):
        with pytest.raises(ContextError, match="more than one line"):
            ask("https://h/r", "")


def test_nothing_is_shown_by_accident() -> None:
    assert "never" not in repr(RemoteAuth(SECRETS))
    assert "pw" not in repr(GitAuth("me:pw", "pw"))
