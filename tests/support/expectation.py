"""What a case's `expected.json` says of the image, or of the error, that its build must give."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.compare import FRESH_FROM_S
from support.flatten import FileFacts, FlatImage
from support.image_layout import BASE_MTIME_S

BUILDKIT_REVISION = "73ed6825c"
"""Of 21 August 2026: what `buildkit` means in `checked_with` and `differs_from`."""
BUILDERS = ("docker", "buildah", "buildkit")

_DEFAULT_MODES: Mapping[str, str] = {"dir": "0755", "symlink": "0777"}
_IMAGE_FIELDS = ("os", "architecture", "variant", "author")
_FACTS = frozenset(
    {"kind", "mode", "owner", "text", "sha256", "target", "device", "xattrs", "hard_links", "mtime"}
)


@dataclass(frozen=True, slots=True)
class ExpectedError:
    """How a build is refused: exit status, a part of what is said, where in the Dockerfile.

    `caret` is how the Dockerfile goes on from the place that the caret points at.
    """

    status: int
    message: str
    line: int | None = None
    caret: str | None = None

    def differences(self, status: int, output: str, dockerfile: str) -> Iterator[str]:
        """Give a line for what a failed build said otherwise."""
        if status != self.status:
            yield f"status: expected {self.status}, got {status}"
        if self.message not in output:
            yield f"message: expected {self.message!r} in it"
        if self.line is not None and f"{dockerfile}:{self.line}" not in output:
            yield f"place: expected {dockerfile}:{self.line}"
        if self.caret is not None and not (_at_caret(output) or "").startswith(self.caret):
            yield f"caret: expected at {self.caret!r}, got {_at_caret(output)!r}"


@dataclass(frozen=True, slots=True)
class Expectation:
    """One `expected.json`; `why` names the rules it follows from.

    `files` are all that differ from the image `base` (`scratch` is nothing), `absent` those that are not
    there, `config` the run configuration's properties that differ, Env by name; `image` those beside it.
    `history` is `created_by` of the build's own entries. `output` is what the build says on the way.
    `checked_with` are the builders that were seen to give the same, or to refuse for the same reason.
    `docker` (20.10, its BuildKit 0.8) and `buildah` are asked again by tests; `buildkit` was asked once, at
    BUILDKIT_REVISION.
    `differs_from` says of a builder why it gives something else.
    """

    why: str
    base: str = "busybox"
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    absent: Sequence[str] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    image: Mapping[str, str] = field(default_factory=dict)
    history: Sequence[str] | None = None
    output: Sequence[str] = ()
    error: ExpectedError | None = None
    checked_with: Sequence[str] = ()
    differs_from: Mapping[str, str] = field(default_factory=dict)
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "Expectation":
        """Read one; an unknown key raises TypeError or ValueError."""
        values: dict[str, Any] = json.loads(path.read_text())
        if unknown := {*values.get("checked_with", ()), *values.get("differs_from", {})} - set(BUILDERS):
            raise ValueError(f"{path}: unknown builders {sorted(unknown)}")
        if "error" in values:
            values["error"] = ExpectedError(**values["error"])
        for name, facts in values.get("files", {}).items():
            if unknown := facts.keys() - _FACTS:
                raise ValueError(f"{path}: {name} has unknown keys {sorted(unknown)}")
        return cls(**values)

    def differences(self, base: FlatImage, image: FlatImage, *, directory_times: bool = True) -> list[str]:
        """Give a line for everything in which the image is not as written.

        `directory_times` is false for a builder that loses the times of the directories it copies.
        """
        return [
            *self._file_differences(base.files, image.files, directory_times=directory_times),
            *_value_differences("config", self.config, _changed(base, image)),
            *_value_differences("image", self.image, self._image_fields(image)),
        ]

    def history_differences(self, base: FlatImage, image: FlatImage) -> Iterator[str]:
        """Give a line for what the build's own history says otherwise."""
        known = len(base.config.get("history") or [])
        found = [entry.get("created_by", "") for entry in (image.config.get("history") or [])[known:]]
        if self.history is not None and found != list(self.history):
            yield f"history: expected {self.history}, got {found}"

    def _file_differences(
        self, base: Mapping[str, FileFacts], files: Mapping[str, FileFacts], *, directory_times: bool
    ) -> Iterator[str]:
        changed = {path for path, facts in files.items() if path != "/" and not _same(base.get(path), facts)}
        gone = {path for path in base if path not in files}
        for path in sorted(changed | self.files.keys()):
            expected, found = self.files.get(path), files.get(path)
            if expected is None:
                yield f"{path}: not expected to be new or changed: {found}"
            elif found is None:
                yield f"{path}: missing"
            else:
                with_time = directory_times or found.kind != "dir"
                yield from (
                    f"{path}: {line}" for line in _fact_differences(expected, found, with_time=with_time)
                )
        yield from (f"{path}: not expected to be there" for path in self.absent if path in files)
        for path in sorted(gone):
            if not any(path == absent or path.startswith(f"{absent}/") for absent in self.absent):
                yield f"{path}: of the base image, not expected to be gone"

    def _image_fields(self, image: FlatImage) -> Mapping[str, str]:
        return {key: str(image.config.get(key)) for key in self.image if key in _IMAGE_FIELDS}


def _same(base: FileFacts | None, facts: FileFacts) -> bool:
    """Whether a path is as in the base image; a directory's time changes with what is put into it."""
    if base is not None and base.kind == facts.kind == "dir":
        return (base.mode, base.uid, base.gid, base.xattrs) == (
            facts.mode,
            facts.uid,
            facts.gid,
            facts.xattrs,
        )
    return base == facts


def _fact_differences(expected: Mapping[str, Any], found: FileFacts, *, with_time: bool) -> Iterator[str]:
    kind = expected.get("kind", "file")
    pairs: dict[str, tuple[object, object]] = {
        "kind": (kind, found.kind),
        "mode": (expected.get("mode", _DEFAULT_MODES.get(kind, "0644")), f"{found.mode:04o}"),
        "owner": (expected.get("owner", "0:0"), f"{found.uid}:{found.gid}"),
        "target": (expected.get("target", ""), found.target),
        "device": (expected.get("device", ""), found.device),
        "xattrs": (dict(expected.get("xattrs", {})), _shown_xattrs(found)),
        "hard_links": (tuple(expected.get("hard_links", ())), found.hard_links),
    }
    if kind == "symlink":
        del pairs["mode"]  # Linux gives it no meaning
    if kind == "file":
        if "sha256" in expected:
            pairs["sha256"] = (expected["sha256"], found.sha256)
        else:
            text = str(expected["text"])
            pairs["text"] = (text, found.text)
            pairs["size"] = (len(text.encode()), found.size_bytes)  # no text is shown of a long file
    for name, (wanted, value) in pairs.items():
        if wanted != value:
            yield f"{name}: expected {wanted!r}, got {value!r}"
    if with_time and not _is_time(expected.get("mtime"), found.mtime_s):
        yield f"mtime: expected {expected['mtime']}, got {found.mtime_s}"


def _is_time(wanted: object, mtime_s: int) -> bool:
    if wanted is None:
        return True
    if wanted == "build":
        return mtime_s >= FRESH_FROM_S
    return mtime_s == (BASE_MTIME_S if wanted == "source" else wanted)


def _shown_xattrs(facts: FileFacts) -> Mapping[str, str]:
    """Text where it is text, or else hexadecimal digits behind `0x`."""
    shown = {}
    for name, digits in facts.xattrs.items():
        text = bytes.fromhex(digits).decode("utf-8", "replace")
        shown[name] = text if text.isprintable() else f"0x{digits}"
    return shown


def _changed(base: FlatImage, image: FlatImage) -> Mapping[str, Any]:
    """The run configuration's properties that differ from the base's; empty, null or absent are the same."""
    mine, theirs = base.config.get("config") or {}, image.config.get("config") or {}
    changed: dict[str, Any] = {
        key: theirs.get(key) or None
        for key in mine.keys() | theirs.keys()
        if key != "Env" and (mine.get(key) or None) != (theirs.get(key) or None)
    }
    before, after = _environment(base), _environment(image)
    names = [*after, *(name for name in before if name not in after)]
    env = {name: after.get(name) for name in names if before.get(name) != after.get(name)}
    return {**changed, **({"Env": env} if env else {})}


def _environment(image: FlatImage) -> Mapping[str, str]:
    pairs = ((image.config.get("config") or {}).get("Env")) or []
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def _value_differences(what: str, expected: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted(expected.keys() | found.keys()):
        if expected.get(key) != found.get(key):
            yield f"{what} {key}: expected {expected.get(key)!r}, got {found.get(key)!r}"


def _at_caret(output: str) -> str | None:
    """The source line that an error shows, from its caret on."""
    lines = output.splitlines()
    for source, caret in itertools.pairwise(lines):
        if caret.startswith("  | ") and caret.endswith("^"):
            return source[len(caret) - 1 :]
    return None
