"""Git contexts of the Task knarr-context, over each protocol, with what it says when it is refused."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import pytest

from support.docker_engine import RefusedError
from support.git_repositories import COMMIT_TIME_S, GitOverHttp, Repository, git_daemon
from support.registry import Registry, make_certificates
from support.secret_volume import secret_volume
from support.ssh_server import SshServer, make_key, ssh_server
from support.taskrun import TaskRunner, load_task
from support.tekton_files import TASKS
from support.tekton_variables import Value

pytestmark = [pytest.mark.docker, pytest.mark.registry, pytest.mark.root]

BUILD, CONTEXT = (load_task(TASKS / f"{name}/0.1/{name}.yaml") for name in ("knarr-build", "knarr-context"))
USER, PASSWORD = "sailor", "pass word'$x"


@dataclass(frozen=True)
class Served:
    """Repositories `app.git` and `lib.git` below one address, and what it takes to get at them."""

    address: str
    root: Path
    repository: Repository
    commits: Mapping[str, str]
    secrets: Mapping[str, Mapping[str, str]]
    """By workspace, its files."""

    def add(self, branch: str, files: Mapping[str, str], modules: Mapping[str, str]) -> None:
        """One more branch of app.git, from nothing."""
        self.repository.git("checkout", "-q", "--orphan", branch)
        self.repository.git("rm", "-rqf", ".")
        self.repository.commit(files, modules=modules)
        self.repository.git("push", "-q", str(self.root / "app.git"), branch)


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    return make_certificates(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with ssh_server(tmp_path_factory.mktemp("ssh") / "server") as started:
        yield started


@pytest.fixture(params=["https", "ssh"])
def served(
    request: pytest.FixtureRequest, ca: tuple[Path, Path, Path], server: SshServer, tmp_path: Path
) -> Iterator[Served]:
    """The same repositories, over https with password and CA, over ssh with key and known hosts."""
    app, lib = Repository.create(tmp_path / "app"), Repository.create(tmp_path / "lib")
    commits = {"first": app.commit({"Dockerfile": "FROM scratch\n", "file": "first"})}
    app.git("tag", "light")
    app.git("tag", "-a", "heavy", "-m", "tag")
    commits["second"] = app.commit({"file": "second"})
    app.git("update-ref", "refs/pull/7/head", commits["second"])
    commits["main"] = app.commit({"file": "main"})
    commits["lib"] = lib.commit({"inside": "lib"})
    for each in (app, lib):
        each.git("clone", "-q", "--mirror", ".", str(tmp_path / f"git/{each.path.name}.git"))
    if request.param == "ssh":
        key = {"ssh-privatekey": server.key.read_text(), "known_hosts": server.known_hosts}
        address = f"{server.address}{tmp_path}/git"
        yield Served(address, tmp_path / "git", app, commits, {"ssh-directory": key})
        return
    # No newline at the end: what is put together must be certificates still.
    secrets = {
        "basic-auth": {"username": USER, "password": PASSWORD},
        "ssl-ca-directory": {"our own": ca[0].read_text().strip(), "same.pem": ca[0].read_text().strip()},
    }
    with GitOverHttp(tmp_path / "git", userinfo=f"{USER}:{PASSWORD}", tls=ca[1:]) as started:
        yield Served(f"https://{started.host}", tmp_path / "git", app, commits, secrets)


@dataclass(frozen=True)
class Fetcher:
    """Runs the Task, into the same workspace each time."""

    runner: TaskRunner
    place: Path
    source: Path

    def fetch(self, secrets: Mapping[str, Mapping[str, str]], **params: str) -> dict[str, Value]:
        """The results, once it is clear that no secret is left anywhere."""
        volumes = self._volumes(secrets)
        results = dict(self.runner.run(CONTEXT, params, {"source": self.source, **volumes}))
        self._look(secrets)
        return results

    def refused(self, secrets: Mapping[str, Mapping[str, str]], **params: str) -> str:
        """The hint of a Task that fails, the last line of its log."""
        volumes = self._volumes(secrets)
        with pytest.raises(RefusedError):
            self.runner.run(CONTEXT, params, {"source": self.source, **volumes})
        self._look(secrets)
        *_, error, hint = self.runner.logs[-1].strip().splitlines()
        assert error.startswith("error: can't fetch ")
        return hint

    def commits(self, directory: Path) -> int:
        """How many commits were fetched."""
        return int(Repository(directory).git("-c", "safe.directory=*", "rev-list", "--count", "HEAD"))

    def _volumes(self, secrets: Mapping[str, Mapping[str, str]]) -> dict[str, Path]:
        number = sum(1 for path in self.place.iterdir() if path.name.startswith("secrets-"))
        place = self.place / f"secrets-{number}"
        place.mkdir()
        return {name: secret_volume(place / name, files) for name, files in secrets.items()}

    def _look(self, secrets: Mapping[str, Mapping[str, str]]) -> None:
        private = [
            *(files["password"] for files in secrets.values() if "password" in files),
            *(
                files["ssh-privatekey"].splitlines()[2]
                for files in secrets.values()
                if "ssh-privatekey" in files
            ),
        ]
        texts = list(self.runner.logs)
        for root in (self.source, self.runner.directory):
            texts += [path.read_bytes().decode("latin-1") for path in root.rglob("*") if path.is_file()]
        # Git writes a password as in a URL.
        assert not [text for text in texts for word in private if word in text or word in unquote(text)]


@pytest.fixture
def fetcher(runner: TaskRunner, tools: None, tmp_path: Path) -> Fetcher:
    source = tmp_path / "source"
    source.mkdir()
    source.chmod(0o777)
    return Fetcher(runner, tmp_path, source)


def test_revisions(fetcher: Fetcher, served: Served) -> None:
    url, commits = f"{served.address}/app.git", served.commits
    for revision, commit in (
        ("", "main"),
        ("main", "main"),
        ("light", "first"),
        ("heavy", "first"),
        (commits["second"], "second"),
        ("refs/pull/7/head", "second"),
    ):
        results = fetcher.fetch(served.secrets, URL=url, REVISION=revision)
        assert results == {
            "url": url,
            "commit": commits[commit],
            "committer-date": str(COMMIT_TIME_S),
            "checksum": "",
        }
        assert (fetcher.source / "file").read_text() == commit
        assert fetcher.commits(fetcher.source) == 1
    fetcher.fetch(served.secrets, URL=f"{url}#refs/pull/7/head", DEPTH="0", SUBDIRECTORY="deep/er")
    assert (fetcher.source / "deep/er/file").read_text() == "second"
    assert fetcher.commits(fetcher.source / "deep/er") == 2
    assert (fetcher.source / "file").read_text() == "second"


def test_submodules(fetcher: Fetcher, served: Served) -> None:
    """They are fetched with the same credentials, whether the address is relative or not."""
    modules = {"relative": "../lib.git", "absolute": f"{served.address}/lib.git"}
    text = "".join(f'[submodule "{name}"]\n\tpath = {name}\n\turl = {url}\n' for name, url in modules.items())
    served.add("modules", {".gitmodules": text}, dict.fromkeys(modules, served.commits["lib"]))
    fetcher.fetch(served.secrets, URL=f"{served.address}/app.git", REVISION="modules", SUBMODULES="true")
    for name in modules:
        assert (fetcher.source / name / "inside").read_text() == "lib"
    fetcher.fetch(served.secrets, URL=f"{served.address}/app.git", REVISION="modules")
    assert not (fetcher.source / "relative/inside").exists()


def test_what_is_not_there(fetcher: Fetcher, served: Served) -> None:
    url = f"{served.address}/app.git"
    for revision in ("none", "refs/pull/8/head", "0" * 40, served.commits["second"][:12]):
        hint = fetcher.refused(served.secrets, URL=url, REVISION=revision)
        assert hint.startswith("hint: check REVISION: a branch, a tag, a ref, or a commit with all of its")
    assert fetcher.refused(served.secrets, URL=f"{served.address}/none.git").startswith("hint: check URL")


@pytest.mark.parametrize("served", ["https"], indirect=True)
def test_https_refused(fetcher: Fetcher, served: Served) -> None:
    url, secrets = f"{served.address}/app.git", served.secrets
    certificates = {"ssl-ca-directory": secrets["ssl-ca-directory"]}
    wrong = {**certificates, "basic-auth": {"username": USER, "password": "not the word"}}
    assert (
        fetcher.refused(wrong, URL=url) == "hint: the workspace basic-auth has a wrong username or password"
    )
    assert fetcher.refused(certificates, URL=url) == (
        "hint: it is private, or not there: bind the workspace basic-auth"
    )
    assert fetcher.refused({"basic-auth": secrets["basic-auth"]}, URL=url) == (
        "hint: bind the CA of this server as the workspace ssl-ca-directory"
    )


@pytest.mark.parametrize("served", ["ssh"], indirect=True)
def test_ssh_refused(fetcher: Fetcher, served: Served, tmp_path: Path) -> None:
    url, files = f"{served.address}/app.git", served.secrets["ssh-directory"]
    other = make_key(tmp_path / "other")
    public = other.with_suffix(".pub").read_text()
    host = files["known_hosts"].partition(" ")[0]
    unknown = "hint: the workspace ssh-directory needs the host's key in known_hosts: ssh-keyscan prints it"
    for known in ({}, {"known_hosts": "example.com " + public}, {"known_hosts": f"{host} {public}"}):
        key = {"ssh-privatekey": files["ssh-privatekey"]}
        assert fetcher.refused({"ssh-directory": {**key, **known}}, URL=url) == unknown
    wrong = {"ssh-privatekey": other.read_text(), "known_hosts": files["known_hosts"]}
    assert fetcher.refused({"ssh-directory": wrong}, URL=url) == (
        "hint: the workspace ssh-directory needs a key that the server takes"
    )
    assert fetcher.refused({}, URL=url) == unknown


@pytest.mark.parametrize("served", ["ssh"], indirect=True)
def test_ssh_of_the_service_account(fetcher: Fetcher, served: Served, tmp_path: Path) -> None:
    """What Tekton writes into the home directory, as the user that the step runs as."""
    files = served.secrets["ssh-directory"]
    config = "Host 127.0.0.1\n    HostName 127.0.0.1\n    IdentityFile /tekton/home/.ssh/id_git\n"
    directory = tmp_path / "dot-ssh"
    directory.mkdir()
    for name, text in (
        ("config", config),
        ("id_git", files["ssh-privatekey"]),
        ("known_hosts", files["known_hosts"]),
    ):
        (directory / name).write_text(text)
        (directory / name).chmod(0o600)
        os.chown(directory / name, 65532, 65532)
    params, workspaces = {"URL": f"{served.address}/app.git"}, {"source": fetcher.source}
    fetcher.runner.run(CONTEXT, params, workspaces, home_files={".ssh": directory})
    assert (fetcher.source / "file").read_text() == "main"
    (directory / "known_hosts").write_text("")
    with pytest.raises(RefusedError, match="needs the host's key in known_hosts"):
        fetcher.runner.run(CONTEXT, params, workspaces, home_files={".ssh": directory})


def test_then_build(fetcher: Fetcher, base_registry: Registry, tmp_path: Path) -> None:
    """The time of the commit is that of the image; what was in the workspace is gone."""
    repository = Repository.create(tmp_path / "git/app")
    commit = repository.commit({"Dockerfile": "FROM scratch\nCOPY file /\n", "file": "one"})
    repository.commit({"file": "two"})
    (fetcher.source / "left over").write_text("")
    with git_daemon(tmp_path / "git") as address:
        fetched = fetcher.fetch({}, URL=f"{address}/app", REVISION=commit)
        head = fetcher.fetch({}, URL=f"{address}/app#main", SUBDIRECTORY="sub")
    assert fetched["commit"] == commit
    assert head["commit"] == repository.git("rev-parse", "main")
    assert (fetcher.source / "file").read_text() == "one"
    assert (fetcher.source / "sub/file").read_text() == "two"
    assert not (fetcher.source / "left over").exists()
    image = f"{base_registry.host}/tekton/git:1"
    epoch = f"SOURCE_DATE_EPOCH={fetched['committer-date']}"
    fetcher.runner.run(BUILD, {"IMAGE": image, "BUILD_ARGS": [epoch]}, {"source": fetcher.source})
    inspect = ["skopeo", "inspect", "--tls-verify=false", "--format={{.Created}}", f"docker://{image}"]
    created = subprocess.run(inspect, check=True, capture_output=True, text=True).stdout
    assert created.startswith("2020-02-01 03:04:05")


def test_stored_credentials(fetcher: Fetcher, tmp_path: Path) -> None:
    """Those of a file, in the workspace or from the ServiceAccount."""
    Repository.create(tmp_path / "git/app").commit({"Dockerfile": "FROM scratch\n"})
    with GitOverHttp(tmp_path / "git", userinfo=f"{USER}:{PASSWORD}") as server:
        url = f"http://{server.host}/app/.git"
        line = f"http://{USER}:pass%20word'$x@{server.host}\n"
        assert fetcher.fetch({"basic-auth": {".git-credentials": line}}, URL=url)["url"] == url
        stored = tmp_path / "stored"
        stored.write_text(line)
        workspaces = {"source": fetcher.source}
        home = {".git-credentials": stored}
        assert fetcher.runner.run(CONTEXT, {"URL": url}, workspaces, home_files=home)["url"] == url
    assert (fetcher.source / "Dockerfile").exists()
    assert stored.read_text() == line


def test_no_password_leaves_with_a_redirect(fetcher: Fetcher, tmp_path: Path) -> None:
    """The first answer may lead elsewhere, but the password is for the host of the URL."""
    Repository.create(tmp_path / "git/app").commit({"Dockerfile": "FROM scratch\n"})
    secrets = {"basic-auth": {"username": USER, "password": PASSWORD}}
    with GitOverHttp(tmp_path / "git", userinfo=f"{USER}:{PASSWORD}") as other:
        with GitOverHttp(tmp_path / "git", redirect_to=f"http://{other.host}") as server:
            hint = fetcher.refused(secrets, URL=f"http://{server.host}/app/.git")
        assert set(other.seen) == {None}
    assert hint == "hint: it is private, or not there: bind the workspace basic-auth"


def test_refuses(fetcher: Fetcher) -> None:
    for url, message in (
        ("https://user:word@example.com/app.git", "URL holds a password"),
        ("ext::sh -c touch% /tmp/x", "can't fetch"),
        ("/etc", "can't fetch"),
        ("git://127.0.0.1:1/x#--upload-pack=touch", "can't begin with '-'"),
    ):
        with pytest.raises(RefusedError, match=message):
            fetcher.runner.run(CONTEXT, {"URL": url}, {"source": fetcher.source})


def test_a_volume_of_root(fetcher: Fetcher) -> None:
    """As a driver makes it, for a pod without fsGroup; a new disk has a directory of root's too."""
    fetcher.source.chmod(0o755)
    os.chown(fetcher.source, 0, 0)
    given = {"URL": "https://git.invalid/app.git"}
    with pytest.raises(RefusedError, match=r"user 65532 can't write to (?s:.*)fsGroup of the run to 65532"):
        fetcher.runner.run(CONTEXT, given, {"source": fetcher.source})
    fetcher.source.chmod(0o777)
    (fetcher.source / "lost+found").mkdir(0o700)
    with pytest.raises(RefusedError, match="check the host in URL"):
        fetcher.runner.run(CONTEXT, given, {"source": fetcher.source})
    (fetcher.source / "other").mkdir(0o700)
    (fetcher.source / "other/file").touch()
    with pytest.raises(RefusedError, match=r"can't delete what is in (?s:.*)another user's files"):
        fetcher.runner.run(CONTEXT, given, {"source": fetcher.source})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DELETE_EXISTING", "yes"),
        ("SUBMODULES", "True"),
        ("DEPTH", "-1"),
        ("SUBDIRECTORY", "../.."),
        ("URL", "-o@x:y"),
    ],
)
def test_values_that_mean_nothing(fetcher: Fetcher, name: str, value: str) -> None:
    """They are refused by name, not taken for something else."""
    with pytest.raises(RefusedError, match=f"error: {name} "):
        fetcher.runner.run(
            CONTEXT, {"URL": "https://git.invalid/app.git", name: value}, {"source": fetcher.source}
        )
