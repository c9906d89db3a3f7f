"""Sources of ADD that are not in the build context, told from paths by their text.

What counts as a git repository, what as a download, is BuildKit's rule (dfgitutil, gitutil). Credentials in a
URL are kept apart from it, out of reach of messages.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit, urlunsplit

from knarr.errors import DockerfileError

UNNAMED = "__unnamed__"
"""The file name of a download whose URL has no path."""

_GIT_SCHEMES = frozenset({"http", "https", "ssh", "git"})
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_BAD_REF = re.compile(r"^-|[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{")
_BAD_REMOTE = re.compile(r"^-|(?:://|@|:)-|[\x00-\x20\x7f]")
_SCHEME = re.compile(r"[a-zA-Z0-9]+(?=://)")
_SCP = re.compile(
    r"(?P<user>[a-zA-Z0-9_-]+)@(?P<host>[a-zA-Z0-9.-]+):(?P<path>.*?)(?:\?(?P<query>.*?))?(?:#(?P<fragment>.*))?",
    re.DOTALL,
)
_USERINFO = re.compile(r"(?P<scheme>[a-zA-Z0-9+.-]+)://(?P<userinfo>[^/?#\s@\"']*(?:@[^/?#\s@\"']*)*)@")
_BOOLEANS = dict.fromkeys("1 t T TRUE true True".split(), True) | dict.fromkeys(
    "0 f F FALSE false False".split(), False
)
_SWITCHES = frozenset({"keep-git-dir", "submodules", "fetch-by-commit"})
_TEXTS = frozenset({"ref", "tag", "branch", "subdir", "checksum", "commit", "mtime"})


@dataclass(frozen=True, slots=True)
class HttpSource:
    """A file to download: `url` has neither user nor fragment, `name` is what the file is called."""

    url: str
    name: str
    userinfo: str = field(default="", repr=False)
    """`user[:password]` as the URL has it, percent-encoded."""
    checksum: str | None = None

    @property
    def known_content(self) -> str:
        """What identifies its content ahead of the download; empty where nothing does."""
        return self.checksum or ""


@dataclass(frozen=True, slots=True)
class GitSource:
    """A git repository: `remote` has no password, query or fragment; `ref` empty is its default branch."""

    remote: str
    ref: str = ""
    subdir: str = ""
    checksum: str = ""
    """What the commit's hash must begin with."""
    keep_git_dir: bool | None = None
    submodules: bool = True
    mtime: Literal["checkout", "commit"] = "checkout"
    """Whose time files get: that of the build, or of the commit."""
    fetch_by_commit: bool = False
    userinfo: str = field(default="", repr=False)
    """`user[:password]` of an http(s) URL, percent-encoded."""

    @property
    def known_content(self) -> str:
        """The hash of the commit or tag where it is given in full; empty where the remote has to be asked."""
        return next((text for text in (self.checksum, self.ref) if _COMMIT.fullmatch(text)), "")


def parse_remote_source(text: str) -> HttpSource | GitSource | None:
    """What a source of ADD or COPY refers to; None for a path of the build context.

    Raises DockerfileError for a git repository with a query that makes no sense.
    """
    git = _parse_git(text)
    if git is not None:
        return git
    if text.startswith(("http://", "https://")):
        return _parse_http(text)
    return None


def without_credentials(text: str) -> str:
    """A text whose URLs have lost their passwords, and for http(s) their users, who are often tokens."""
    return _USERINFO.sub(_bare, text)


def _bare(match: "re.Match[str]") -> str:
    scheme, userinfo = match["scheme"], match["userinfo"]
    if scheme.lower() in ("http", "https"):
        return f"{scheme}://"
    return f"{scheme}://{userinfo.partition(':')[0]}@"


def _parse_http(text: str) -> HttpSource:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise DockerfileError(f"not a URL: {without_credentials(text)}: {error}") from error
    if not host:
        raise DockerfileError(f"not a URL: {without_credentials(text)}: it has no host")
    userinfo, _, netloc = parts.netloc.rpartition("@")
    url = urlunsplit(parts._replace(netloc=netloc, fragment=""))
    return HttpSource(url, _file_name(parts.path), userinfo)


def _file_name(path: str) -> str:
    name = unquote(path, errors="surrogateescape").rstrip("/").rpartition("/")[2]
    return UNNAMED if name in ("", ".", "..") or "\0" in name else name


def _parse_git(text: str) -> GitSource | None:
    if text.startswith(("./", "../", "github.com/")):
        return None
    scheme = _SCHEME.match(text)
    if scheme is not None:
        return _parse_git_url(text) if scheme[0].lower() in _GIT_SCHEMES else None
    match = _SCP.fullmatch(text)
    if match is None:
        return None
    source = GitSource(f"{match['user']}@{match['host']}:{match['path']}")
    return _with_options(source, match["fragment"] or "", match["query"] or "")


def _parse_git_url(text: str) -> GitSource | None:
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    if parts.scheme in ("http", "https") and not unquote(parts.path).endswith(".git"):
        return None
    userinfo, netloc = _split_user(parts)
    remote = urlunsplit(parts._replace(netloc=netloc, query="", fragment=""))
    return _with_options(GitSource(remote, userinfo=userinfo), unquote(parts.fragment), parts.query)


def _split_user(parts: SplitResult) -> tuple[str, str]:
    """Credentials with the host: ssh's user is a part of the address, and its password is of no use."""
    userinfo, _, host = parts.netloc.rpartition("@")
    if parts.scheme in ("http", "https"):
        return userinfo, host
    user = userinfo.partition(":")[0]
    return "", f"{user}@{host}" if user else host


def _with_options(source: GitSource, fragment: str, query: str) -> GitSource:
    ref, _, subdir = fragment.partition(":")
    options = _read_query(query)
    names = [ref, options.get("ref", ""), _prefixed("refs/tags/", options.get("tag", ""))]
    if options.get("tag") and options.get("branch"):
        raise DockerfileError("branch conflicts with tag")
    names.append(_prefixed("refs/heads/", options.get("branch", "")))
    checksum = _only("checksum", [options.get("checksum", ""), options.get("commit", "")])
    return replace(
        source,
        ref=_only("ref", names) or checksum,
        subdir=_only("subdir", [subdir, options.get("subdir", "")]),
        checksum=checksum,
        keep_git_dir=_switch(options, "keep-git-dir"),
        submodules=_switch(options, "submodules") is not False,
        mtime=_mtime(options.get("mtime", "checkout")),
        fetch_by_commit=bool(_switch(options, "fetch-by-commit")),
    )


def check_git_source(source: GitSource) -> None:
    """Raise DockerfileError for a repository or a ref that git would take for something else."""
    if _BAD_REMOTE.search(source.remote):
        raise DockerfileError(f"not a git repository: {source.remote[:300]!r}")
    if _BAD_REF.search(source.ref):
        raise DockerfileError(
            f"not a git ref: {source.ref[:300]!r}", hint="name a branch, a tag or a commit in full"
        )
    if source.fetch_by_commit and not _COMMIT.fullmatch(source.checksum):
        raise DockerfileError("fetch-by-commit needs the full hash of a commit: checksum=")


def _read_query(query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for key, values in parse_qs(query, keep_blank_values=True).items():
        if len(values) > 1:
            raise DockerfileError(f'query "{key}" has multiple values')
        if key not in _SWITCHES | _TEXTS:
            raise DockerfileError(
                f'unexpected query "{key}"', hint=f"known are {', '.join(sorted(_SWITCHES | _TEXTS))}"
            )
        if not values[0] and key in _TEXTS:
            raise DockerfileError(f'query "{key}" has no value')
        options[key] = values[0]
    return options


def _only(what: str, texts: list[str]) -> str:
    """The one text that is given, by whatever way."""
    given = list(dict.fromkeys(text for text in texts if text))
    if len(given) > 1:
        raise DockerfileError(f'{what} conflicts: "{given[0]}" vs "{given[1]}"')
    return given[0] if given else ""


def _prefixed(prefix: str, name: str) -> str:
    return name if not name or name.startswith(prefix) else prefix + name


def _switch(options: Mapping[str, str], key: str) -> bool | None:
    text = options.get(key)
    if text is None:
        return None
    if text and text not in _BOOLEANS:
        raise DockerfileError(f'invalid {key} value: "{text}"')
    return _BOOLEANS.get(text, True)


def _mtime(text: str) -> Literal["checkout", "commit"]:
    if text == "commit":
        return "commit"
    if text != "checkout":
        raise DockerfileError(f'invalid mtime value: "{text}"', hint="it is checkout or commit")
    return "checkout"
