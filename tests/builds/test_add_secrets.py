"""Secrets that ADD itself uses: who gets them, and that nothing else has them."""

import gzip
import re
from base64 import b64encode
from pathlib import Path

import pytest

from support.builds import Builds, check_explained
from support.faulty_registry import Answer, Asked, FaultyRegistry
from support.git_repositories import GitOverHttp, Repository
from support.registry import Registry

pytestmark = pytest.mark.registry

CONTEXT_ERROR = 4
SECRET, OTHER = "s3cr3t-t0ken", "an0ther-t0ken"
ENVIRONMENT = {"SECRET": SECRET, "OTHER": OTHER}


@pytest.fixture
def builds(base_registry: Registry, tmp_path: Path) -> Builds:
    return Builds(base_registry, tmp_path)


def build(builds: Builds, line: str, *arguments: str, status: int = 0) -> str:
    """Build into `out`; the log, which like all else that is left has no secret."""
    flags = ("--isolation=none", "--no-push", f"--oci-layout-path={builds.place}/out", "-v", "trace")
    done = builds.build(f"FROM scratch\n{line}\n", *flags, *arguments, environment=ENVIRONMENT, status=status)
    written = b"".join(_content(path) for path in builds.place.rglob("*") if path.is_file())
    for secret in (SECRET, b64encode(f"x-access-token:{SECRET}".encode()).decode()):
        assert secret not in done.log
        assert secret.encode() not in written
    if status:
        check_explained(done)
    return done.log


def _content(path: Path) -> bytes:
    data = path.read_bytes()
    return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data


def guarded(value: str) -> FaultyRegistry:
    """A server that wants this Authorization."""

    def answer(asked: Asked) -> Answer:
        return Answer(200, b"text") if asked.headers.get("authorization") == value else Answer(401)

    return FaultyRegistry(answer)


@pytest.mark.parametrize(
    ("id_", "value"), [("HTTP_AUTH_TOKEN", f"Bearer {SECRET}"), ("HTTP_AUTH_HEADER", SECRET)]
)
def test_a_download_has_the_secret_of_its_host(builds: Builds, id_: str, value: str) -> None:
    with guarded(value) as server:
        line = f"ADD http://{server.host}/f /f"
        for host in (server.host, "127.0.0.1"):
            build(builds, line, f"--secret=id={id_}_{host},env=SECRET")
        build(builds, line, "--secret=id=HTTP_AUTH_TOKEN_other.example,env=SECRET", status=CONTEXT_ERROR)
        assert "authorization" not in server.asked[-1].headers


def test_a_redirect_elsewhere_does_not_carry_it(builds: Builds) -> None:
    with FaultyRegistry(lambda asked: Answer(200, b"text")) as other:
        redirect = Answer(302, headers={"Location": f"http://{other.host}/f"})
        with FaultyRegistry(lambda asked: redirect) as server:
            build(
                builds, f"ADD http://{server.host}/f /f", "--secret=id=HTTP_AUTH_TOKEN_127.0.0.1,env=SECRET"
            )
        assert server.asked[0].headers["authorization"] == f"Bearer {SECRET}"
        assert "authorization" not in other.asked[0].headers


def test_another_secret_is_the_same_step(builds: Builds) -> None:
    cache = ("--cache", "--cache-copy-layers", f"--cache-repo=oci:{builds.place}/kept")
    with FaultyRegistry(lambda asked: Answer(200, b"text")) as server:
        line = f"ADD http://{server.host}/f /f"
        build(builds, line, *cache, f"--secret=id=HTTP_AUTH_TOKEN_{server.host},env=SECRET")
        kept = sorted((builds.place / "kept").rglob("*"))
        assert kept
        build(builds, line, *cache, f"--secret=id=HTTP_AUTH_TOKEN_{server.host},env=OTHER")
        assert sorted((builds.place / "kept").rglob("*")) == kept


@pytest.fixture
def served(tmp_path: Path) -> Path:
    made = Repository.create(tmp_path / "served" / "r.git")
    made.commit({"a": "one"})
    return tmp_path / "served"


@pytest.mark.parametrize("id_", ["GIT_AUTH_TOKEN", "GIT_AUTH_TOKEN.HOST", "GIT_AUTH_TOKEN.127.0.0.1"])
def test_a_repository_has_the_token(builds: Builds, served: Path, id_: str) -> None:
    with GitOverHttp(served, userinfo=f"x-access-token:{SECRET}") as server:
        line = f"ADD --keep-git-dir=true http://{server.host}/r.git /d"
        build(builds, line, f"--secret=id={id_.replace('HOST', server.host)},env=SECRET")
        assert server.wanted in server.seen
        said = build(
            builds, line, "--secret=id=GIT_AUTH_TOKEN.other.example,env=SECRET", status=CONTEXT_ERROR
        )
        assert "GIT_AUTH_TOKEN" in said


def test_a_repository_has_the_header(builds: Builds, served: Path) -> None:
    with GitOverHttp(served, userinfo="me:right") as server:
        server.wanted = SECRET
        line = f"ADD --keep-git-dir=true http://me:wrong@{server.host}/r.git /d"
        token = "--secret=id=GIT_AUTH_TOKEN,env=OTHER"
        build(builds, line, "--secret=id=GIT_AUTH_HEADER,env=SECRET", token)
        assert set(server.seen) == {SECRET}
        build(builds, line, f"--secret=id=GIT_AUTH_HEADER.{server.host},env=SECRET", token)
        assert set(server.seen) == {SECRET}


@pytest.mark.parametrize("id_", ["GIT_AUTH_TOKEN", "GIT_AUTH_HEADER"])
def test_a_redirect_of_a_repository_does_not_carry_it(builds: Builds, served: Path, id_: str) -> None:
    with GitOverHttp(served, userinfo=f"x-access-token:{SECRET}") as server:
        with GitOverHttp(served, redirect_to=f"http://{server.host}") as elsewhere:
            line = f"ADD http://{elsewhere.host}/r.git /d"
            build(builds, line, f"--secret=id={id_},env=SECRET", status=CONTEXT_ERROR)
        assert set(server.seen) <= {None}


def test_a_submodule_elsewhere_does_not_get_it(builds: Builds, served: Path) -> None:
    part = Repository.create(served / "part.git")
    commit = part.commit({"p": "part"})
    with GitOverHttp(served) as elsewhere, GitOverHttp(served) as server:
        modules = f'[submodule "p"]\n\tpath = p\n\turl = http://{elsewhere.host}/part.git\n'
        Repository(served / "r.git").commit({".gitmodules": modules}, modules={"p": commit})
        line = f"ADD http://{server.host}/r.git /d"
        build(builds, line, f"--secret=id=GIT_AUTH_HEADER.{server.host},env=SECRET")
        assert set(server.seen) == {SECRET}
        assert elsewhere.seen
        assert set(elsewhere.seen) == {None}


def test_a_secret_of_two_lines_is_refused(builds: Builds) -> None:
    (builds.place / "two").write_text("a\nInjected: b")
    with FaultyRegistry(lambda asked: Answer(200)) as server:
        secret = f"--secret=id=HTTP_AUTH_HEADER_{server.host},src={builds.place}/two"
        said = build(builds, f"ADD http://{server.host}/f /f", secret, status=CONTEXT_ERROR)
        assert re.search(r"HTTP_AUTH_HEADER_\S+ can't be sent", said)
        assert not server.asked
