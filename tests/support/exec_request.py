"""Steps run by an executor of its own process, as root, as an ordinary user with or without more ids."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import knarr
from support.knarr_cli import mind_signals
from support.workers import worker_number

SUPPORT = Path(__file__).resolve().parent
PACKAGE = Path(knarr.__file__).resolve().parent
PATH = "/bin"
APPLETS = (
    *("sh", "echo", "true", "env", "pwd", "id", "sleep", "setsid", "kill", "hostname", "ip"),
    *("mount", "umount"),
    *("cat", "head", "grep", "touch", "rm", "mkdir", "mv", "mknod", "chmod", "stat", "ls", "readlink", "dd"),
)
# Not 1000, the first that useradd takes on a new system: tests have it for a user without further ids.
_FAR_IDS = ("--key=UID_MIN=50000", "--key=UID_MAX=54000", "--key=GID_MIN=50000", "--key=GID_MAX=54000")
_PACKAGE_ROOMS = ("exec", "linux")
_PACKAGE_PARTS = ("__init__.py", "errors.py")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who runs the executor: `prefix` is a command that gives up privileges first."""

    name: str
    uid: int
    gid: int
    prefix: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """One step; see knarr.exec.spec.RunSpec. `lowers` ask for an overlay at `root`."""

    root: str
    output: str
    argv: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=lambda: {"PATH": PATH})
    cwd: str = "/"
    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    resolv_conf: str | None = None
    hosts: str | None = None
    mounts: tuple[dict[str, Any], ...] = ()
    network: str = "default"
    shared_pids: bool = False
    in_place: bool = False
    lowers: tuple[str, ...] = ()
    upper: str | None = None
    work: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the executor said: the step's status and output, or the error."""

    code: int | None
    output: str
    error: dict[str, Any] | None
    isolation: str = ""
    namespaces: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Executor:
    """Runs steps as one identity in a place of its own, whose `root` is a root file system of busybox."""

    identity: Identity
    place: Path

    @property
    def root(self) -> Path:
        return self.place / "root"

    def request(self, *argv: str, **changes: Any) -> Request:
        fields: dict[str, Any] = {
            "root": str(self.root),
            "output": str(self.place / "output"),
            "resolv_conf": str(self.place / "resolv.conf"),
            "hosts": str(self.place / "hosts"),
        }
        return Request(**{**fields, "argv": argv, **changes})

    def run(self, *argv: str, **changes: Any) -> Outcome:
        result = subprocess.run(
            self.command(),
            input=json.dumps(asdict(self.request(*argv, **changes))),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            **self.credentials(),
        )
        return Outcome(**json.loads(result.stdout))

    def shell(self, script: str, **changes: Any) -> Outcome:
        return self.run("/bin/sh", "-c", script, **changes)

    def start(self, request: Request, env: dict[str, str]) -> subprocess.Popen[str]:
        """An executor that is still running the step when this returns, or soon will."""
        with (self.place / "request").open("w+") as stream:
            json.dump(asdict(request), stream)
            stream.seek(0)
            credentials = {**self.credentials(), "env": {**self.credentials()["env"], **env}}
            return subprocess.Popen(
                self.command(),
                stdin=stream,
                stdout=subprocess.DEVNULL,
                text=True,
                preexec_fn=mind_signals,
                **credentials,
            )

    def command(self) -> list[str]:
        return [*self.identity.prefix, interpreter(self.identity), "-B", str(self.place / "driver.py")]

    def credentials(self) -> dict[str, Any]:
        env = {"PYTHONPATH": str(self.place / "package"), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        return {"user": self.identity.uid, "group": self.identity.gid, "extra_groups": [], "env": env}

    def adopt(self, *paths: Path) -> None:
        """Give files that a test has made to the executor's user."""
        for path in paths:
            os.chown(path, self.identity.uid, self.identity.gid, follow_symlinks=False)


def interpreter(identity: Identity) -> str:
    """A Python that the identity may execute: ours, unless it lies in somebody's home."""
    check = "import sys; sys.exit(sys.version_info < (3, 11))"
    for candidate in (sys.executable, "/usr/bin/python3"):
        try:
            subprocess.run([candidate, "-c", check], user=identity.uid, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return candidate
    raise AssertionError(f"no Python 3.11 that user {identity.uid} may execute")


def make_executor(identity: Identity, place: Path) -> Executor:
    """Fill `place` with the package, the driver, a busybox root; all owned by the identity."""
    place.mkdir()
    package = place / "package" / "knarr"
    for name in _PACKAGE_ROOMS:
        shutil.copytree(PACKAGE / name, package / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in _PACKAGE_PARTS:
        shutil.copy(PACKAGE / name, package / name)
    shutil.copy(SUPPORT / "exec_driver.py", place / "driver.py")
    (place / "resolv.conf").write_text("nameserver 192.0.2.53\n")
    (place / "hosts").write_text("192.0.2.1 example\n")
    make_busybox_root(place / "root")
    executor = Executor(identity, place)
    executor.adopt(place, *place.rglob("*"))
    return executor


def make_busybox_root(root: Path) -> None:
    """A root file system with busybox and the paths that a step's mounts need."""
    for name in ("bin", "proc", "sys", "dev", "etc", "tmp"):
        (root / name).mkdir(parents=True)
    for name in ("hosts", "resolv.conf"):
        (root / "etc" / name).touch()
    shutil.copy("/bin/busybox", root / "bin/busybox")
    for applet in APPLETS:
        (root / "bin" / applet).symlink_to("busybox")


@contextmanager
def user_with_subordinate_ids(name: str) -> Iterator[Identity]:
    """A user of the machine with a range in /etc/subuid, for as long as the block lasts.

    Each worker has a user and a range of its own.
    """
    name = f"{name}-{worker_number()}"
    first = 700_000 + worker_number() * 65_536
    ids = f"{first}-{first + 65_535}"
    subprocess.run(["userdel", name], capture_output=True, check=False)  # left by a run that was killed
    _admin("useradd", *_FAR_IDS, "--no-create-home", "--shell", "/bin/false", name)
    try:
        _admin("usermod", "--add-subuids", ids, "--add-subgids", ids, name)
        uid, gid = (int(_admin("id", option, name)) for option in ("-u", "-g"))
        yield Identity("newuidmap", uid, gid)
    finally:
        _admin("userdel", name)


def _admin(*command: str) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def lines_of(text: str, names: Sequence[str]) -> dict[str, str]:
    """The fields of a /proc/PID/status that are in `names`."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {key: value.strip() for key, _, value in pairs if key in names}
