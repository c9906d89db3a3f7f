"""Which sources are remote, and what their text says; rows follow BuildKit's rules."""

import pytest

from knarr.dockerfile.language.add_sources import add_sources
from knarr.dockerfile.language.instructions import Add
from knarr.dockerfile.language.parser import parse
from knarr.dockerfile.language.remote_sources import (
    GitSource,
    HttpSource,
    parse_remote_source,
    without_credentials,
)
from knarr.errors import DockerfileError

SHA = "0123456789012345678901234567890123456789"
REPO = "https://example.com/foo.git"

LOCAL = [
    "",
    ".",
    "a.txt",
    "./https://example.com/foo.git",
    "../git@github.com:a/b",
    "./.git",
    ".git",
    "dir/foo.git",
    "github.com/moby/buildkit",
    "github.com/moby/buildkit.git",
    "custom.xyz/moby/buildkit.git",
    "ftp://example.com/a",
    "file:///etc/passwd",
    "file:///srv/repo.git",
    "ext::sh -c id",
    "HTTP://example.com/a",
    "example.com:repo.git",
    "us er@example.com:repo.git",
    "git@example.com",
    "-u git@example.com:x",
]

HTTP = [
    ("https://example.com/", "https://example.com/", "__unnamed__"),
    ("https://example.com", "https://example.com", "__unnamed__"),
    ("https://example.com/foo", "https://example.com/foo", "foo"),
    ("http://example.com/a/b.tar.gz", "http://example.com/a/b.tar.gz", "b.tar.gz"),
    ("https://example.com/a/b/", "https://example.com/a/b/", "b"),
    ("https://example.com/a?x=y/z", "https://example.com/a?x=y/z", "a"),
    ("https://example.com/?file=a", "https://example.com/?file=a", "__unnamed__"),
    ("https://example.com/a#part", "https://example.com/a", "a"),
    ("https://example.com/a%20b", "https://example.com/a%20b", "a b"),
    ("https://example.com/a%2Fb", "https://example.com/a%2Fb", "b"),
    ("https://example.com/a/..", "https://example.com/a/..", "__unnamed__"),
    ("https://example.com/%2e%2e", "https://example.com/%2e%2e", "__unnamed__"),
    ("https://example.com/a%00b", "https://example.com/a%00b", "__unnamed__"),
    ("https://example.com/foo.git/", "https://example.com/foo.git/", "foo.git"),
    ("https://example.com/foo.git.bar", "https://example.com/foo.git.bar", "foo.git.bar"),
    ("https://github.com/moby/buildkit", "https://github.com/moby/buildkit", "buildkit"),
    ("http://github.com/docker/docker.git:#branch", "http://github.com/docker/docker.git:", "docker.git:"),
    ("https://me:pw@example.com:8443/f", "https://example.com:8443/f", "f"),
]

GIT = [
    (REPO, GitSource(REPO)),
    ("http://example.com/foo.git", GitSource("http://example.com/foo.git")),
    ("HTTPS://example.com/foo.git", GitSource(REPO)),
    ("https://example.com/foo%2egit", GitSource("https://example.com/foo%2egit")),
    (f"{REPO}#", GitSource(REPO)),
    (f"{REPO}#deadbeef", GitSource(REPO, ref="deadbeef")),
    (f"{REPO}#release/1.2", GitSource(REPO, ref="release/1.2")),
    (f"{REPO}#baz/qux:quux/quuz", GitSource(REPO, ref="baz/qux", subdir="quux/quuz")),
    (f"{REPO}#:myfolder", GitSource(REPO, subdir="myfolder")),
    (f"{REPO}#a:b:c", GitSource(REPO, ref="a", subdir="b:c")),
    (f"{REPO}#a%20b", GitSource(REPO, ref="a b")),
    (f"{REPO}?ref=v1.0.0&subdir=/subdir", GitSource(REPO, ref="v1.0.0", subdir="/subdir")),
    (f"{REPO}?ref=v1#v1:dir", GitSource(REPO, ref="v1", subdir="dir")),
    (f"{REPO}?tag=v1", GitSource(REPO, ref="refs/tags/v1")),
    (f"{REPO}?tag=refs/tags/v1", GitSource(REPO, ref="refs/tags/v1")),
    (f"{REPO}?branch=main", GitSource(REPO, ref="refs/heads/main")),
    (f"{REPO}?branch=refs/heads/main", GitSource(REPO, ref="refs/heads/main")),
    (f"{REPO}?tag=v1&ref=refs/tags/v1", GitSource(REPO, ref="refs/tags/v1")),
    (f"{REPO}?checksum={SHA}", GitSource(REPO, ref=SHA, checksum=SHA)),
    (f"{REPO}?commit={SHA}", GitSource(REPO, ref=SHA, checksum=SHA)),
    (f"{REPO}?branch=main&commit={SHA}", GitSource(REPO, ref="refs/heads/main", checksum=SHA)),
    (f"{REPO}?keep-git-dir=true", GitSource(REPO, keep_git_dir=True)),
    (f"{REPO}?keep-git-dir", GitSource(REPO, keep_git_dir=True)),
    (f"{REPO}?keep-git-dir=0", GitSource(REPO, keep_git_dir=False)),
    (f"{REPO}?submodules=false", GitSource(REPO, submodules=False)),
    (f"{REPO}?submodules", GitSource(REPO)),
    (f"{REPO}?mtime=commit", GitSource(REPO, mtime="commit")),
    (f"{REPO}?mtime=checkout", GitSource(REPO)),
    (f"{REPO}?fetch-by-commit&commit={SHA}", GitSource(REPO, ref=SHA, checksum=SHA, fetch_by_commit=True)),
    ("https://foo:bar@github.com/m/b.git", GitSource("https://github.com/m/b.git", userinfo="foo:bar")),
    ("git://example.com/foo", GitSource("git://example.com/foo")),
    ("git://example.com/foo#v1:d", GitSource("git://example.com/foo", ref="v1", subdir="d")),
    ("ssh://git@example.com:22/foo", GitSource("ssh://git@example.com:22/foo")),
    ("ssh://git:secret@example.com/foo", GitSource("ssh://git@example.com/foo")),
    ("git@github.com:moby/buildkit", GitSource("git@github.com:moby/buildkit")),
    ("git@github.com:moby/buildkit.git#v1", GitSource("git@github.com:moby/buildkit.git", ref="v1")),
    (
        "git@github.com:m/b.git?branch=x#:d",
        GitSource("git@github.com:m/b.git", ref="refs/heads/x", subdir="d"),
    ),
    ("user_1@10.0.0.1:x", GitSource("user_1@10.0.0.1:x")),
]

WRONG = [
    (f"{REPO}?x=y", 'unexpected query "x"'),
    (f"{REPO}?ref=", 'query "ref" has no value'),
    (f"{REPO}?ref=a&ref=b", 'query "ref" has multiple values'),
    (f"{REPO}?ref=a#b", 'ref conflicts: "b" vs "a"'),
    (f"{REPO}?subdir=a#b:c", 'subdir conflicts: "c" vs "a"'),
    (f"{REPO}?tag=a&branch=b", "branch conflicts with tag"),
    (f"{REPO}?tag=a#b", "ref conflicts"),
    (f"{REPO}?commit=a&checksum=b", "checksum conflicts"),
    (f"{REPO}?keep-git-dir=maybe", 'invalid keep-git-dir value: "maybe"'),
    (f"{REPO}?submodules=2", 'invalid submodules value: "2"'),
    (f"{REPO}?mtime=now", 'invalid mtime value: "now"'),
    ("https://", "not a URL"),
    ("https:///path", "not a URL"),
    ("https://example.com:port/", "not a URL"),
    ("https://[::1/x", "not a URL"),
]


@pytest.mark.parametrize("text", LOCAL)
def test_local(text: str) -> None:
    assert parse_remote_source(text) is None


@pytest.mark.parametrize(("text", "url", "name"), HTTP)
def test_http(text: str, url: str, name: str) -> None:
    source = parse_remote_source(text)
    assert isinstance(source, HttpSource)
    assert (source.url, source.name) == (url, name)
    assert source.userinfo == ("me:pw" if "@" in text else "")
    assert "pw" not in repr(source)


@pytest.mark.parametrize(("text", "expected"), GIT)
def test_git(text: str, expected: GitSource) -> None:
    assert parse_remote_source(text) == expected


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_wrong(text: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse_remote_source(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ADD https://me:pw@h/f /f", "ADD https://h/f /f"),
        ("ADD https://token@h/f http://a:b@c/ /f", "ADD https://h/f http://c/ /f"),
        ("https://a:p@w@h/f", "https://h/f"),
        ("ssh://git:pw@h/f", "ssh://git@h/f"),
        ("git@github.com:a/b", "git@github.com:a/b"),
        ("https://h/a@b", "https://h/a@b"),
        ("https://h?a@b", "https://h?a@b"),
        ('ADD ["https://me:pw@h/f", "x@y"]', 'ADD ["https://h/f", "x@y"]'),
    ],
)
def test_without_credentials(text: str, expected: str) -> None:
    assert without_credentials(text) == expected


def add(line: str) -> Add:
    (instruction,) = parse(f"FROM scratch\nADD {line}\n".encode(), file="Dockerfile").stages[0].instructions
    assert isinstance(instruction, Add)
    return instruction


HEX = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"--checksum={HEX} a https://h/b /", "checksum can't be specified for multiple sources"),
        (f"--checksum={HEX} a /", "checksum requires HTTP(S) or Git sources"),
        (f"--checksum={HEX} <<a /\na", "checksum can't be specified for multiple sources"),
        ("--checksum=sha256:12 https://h/b /", "not a content digest"),
        ("--checksum=md5:12 https://h/b /", "not a content digest"),
        (f"--checksum={HEX} {REPO} /", "expected hex commit hash"),
        (f"--checksum=aa {REPO}?commit=bb /", 'checksum mismatch "aa" != "bb"'),
        ("--keep-git-dir a /", "--keep-git-dir requires a Git source"),
        ("--keep-git-dir=false https://h/b /", "--keep-git-dir requires a Git source"),
        (f"--keep-git-dir {REPO}?keep-git-dir=false /", "inconsistent keep-git-dir configuration"),
    ],
)
def test_flags_that_do_not_fit(line: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        add_sources(add(line))
    assert message in str(caught.value)


def test_flags() -> None:
    assert add_sources(add(f"--checksum={HEX} https://h/b /")) == (
        HttpSource("https://h/b", "b", checksum=HEX),
    )
    assert add_sources(add(f"--checksum=AB12 --keep-git-dir {REPO} /")) == (
        GitSource(REPO, checksum="ab12", keep_git_dir=True),
    )
    assert add_sources(add(f"a https://h/b {REPO} b /")) == (
        "a",
        HttpSource("https://h/b", "b"),
        GitSource(REPO),
        "b",
    )
