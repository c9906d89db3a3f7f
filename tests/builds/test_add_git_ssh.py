"""ADD of repositories over ssh: a real server on its usual port, a real agent."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.flatten import FlatImage, flatten_layout
from support.git_repositories import Repository
from support.knarr_cli import EXECUTOR
from support.ssh_server import SshServer, make_key, ssh_agent, ssh_server

pytestmark = pytest.mark.root

CONTEXT_ERROR, USAGE_ERROR = 4, 2


@dataclass(frozen=True)
class Bench:
    """Builds in the network of the server, as a user with a home directory of their own."""

    root: Path
    server: SshServer

    def run(self, lines: str, *flags: str, agent: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Build these lines; `agent` is in SSH_AUTH_SOCK."""
        context = self.root / "context"
        context.mkdir(exist_ok=True)
        (context / "Dockerfile").write_text(f"FROM scratch\n{lines}\n")
        shutil.rmtree(self.root / "out", ignore_errors=True)
        (self.root / "work").mkdir(exist_ok=True)
        environment = {name: text for name, text in os.environ.items() if name != "SSH_AUTH_SOCK"}
        environment |= {"PYTHONPATH": str(EXECUTOR), "KNARR_DIR": str(self.root / "work")}
        environment |= {"SSH_AUTH_SOCK": str(agent)} if agent else {}
        enter = ["nsenter", f"--target={self.server.process_id}", "--mount", "--net"]
        build = [sys.executable, "-m", "knarr", "build", str(context), "--isolation=none", "--no-push"]
        done = subprocess.run(
            [*enter, *build, f"--oci-layout-path={self.root}/out", *flags],
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        assert list((self.root / "work").iterdir()) == []
        return done

    def build(self, lines: str, *flags: str, agent: Path | None = None) -> FlatImage:
        done = self.run(lines, *flags, agent=agent)
        assert done.returncode == 0, done.stderr
        return flatten_layout(self.root / "out")

    def know(self, text: str) -> None:
        """Write the known hosts of the user."""
        (self.server.home / ".ssh/known_hosts").write_text(text)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ssh")
    repository = Repository.create(root / "r")
    repository.commit({"file": "one", "dir/inner": "deep"})
    lib = Repository.create(root / "lib")
    commit = lib.commit({"inside": "lib"})
    modules = {"near": "../lib", "far": f"git@127.0.0.1:{root}/lib"}
    text = "".join(f'[submodule "{name}"]\n\tpath = {name}\n\turl = {url}\n' for name, url in modules.items())
    repository.git("checkout", "-q", "-b", "modules")
    repository.commit({".gitmodules": text}, modules=dict.fromkeys(modules, commit))
    repository.git("checkout", "-q", "main")
    return root


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[SshServer]:
    with ssh_server(root / "server", own_network=True) as started:
        yield started


@pytest.fixture(scope="module")
def agent(root: Path, server: SshServer) -> Iterator[Path]:
    with ssh_agent(root / "agent", server.key) as socket:
        yield socket


@pytest.fixture
def bench(root: Path, server: SshServer) -> Bench:
    bench = Bench(root, server)
    bench.know(server.known_hosts)
    return bench


def test_agent_of_the_flag(bench: Bench, agent: Path) -> None:
    """By variable or by its socket, for each form of an address."""
    for address, flag, variable in (
        (f"git@127.0.0.1:{bench.root}/r", "--ssh=default", agent),
        (f"ssh://git@127.0.0.1{bench.root}/r", f"--ssh=default={agent}", None),
        (f"ssh://git@127.0.0.1:22{bench.root}/r", f"--ssh=default={agent}", bench.root / "none"),
        (f"git@127.0.0.1:{bench.root}/r", f"--ssh=other={agent}", agent),
    ):
        image = bench.build(f"ADD {address}#main:dir /d/", flag, agent=variable)
        assert image.files["/d/inner"].text == "deep"


def test_agent_of_the_variable(bench: Bench, agent: Path) -> None:
    assert "/d/file" in bench.build(f"ADD git@127.0.0.1:{bench.root}/r /d/", agent=agent).files


def test_submodules(bench: Bench, agent: Path) -> None:
    image = bench.build(f"ADD git@127.0.0.1:{bench.root}/r#modules /d/", f"--ssh=default={agent}")
    assert image.files["/d/near/inside"].text == image.files["/d/far/inside"].text == "lib"


def test_refused(bench: Bench, agent: Path, tmp_path: Path) -> None:
    line = f"ADD git@127.0.0.1:{bench.root}/r /d/"
    without = bench.run(line)
    assert without.returncode == CONTEXT_ERROR
    assert "Permission denied" in without.stderr
    assert "hint: ssh takes keys from an agent" in without.stderr
    with ssh_agent(tmp_path / "agent", make_key(tmp_path / "other")) as other:
        assert "hint: ssh takes keys from an agent" in bench.run(line, f"--ssh=default={other}").stderr
    bench.know("")
    unknown = bench.run(line, f"--ssh=default={agent}")
    assert unknown.returncode == CONTEXT_ERROR
    assert "hint: add the host to ~/.ssh/known_hosts of the user who builds" in unknown.stderr
    assert (bench.server.home / ".ssh/known_hosts").read_text() == ""
    assert bench.run(line, "--ssh=default").returncode == USAGE_ERROR
