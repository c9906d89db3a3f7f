"""The git program, run so that nothing of a repository is executed."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO
from urllib.parse import unquote

from knarr.builder.request.git_program import GitProgram
from knarr.builder.sources.remote_auth import GitAuth
from knarr.errors import ContextError
from knarr.registry.http.locations import shown

PROTOCOLS = ("git", "http", "https", "ssh")
"""Never ext, which runs commands, and never file, which reads what is on this machine."""

_TIMEOUT_S = 3600
_MAX_OUTPUT_BYTES = 16 * 1024 * 1024
_MAX_MESSAGE_BYTES = 2000
_CONFIG: Mapping[str, str] = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.attributesFile": os.devnull,
    "core.excludesFile": os.devnull,
    "credential.helper": "",
    "protocol.ext.allow": "never",
    "protocol.file.allow": "never",
    "fetch.recurseSubmodules": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "init.defaultBranch": "master",
    "init.templateDir": "",
    "advice.detachedHead": "false",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "60",
}
_ENVIRONMENT: Mapping[str, str] = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "",
    "GIT_SSH_COMMAND": f"ssh -F {os.devnull} -o BatchMode=yes",
    # Where git's HTTP library looks for .netrc.
    "HOME": os.devnull,
    "LC_ALL": "C",
}
_HINTS = (
    (
        "could not read Username",
        "the repository is private, or not there: --secret id=GIT_AUTH_TOKEN,src=FILE has a token for ADD",
    ),
    ("Authentication failed", "the credentials of the URL, or of the secret for ADD, are refused"),
    (
        "returned error: 30",
        "use the URL it leads to: GIT_AUTH_HEADER follows no redirect",
    ),
    ("Host key verification failed", "add the host to ~/.ssh/known_hosts of the user who builds"),
    ("Permission denied", "ssh takes keys from an agent (--ssh default, or SSH_AUTH_SOCK) or from ~/.ssh"),
    ("cannot run ssh", "install ssh beside git, or use an https URL"),
    ("not found", "check the URL"),
    ("transport", "knarr fetches over git, http, https and ssh only, from submodules too"),
)


class GitFailedError(ContextError):
    """A git command ended with an error; `output` is what it said."""

    def __init__(self, message: str, *, output: str, hint: str | None) -> None:
        super().__init__(message, hint=hint)
        self.output = output


class Git:
    """Commands on one repository, in a directory of ours. No hook, filter or helper is run, no user asked."""

    def __init__(self, program: GitProgram, directory: Path, *, remote: str, auth: GitAuth) -> None:
        """Raises ContextError where there is no git. `auth` is shown to the remote's origin only."""
        if program.path is None:
            raise ContextError(
                f"ADD {remote}: a repository is fetched by git, which is not installed here",
                hint="use an image of knarr with git, or fetch it before the build, then COPY it",
            )
        self._path = program.path
        self._inherited = program.environment
        self._directory = directory
        self._remote = remote
        self._auth = auth

    def run(self, arguments: Sequence[str], *, doing: str, protocols: Sequence[str] = ()) -> str:
        """What the command prints. Raises GitFailedError with what git says, `doing` follows "can't"."""
        place = self._directory.parent
        with tempfile.TemporaryFile(dir=place) as out, tempfile.TemporaryFile(dir=place) as errors:
            try:
                status = self._wait(arguments, protocols, out, errors)
            except OSError as error:
                raise ContextError(f"can't run {self._path}: {error.strerror}") from error
            except subprocess.TimeoutExpired as error:
                raise ContextError(
                    f"can't {doing} of {self._remote}: git took longer than {_TIMEOUT_S} s"
                ) from error
            if status == 0:
                out.seek(0)
                return out.read(_MAX_OUTPUT_BYTES).decode(errors="surrogateescape")
            raise self._failure(doing, status, errors)

    def _wait(
        self, arguments: Sequence[str], protocols: Sequence[str], out: IO[bytes], errors: IO[bytes]
    ) -> int:
        process = subprocess.Popen(
            [str(self._path), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=errors,
            cwd=self._directory,
            env=self._environment(protocols),
            umask=0o022,
            start_new_session=True,
        )
        try:
            return process.wait(_TIMEOUT_S)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise

    def _environment(self, protocols: Sequence[str]) -> dict[str, str]:
        config = dict(_CONFIG)
        # Not in the repository's own config, which may get into the image.
        scheme, _, rest = self._remote.partition("://")
        host = rest.partition("/")[0]
        if self._auth.userinfo:
            config[f"url.{scheme}://{self._auth.userinfo}@{host}/.insteadOf"] = f"{scheme}://{host}/"
        if self._auth.header:
            config[f"http.{scheme}://{host}/.extraHeader"] = f"Authorization: {self._auth.header}"
            # To where a redirect leads git would send the header, too.
            config[f"http.{scheme}://{host}/.followRedirects"] = "false"
        environment = {**self._inherited, **_ENVIRONMENT}
        environment["GIT_ALLOW_PROTOCOL"] = ":".join(protocols) or "none"
        environment["GIT_CEILING_DIRECTORIES"] = str(self._directory.parent)
        environment["GIT_CONFIG_COUNT"] = str(len(config))
        for number, (key, value) in enumerate(config.items()):
            environment[f"GIT_CONFIG_KEY_{number}"] = key
            environment[f"GIT_CONFIG_VALUE_{number}"] = value
        return environment

    def _failure(self, doing: str, status: int, errors: IO[bytes]) -> GitFailedError:
        errors.seek(0, os.SEEK_END)
        errors.seek(max(0, errors.tell() - _MAX_MESSAGE_BYTES))
        output = self._hide_credentials(errors.read().decode(errors="replace"))
        lines = [line.strip() for line in output.splitlines() if line.strip()]
        said = shown("; ".join(lines), limit=1000) or f"status {status}"
        hint = next((hint for sign, hint in _HINTS if sign in output), None)
        return GitFailedError(f"can't {doing} of {self._remote}: {said}", output=output, hint=hint)

    def _hide_credentials(self, text: str) -> str:
        userinfo, header = self._auth.userinfo, self._auth.header
        user, _, password = userinfo.partition(":")
        token = header.rpartition(" ")[2]
        for secret in (userinfo, password, unquote(password), user, unquote(user), header, token):
            if len(secret) > 3 or (secret and secret in (userinfo, header)):
                text = text.replace(secret, "***")
        return text
