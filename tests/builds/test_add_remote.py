"""ADD of URLs and git repositories, from servers on this machine, some of them hostile."""

import gzip
import io
import os
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from knarr.oci.digest import Digest
from support.faulty_registry import Answer, FaultyRegistry
from support.flatten import FileFacts, FlatImage, flatten_layout
from support.git_repositories import COMMIT_TIME_S, GitOverHttp, Repository, git_daemon
from support.knarr_cli import knarr

MODIFIED = {"Last-Modified": "Sat, 01 Feb 2020 03:04:05 GMT"}
MODIFIED_S = 1580526245
CONTEXT_ERROR, DOCKERFILE_ERROR, CORRUPT_ERROR = 4, 3, 7


@dataclass(frozen=True)
class Bench:
    """A directory to build in, which also is the HOME of the builder."""

    root: Path

    def run(
        self,
        lines: str,
        *,
        environment: Mapping[str, str] | None = None,
        context: Mapping[str, str] | None = None,
    ) -> CompletedProcess[str]:
        directory = self.root / "context"
        directory.mkdir(exist_ok=True)
        for name, content in (context or {}).items():
            (directory / name).write_text(content)
        (directory / "Dockerfile").write_text(f"FROM scratch\n{lines}\n")
        arguments = ["build", str(directory), "--isolation=none", "--no-push"]
        work = self.root / "work"
        work.mkdir(exist_ok=True)
        done = knarr(
            [*arguments, f"--oci-layout-path={self.root / 'out'}"],
            environment={"KNARR_DIR": str(work), "HOME": str(self.root / "home"), **(environment or {})},
        )
        assert list(work.iterdir()) == []
        return done

    def build(self, lines: str, **options: Mapping[str, str]) -> FlatImage:
        shutil.rmtree(self.root / "out", ignore_errors=True)
        done = self.run(lines, **options)
        assert done.returncode == 0, done.stderr
        return flatten_layout(self.root / "out")

    def fail(self, lines: str, status: int, **options: Mapping[str, str]) -> str:
        done = self.run(lines, **options)
        assert done.returncode == status, done.stderr
        assert not (self.root / "out").exists()
        return done.stderr


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    (tmp_path / "home").mkdir()
    return Bench(tmp_path)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository.create(tmp_path / "served" / "r.git")
    made.commit(
        {"a": "one", "run": "#!/bin/sh\n", "dir/deep/f": "f", "other/g": "g"},
        links={"link": "a", "out": "/etc", "in": "dir/deep", "up": "../../../.."},
    )
    return made


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "served").mkdir(exist_ok=True)
    with git_daemon(tmp_path / "served") as url:
        yield url


def file(image: FlatImage, path: str) -> FileFacts:
    return image.files[path]


def history(image: FlatImage) -> list[str]:
    return [entry["created_by"] for entry in image.config["history"]]


def test_url_to_directory_and_file(bench: Bench) -> None:
    with FaultyRegistry(lambda asked: Answer(200, b"content", MODIFIED)) as server:
        url = f"http://{server.host}/a/b.txt?x=y"
        image = bench.build(
            f"ADD {url} /d/\nADD --chown=3:4 --chmod=640 {url} /e\nADD http://{server.host}/ /f/"
        )
    there = file(image, "/d/b.txt")
    assert (there.mode, there.uid, there.gid, there.mtime_s) == (0o600, 0, 0, MODIFIED_S)
    changed = file(image, "/e")
    assert (changed.mode, changed.uid, changed.gid) == (0o640, 3, 4)
    assert "/f/__unnamed__" in image.files
    assert history(image)[0] == f"ADD {url} /d/ # buildkit"


def test_url_is_unpacked_only_when_asked(bench: Bench) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("inside")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"abc"))
    with FaultyRegistry(lambda asked: Answer(200, packed.getvalue())) as server:
        url = f"http://{server.host}/x.tgz"
        image = bench.build(f"ADD {url} /d/\nADD --unpack=true {url} /e/\nADD --unpack=false {url} /f/")
    assert {path for path in image.files if path.count("/") == 2} == {"/d/x.tgz", "/e/inside", "/f/x.tgz"}
    assert file(image, "/d/x.tgz").mtime_s == 0


def test_sources_of_every_kind_in_order(bench: Bench, repository: Repository, served: str) -> None:
    with FaultyRegistry(lambda asked: Answer(200, b"from the URL")) as server:
        url = f"http://{server.host}/a"
        one = bench.build(f"ADD a {served}/r.git {url} /d/", context={"a": "local"})
        two = bench.build(f"ADD {url} {served}/r.git#main:dir a /d/", context={"a": "local"})
        three = bench.build(f"ADD --exclude=d* --exclude=a {url} {served}/r.git /d/", context={"a": "local"})
    assert file(one, "/d/a").mode == 0o600
    assert file(two, "/d/a").mode == 0o644
    assert "/d/deep/f" in two.files
    assert file(three, "/d/a").text == "from the URL"  # --exclude is not asked for a source itself
    assert "/d/dir" not in three.files
    assert "/d/other/g" in three.files


def test_checksum_of_url(bench: Bench) -> None:
    good, bad = Digest.of(b"content"), Digest.of(b"")
    with FaultyRegistry(lambda asked: Answer(200, b"content")) as server:
        bench.build(f"ARG SUM={good}\nADD --checksum=$SUM http://{server.host}/f /f")
        shutil.rmtree(bench.root / "out")
        said = bench.fail(f"ADD --checksum={bad} http://{server.host}/f /f", CORRUPT_ERROR)
    assert str(good) in said
    assert str(bad) in said
    assert "Dockerfile:2" in said


def test_credentials_of_url_are_not_shown(bench: Bench) -> None:
    with FaultyRegistry(lambda asked: Answer(200 if "authorization" in asked.headers else 401)) as server:
        done = bench.run(f"ADD http://me:hidden@{server.host}/f /f")
        assert done.returncode == 0, done.stderr
        image = flatten_layout(bench.root / "out")
        shutil.rmtree(bench.root / "out")
        server.script = lambda asked: Answer(403)
        said = bench.fail(f"ADD http://me:hidden@{server.host}/f?sig=secret /f", CONTEXT_ERROR)
    assert history(image) == [f"ADD http://{server.host}/f /f # buildkit"]
    assert "hidden" not in done.stderr + said
    assert "403" in said


@pytest.mark.parametrize(
    ("line", "status", "message"),
    [
        ("ADD http://HOST/missing /f", CONTEXT_ERROR, "answered 404"),
        ("COPY http://HOST/f /f", DOCKERFILE_ERROR, "source can't be a URL for COPY"),
        ("COPY http://HOST/f.git /f", DOCKERFILE_ERROR, "source can't be a git ref for COPY"),
        ("COPY git@HOST:f /f", DOCKERFILE_ERROR, "source can't be a git ref for COPY"),
        ("ADD --checksum=sha256:1 a /f", DOCKERFILE_ERROR, "checksum requires HTTP(S) or Git sources"),
        ("ADD --keep-git-dir a /f", DOCKERFILE_ERROR, "--keep-git-dir requires a Git source"),
        ("ADD http://HOST/f.git?a=b /f", DOCKERFILE_ERROR, 'unexpected query "a"'),
    ],
)
def test_refused(bench: Bench, line: str, status: int, message: str) -> None:
    with FaultyRegistry(lambda asked: Answer(404)) as server:
        host = "example.com" if "@" in line else server.host
        said = bench.fail(line.replace("HOST", host), status, context={"a": ""})
    assert message in said
    assert "Dockerfile:2" in said


def test_repository(bench: Bench, repository: Repository, served: str) -> None:
    repository.git("tag", "-a", "-m", "t", "v1")
    repository.git("branch", "side")
    first = repository.git("rev-parse", "HEAD")
    second = repository.commit({"a": "two", "new": "n"})
    image = bench.build(
        f"""ADD {served}/r.git /d
        ADD {served}/r.git#v1 /tag/
        ADD {served}/r.git?branch=side&subdir=dir /side
        ADD {served}/r.git#{first} /commit
        ADD --chown=7:8 --chmod=700 {served}/r.git?mtime=commit /own"""
    )
    assert {path for path in image.files if path.startswith("/d/")} == {
        f"/d/{name}" for name in "a dir dir/deep dir/deep/f in link new other other/g out run up".split()
    }
    assert "/tag/new" not in image.files
    assert "/commit/new" not in image.files
    assert {path for path in image.files if path.startswith("/side/")} == {"/side/deep", "/side/deep/f"}
    modes = {name: file(image, f"/d/{name}").mode for name in ("a", "run", "dir")}
    assert modes == {"a": 0o644, "run": 0o755, "dir": 0o755}
    assert {facts.uid for path, facts in image.files.items() if not path.startswith("/own")} == {0}
    own = file(image, "/own/a")
    assert (own.uid, own.gid, own.mode, own.mtime_s) == (7, 8, 0o700, COMMIT_TIME_S)
    assert file(image, "/d/a").mtime_s == file(image, "/d/dir/deep/f").mtime_s > COMMIT_TIME_S
    assert file(image, "/d/out").target == "/etc"
    assert second not in str(history(image))


def test_checksum_of_repository(bench: Bench, repository: Repository, served: str) -> None:
    commit = repository.git("rev-parse", "HEAD")
    repository.git("tag", "-a", "-m", "t", "v1")
    tag = repository.git("rev-parse", "v1")
    bench.build(
        f"""ADD --checksum={commit} {served}/r.git /a
        ADD --checksum={commit[:8]} {served}/r.git#main /b
        ADD --checksum={commit} {served}/r.git#v1 /c
        ADD --checksum={tag} {served}/r.git#v1 /d
        ADD {served}/r.git?checksum={commit} /e
        ADD {served}/r.git?branch=main&commit={commit}&fetch-by-commit /f"""
    )
    shutil.rmtree(bench.root / "out")
    said = bench.fail(f"ADD --checksum={'0' * 40} {served}/r.git /a", CORRUPT_ERROR)
    assert f"expected checksum to match {'0' * 40}, got {commit}" in said


def test_repository_of_sha256(bench: Bench, tmp_path: Path, served: str) -> None:
    commit = Repository.create(tmp_path / "served" / "s.git", "--object-format=sha256").commit({"a": "1"})
    image = bench.build(f"ADD {served}/s.git /a\nADD {served}/s.git#{commit} /b")
    assert {"/a/a", "/b/a"} <= set(image.files)


def test_git_directory_is_kept_when_asked(bench: Bench, repository: Repository, tmp_path: Path) -> None:
    module = Repository.create(tmp_path / "served" / "m.git").commit({"m": "m"})
    repository.commit({".gitmodules": '[submodule "m"]\npath = m\nurl = ../m.git\n'}, modules={"m": module})
    with GitOverHttp(tmp_path / "served", userinfo="me:hidden") as server:
        url = f"http://me:hidden@{server.host}/r.git"
        image = bench.build(
            f"ADD --keep-git-dir=true {url} /kept\nADD {url} /bare\nADD {url}?submodules=false /alone"
        )
        layers = b"".join(
            gzip.decompress(blob.read_bytes())
            for blob in (bench.root / "out" / "blobs" / "sha256").iterdir()
            if blob.read_bytes().startswith(b"\x1f\x8b")
        )
        assert server.wanted in server.seen
    assert {"/kept/.git/HEAD", "/kept/.git/config", "/kept/m/m", "/kept/m/.git", "/bare/m/m"} <= set(
        image.files
    )
    assert not any(".git/" in f"{path}/" for path in image.files if not path.startswith("/kept/"))
    assert "/alone/m/m" not in image.files
    assert f"http://{server.host}/r.git".encode() in layers
    assert b"hidden" not in layers
    assert "hidden" not in str(image.config)


def test_credentials_of_repository_are_not_shown(bench: Bench, repository: Repository) -> None:
    with GitOverHttp(bench.root / "served", userinfo="me:right") as server:
        said = bench.fail(f"ADD http://me:hidden@{server.host}/r.git /d", CONTEXT_ERROR)
        assert "hint" in said
        assert "hidden" not in said
        with GitOverHttp(bench.root, redirect_to=f"http://{server.host}") as elsewhere:
            server.seen.clear()
            bench.fail(f"ADD http://me:right@{elsewhere.host}/r.git /d", CONTEXT_ERROR)
            assert server.wanted not in server.seen


@pytest.mark.parametrize(
    "source",
    [
        "SERVED/r.git#--upload-pack=touch${IFS}MARKER",
        "SERVED/r.git?ref=--upload-pack=MARKER",
        "SERVED/r.git?ref=a..b",
        "SERVED/r.git?ref=a%20b",
        "SERVED/r.git?ref=main:refs/heads/x",
        "git@-oProxyCommand:x",
        "ssh://-oProxyCommand=MARKER/x.git",
        "git://-x/y",
    ],
)
def test_refs_and_remotes_that_are_options(
    bench: Bench, repository: Repository, served: str, source: str
) -> None:
    marker = bench.root / "marker"
    text = source.replace("SERVED", served).replace("${IFS}", "\\${IFS}").replace("MARKER", str(marker))
    bench.fail(f"ADD {text} /d", DOCKERFILE_ERROR)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("end", "message"),
    [
        ("r.git#nothing", "does not contain ref nothing"),
        (f"r.git#{'1' * 40}", "does not contain commit 111"),
        ("r.git#:nothing", "has no directory nothing"),
        ("r.git#:a", "has no directory a"),
        ("r.git#:out", "has no directory out"),
        ("r.git?subdir=.git", "has no directory .git"),
        ("r.git?subdir=.git&keep-git-dir", "has no directory .git"),
        ("r.git?fetch-by-commit", "needs the full hash"),
        ("missing.git", "can't list the refs"),
    ],
)
def test_missing(bench: Bench, repository: Repository, served: str, end: str, message: str) -> None:
    assert message in bench.run(f"ADD {served}/{end} /d").stderr
    assert not (bench.root / "out").exists()


def test_subdir_through_links_stays_inside(bench: Bench, repository: Repository, served: str) -> None:
    image = bench.build(
        f"ADD {served}/r.git#:in /in\nADD {served}/r.git#:up/dir /up\nADD {served}/r.git#:/ /all"
    )
    assert {"/in/f", "/up/deep/f", "/all/a"} <= set(image.files)


def test_no_configuration_of_the_machine_is_used(bench: Bench, repository: Repository, served: str) -> None:
    marker, hooks = bench.root / "marker", bench.root / "home" / "hooks"
    hooks.mkdir()
    for name in ("post-checkout", "reference-transaction", "ssh"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {marker}\n")
        (hooks / name).chmod(0o755)
    config = f'[core]\nhooksPath = {hooks}\nfsmonitor = {hooks}/ssh\n[filter "x"]\nsmudge = {hooks}/ssh\n'
    (bench.root / "home" / ".gitconfig").write_text(config)
    repository.commit({".gitattributes": "* filter=x\n"})
    hostile = {
        "GIT_SSH_COMMAND": f"{hooks}/ssh",
        "GIT_EXEC_PATH": str(hooks),
        "GIT_TEMPLATE_DIR": str(hooks),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.hooksPath",
        "GIT_CONFIG_VALUE_0": str(hooks),
    }
    bench.build(f"ADD {served}/r.git /d", environment=hostile)
    assert not marker.exists()


@pytest.mark.parametrize(
    "url", ["ext::sh -c touch% MARKER", "file://MACHINE/served/m.git", "MACHINE/served/m.git", "-u./payload"]
)
def test_submodules_that_are_no_addresses(
    bench: Bench, repository: Repository, served: str, tmp_path: Path, url: str
) -> None:
    module = Repository.create(tmp_path / "served" / "m.git").commit({"m": "m"})
    text = url.replace("MARKER", str(tmp_path / "marker")).replace("MACHINE", str(tmp_path))
    repository.commit({".gitmodules": f'[submodule "m"]\npath = m\nurl = "{text}"\n'}, modules={"m": module})
    bench.fail(f"ADD {served}/r.git /d", CONTEXT_ERROR)
    assert not (tmp_path / "marker").exists()


def test_nested_submodule_that_runs_commands(
    bench: Bench, repository: Repository, served: str, tmp_path: Path
) -> None:
    inner = Repository.create(tmp_path / "served" / "m.git")
    marker = tmp_path / "marker"
    module = inner.commit(
        {".gitmodules": f'[submodule "n"]\npath = n\nurl = "ext::sh -c touch% {marker}"\n'},
        modules={"n": "1" * 40},
    )
    repository.commit(
        {".gitmodules": f'[submodule "m"]\npath = m\nurl = {served}/m.git\nupdate = !touch {marker}\n'},
        modules={"m": module},
    )
    bench.fail(f"ADD {served}/r.git /d", CONTEXT_ERROR)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["../../outside", "m/../../../outside"])
def test_submodule_names_that_climb(
    bench: Bench, repository: Repository, served: str, tmp_path: Path, name: str
) -> None:
    module = Repository.create(tmp_path / "served" / "m.git").commit({"m": "m"})
    repository.commit(
        {".gitmodules": f'[submodule "{name}"]\npath = m\nurl = {served}/m.git\n'}, modules={"m": module}
    )
    before = sorted(os.listdir(tmp_path))
    bench.run(f"ADD {served}/r.git /d")
    assert set(os.listdir(tmp_path)) - set(before) <= {"context", "work", "out"}


def test_submodule_in_place_of_a_link(
    bench: Bench, repository: Repository, served: str, tmp_path: Path
) -> None:
    module = Repository.create(tmp_path / "served" / "m.git").commit({"m": "m"})
    outside = tmp_path / "outside"
    outside.mkdir()
    repository.commit(
        {".gitmodules": f'[submodule "m"]\npath = way/m\nurl = {served}/m.git\n'}, modules={"way/m": module}
    )
    repository.git("update-index", "--force-remove", "way/m")
    repository.commit(links={"way": str(outside)})
    bench.run(f"ADD {served}/r.git /d")
    assert list(outside.iterdir()) == []


def test_without_git(bench: Bench, repository: Repository, served: str, tmp_path: Path) -> None:
    said = bench.fail(f"ADD {served}/r.git /d", CONTEXT_ERROR, environment={"PATH": str(tmp_path / "empty")})
    assert "git, which is not installed here" in said
    assert "hint" in said
