"""Programs that keep credentials: the docker-credential-* protocol."""

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NOT_FOUND = "credentials not found"
_MAX_ANSWER = 256 * 1024


@dataclass(frozen=True, slots=True)
class HelperAnswer:
    """What a helper said; without a secret, `note` says why where that is not simply "none kept"."""

    username: str = ""
    secret: str = field(default="", repr=False)
    note: str | None = None


@dataclass(frozen=True, slots=True)
class CredentialHelpers:
    """Where helper programs are, and what they run with."""

    search_path: str = ""
    """Directories as in PATH; empty: no helper can be run."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_s: float = 30.0
    _known: dict[tuple[str, str], HelperAnswer] = field(default_factory=dict, repr=False, compare=False)
    _sealed: threading.Event = field(default_factory=threading.Event, repr=False, compare=False)

    def seal(self) -> None:
        """Run no program any more, what is known stays: from now on somebody else may have put it there."""
        self._sealed.set()

    def has(self, helper: str) -> bool:
        """Whether there is such a program."""
        return self._path(helper) is not None

    def get(self, helper: str, server: str) -> HelperAnswer:
        """Ask `docker-credential-HELPER get`; never raises, a helper that fails is a note."""
        known = self._known.get((helper, server))
        if known is not None and self._sealed.is_set():
            return known
        result = self._run(helper, "get", server.encode())
        if isinstance(result, str):
            return HelperAnswer(note=result)
        program = f"docker-credential-{helper}"
        if result.returncode != 0:
            return _failure(program, result)
        answer = _parse(program, result.stdout)
        if answer.secret:
            self._known[helper, server] = answer
        return answer

    def store(self, helper: str, server: str, username: str, secret: str) -> str | None:
        """Have `docker-credential-HELPER store` keep credentials; what went wrong, or None."""
        document = {"ServerURL": server, "Username": username, "Secret": secret}
        result = self._run(helper, "store", json.dumps(document).encode())
        if isinstance(result, str):
            return result
        return (
            f"docker-credential-{helper} failed with status {result.returncode}"
            if result.returncode
            else None
        )

    def _run(self, helper: str, verb: str, sent: bytes) -> "subprocess.CompletedProcess[bytes] | str":
        program = f"docker-credential-{helper}"
        path = self._path(helper)
        if self._sealed.is_set():
            return f"{program[:100]} was not asked: by now a step of the build may have changed it"
        if path is None:
            return f"the credential helper {program[:100]} is not installed"
        try:
            return subprocess.run(
                [path, verb],
                input=sent,
                capture_output=True,
                timeout=self.timeout_s,
                env=dict(self.environment),
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"{program} did not answer within {self.timeout_s:g} s"
        except OSError as error:
            return f"{program} can't be run: {error.strerror}"

    def _path(self, helper: str) -> str | None:
        if not self.search_path or not _NAME.fullmatch(helper):
            return None
        return shutil.which(f"docker-credential-{helper}", path=self.search_path)


def _failure(program: str, result: subprocess.CompletedProcess[bytes]) -> HelperAnswer:
    said = (result.stdout + result.stderr)[:300].decode(errors="replace").strip()
    if _NOT_FOUND in said.lower():
        return HelperAnswer()
    # What it said is not shown: a helper in trouble may print what it was about to answer.
    return HelperAnswer(note=f"{program} failed with status {result.returncode}")


def _parse(program: str, output: bytes) -> HelperAnswer:
    try:
        value = json.loads(output) if len(output) <= _MAX_ANSWER else None
    except ValueError:
        value = None
    if not isinstance(value, dict):
        return HelperAnswer(note=f"{program} gave no JSON object")
    return HelperAnswer(str(value.get("Username") or ""), str(value.get("Secret") or ""))
