"""What the process's environment says: where credentials lie, which proxy, which directories."""

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from knarr.builder.request.git_program import GitProgram
from knarr.errors import AuthError
from knarr.exec.bundle import runs_from_image
from knarr.oci.platform import Platform

_FILE_VARIABLES = ("GOOGLE_APPLICATION_CREDENTIALS", "AWS_WEB_IDENTITY_TOKEN_FILE", "SSL_CERT_FILE")
_MAX_CONFIG_BYTES = 1024 * 1024
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_PREFIX = "KNARR_"
_PREFIXED = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_PREFIXED_WHOLLY = ("DOCKER_CONFIG", "SSL_CERT_DIR")
_GIT_VARIABLES = ("PATH", "SSH_AUTH_SOCK", *_PROXIES, *(name.lower() for name in _PROXIES))


@dataclass(frozen=True, slots=True, repr=False)
class CredentialText:
    """The text of a Docker config, with the name of where it came from; never shown whole."""

    data: bytes
    source: str

    def __repr__(self) -> str:
        return f"CredentialText(source={self.source!r})"


def read_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables, those that begin with KNARR_ in the place of some that every program knows.

    In a pod's container `$(HTTP_PROXY)` in an argument is replaced by Kubernetes where a variable is called
    so: what the Tekton Tasks set is called KNARR_HTTP_PROXY, and nobody's value is replaced. An empty
    proxy is none; an empty KNARR_DOCKER_CONFIG or KNARR_SSL_CERT_DIR unsets what the image has set.
    """
    environment = dict(variables)
    for name in (*_PREFIXED, *_PREFIXED_WHOLLY):
        value = environment.pop(_PREFIX + name, None)
        if value:
            environment[name] = value
        elif value is not None and name in _PREFIXED_WHOLLY:
            environment.pop(name, None)
    return environment


def find_docker_config(environment: Mapping[str, str]) -> CredentialText | None:
    """The first credential file that exists, in the order of kaniko; AuthError where it can't be read."""
    for path in config_paths(environment):
        try:
            with path.open("rb") as file:
                data = file.read(_MAX_CONFIG_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise AuthError(
                f"can't read the credentials in {path}: {error.strerror}",
                hint="DOCKER_CONFIG names the directory that holds config.json",
            ) from error
        if len(data) > _MAX_CONFIG_BYTES:
            raise AuthError(f"the credentials in {path} are larger than {_MAX_CONFIG_BYTES} bytes")
        return CredentialText(data, str(path))
    return None


def config_paths(environment: Mapping[str, str]) -> Iterator[Path]:
    """Where files of credentials may be, in the order of kaniko.

    `.dockerconfigjson` is how `kubectl create secret docker-registry` calls the file in a Secret.
    """
    if environment.get("DOCKER_CONFIG"):
        yield Path(environment["DOCKER_CONFIG"], "config.json")
        yield Path(environment["DOCKER_CONFIG"], ".dockerconfigjson")
    home = environment.get("HOME")
    if home and not environment.get("DOCKER_CONFIG"):
        yield Path(home, ".docker", "config.json")
    if environment.get("REGISTRY_AUTH_FILE"):
        yield Path(environment["REGISTRY_AUTH_FILE"])
    if environment.get("XDG_RUNTIME_DIR"):
        yield Path(environment["XDG_RUNTIME_DIR"], "containers", "auth.json")
    if environment.get("XDG_CONFIG_HOME"):
        yield Path(environment["XDG_CONFIG_HOME"], "containers", "auth.json")
    elif home:
        yield Path(home, ".config", "containers", "auth.json")


def auth_config_text(environment: Mapping[str, str]) -> CredentialText | None:
    """The credentials in DOCKER_AUTH_CONFIG, which come before those of a file."""
    text = environment.get("DOCKER_AUTH_CONFIG")
    return CredentialText(text.encode(), "DOCKER_AUTH_CONFIG") if text else None


def work_directory_parent(environment: Mapping[str, str]) -> Path:
    """The directory in which a build makes its own: KNARR_DIR, else TMPDIR, else /var/tmp.

    Not /tmp: it is often kept in memory, and too small for a root file system. In an image of ours it is
    /kaniko: a step of a build in place that empties /tmp or /var/tmp must not empty this.
    """
    if environment.get("KNARR_DIR"):
        return Path(environment["KNARR_DIR"])
    if runs_from_image():
        return Path("/kaniko")
    return Path(environment.get("TMPDIR") or "/var/tmp")


def find_git(environment: Mapping[str, str], agent: Path | None = None) -> GitProgram:
    """The git of PATH with the variables that it may see; SSL_CERT_FILE counts for it too.

    `agent` is the socket of an SSH agent, in the place of SSH_AUTH_SOCK.
    """
    path = shutil.which("git", path=environment.get("PATH", os.defpath))
    passed = {name: environment[name] for name in _GIT_VARIABLES if environment.get(name)}
    if environment.get("SSL_CERT_FILE"):
        passed["GIT_SSL_CAINFO"] = environment["SSL_CERT_FILE"]
    if agent is not None:
        passed["SSH_AUTH_SOCK"] = str(agent)
    return GitProgram(Path(path).absolute() if path else None, passed)


def named_files(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Files and directories that variables name, to be read at any time of a build."""
    return tuple(Path(environment[name]).absolute() for name in _FILE_VARIABLES if environment.get(name))


def is_kaniko(program: str | None = None) -> bool:
    """Whether a program of this name was started in place of one of kaniko's; None for this process's own."""
    name = os.path.basename(sys.argv[0] if sys.argv else "") if program is None else program
    return name in ("executor", "warmer")


def this_platform() -> Platform:
    """The platform of the machine, in Go's names."""
    machine = os.uname()
    return Platform.normalised("linux", machine.machine)
