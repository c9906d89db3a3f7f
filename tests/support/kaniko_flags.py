"""The table of kaniko's flags with their effects: builds of its rows, checks of what came out."""

import gzip
import hashlib
import io
import json
import re
import tarfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zstandard

from support.builds import Builds, Result
from support.counting_registry import CountingRegistry
from support.faulty_registry import Answer, Asked
from support.knarr_cli import INTERNAL_ERROR, knarr

TABLE = Path(__file__).resolve().parents[1] / "data/kaniko_flags.json"
DOCKERFILE = "FROM scratch\nCOPY a /a\n"
_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
)
Row = Mapping[str, Any]


def read_table() -> tuple[list[str], list[Row]]:
    """The names of kaniko's flags, and the rows."""
    table = json.loads(TABLE.read_text())
    return table["flags"], table["rows"]


@dataclass(frozen=True)
class Pushed:
    """An image in the registry; `files` is what its own layers bring, `own` how many those are."""

    manifest: Mapping[str, Any]
    config: Mapping[str, Any]
    files: Mapping[str, str]
    own: int
    own_bytes: int


@dataclass
class Bench:
    """Builds rows; `places` are the words that stand in braces in a row."""

    builds: Builds
    counting: CountingRegistry
    places: dict[str, str]
    faults: list[dict[str, Any]] = field(default_factory=list)

    def run(self, row: Row) -> None:
        """Build as the row says, check what it says of that."""
        self._prepare(row)
        for arguments in row.get("before", ()):
            self.builds.run(self._fill(arguments))
        if "wait_s" in row:
            time.sleep(row["wait_s"])
        self.check(row, self._build(row, row["arguments"], row.get("status", 0)))
        if "control" in row:
            self._run_control(row, row["control"])

    def check(self, row: Row, result: Result) -> None:
        self._check_words(row, result)
        self._check_requests(row)
        self._check_files(row)
        self._check_image(row)
        if "tags" in row:
            assert sorted(self.builds.tags(self._repository)) == row["tags"]
        if "cache" in row:
            assert len(self.builds.tags(f"{self._repository}/cache")) == row["cache"]

    def _prepare(self, row: Row) -> None:
        self.places["name"] = self.builds.name(self._repository)
        dockerfile = self._text(row.get("dockerfile", DOCKERFILE))
        context = self.builds.context(dockerfile, {"a": "A", **row.get("files", {})})
        if row.get("archive"):
            with tarfile.open(self.builds.place / "context.tar.gz", "w:gz") as archive:
                archive.add(context, ".")

    def _build(self, row: Row, arguments: Sequence[str], status: int | None) -> Result:
        self.faults = [dict(fault) for fault in row.get("faults", ())]
        self.counting.interfere = self._interfere
        self.counting.forget()
        where = ["{where}"] if row.get("where", True) else []
        context = ["{place}/context"] if row.get("positional", True) else []
        line = self._fill(["build", *context, *where, "-d", "{name}:1", *arguments])
        environment = {name: self._text(value) for name, value in row.get("environment", {}).items()}
        if status is not None:
            return self.builds.run(line, environment=environment, status=status)
        return self._failed(line, environment)

    def _failed(self, line: list[str], environment: dict[str, str]) -> Result:
        done = knarr(line, environment={"KNARR_DIR": str(self.builds.work), **environment})
        assert 0 < done.returncode < INTERNAL_ERROR, done.stderr
        return Result(done.returncode, done.stdout, done.stderr)

    def _run_control(self, row: Row, control: Mapping[str, Any]) -> None:
        """The same build without the flag must come to something else."""
        before = self._image(row) if control.get("larger") else None
        assert control["remove"] in row["arguments"]
        arguments = [each for each in row["arguments"] if each != control["remove"]]
        result = self._build(row, [*arguments, *control["insert"]], control["status"])
        self._check_words(control, result)
        self._check_requests(control)
        if before is not None:
            assert self._image(row).own_bytes > before.own_bytes

    def _interfere(self, asked: Asked) -> Answer | None:
        for fault in self.faults:
            if fault["method"] == asked.method and asked.path.endswith(fault["path"]) and fault["times"]:
                fault["times"] -= 1
                return Answer(fault["status"], json.dumps(fault.get("body", {})).encode())
        return None

    def _check_words(self, row: Row, result: Result) -> None:
        for words in row.get("says", ()):
            assert re.search(self._pattern(words), result.log), result.log
        for words in row.get("silent", ()):
            assert words not in result.log + result.output
        if "stdout" in row:
            assert re.match(self._pattern(row["stdout"]), result.output), result.output

    def _check_requests(self, row: Row) -> None:
        lines = [f"{each.method} {each.path}" for each in self.counting.exchanges]
        for wanted in row.get("asked", ()):
            assert any(line.startswith(wanted) for line in lines), lines
        for unwanted in row.get("not_asked", ()):
            assert not any(line.startswith(unwanted) for line in lines), lines

    def _check_files(self, row: Row) -> None:
        for name, pattern in row.get("files_after", {}).items():
            path = self.builds.place / name
            if pattern is None:
                assert list(path.iterdir()) == [], "a work directory is left empty"
            else:
                assert re.search(self._pattern(pattern), path.read_bytes().decode(errors="replace"))

    def _check_image(self, row: Row) -> None:
        if not {"config", "manifest", "holds", "layers"} & row.keys():
            return
        image = self._image(row)
        for kind, found in (("config", image.config), ("manifest", image.manifest)):
            for path, value in row.get(kind, {}).items():
                assert _value(found, path) == value
        for path, content in row.get("holds", {}).items():
            assert image.files.get(path) == content
        if "layers" in row:
            assert image.own == row["layers"]

    def _image(self, row: Row) -> Pushed:
        repository = self._repository
        get = self.builds.registry.get
        manifest = json.loads(get(f"{repository}/manifests/1", {"Accept": _MANIFESTS}))
        config = json.loads(get(f"{repository}/blobs/{manifest['config']['digest']}"))
        is_based = "FROM scratch" not in row.get("dockerfile", DOCKERFILE)
        own = manifest["layers"][row.get("base_layers", int(is_based)) :]
        blobs = [get(f"{repository}/blobs/{layer['digest']}") for layer in own]
        files = {name: text for blob in blobs for name, text in _files(blob)}
        return Pushed(manifest, config, files, len(own), sum(map(len, blobs)))

    @property
    def _repository(self) -> str:
        return f"kaniko/{self.builds.place.name.lower()}"

    def _fill(self, texts: Sequence[str]) -> list[str]:
        host = self.places["host"]
        where = [f"--registry-map=docker.io={host}", f"--insecure-registry={host}"]
        filled: list[str] = []
        for text in texts:
            filled += where if text == "{where}" else [self._text(text)]
        return filled

    def _text(self, text: str) -> str:
        for name, value in self.places.items():
            text = text.replace(f"{{{name}}}", value)
        return text

    def _pattern(self, pattern: str) -> str:
        for name, value in self.places.items():
            pattern = pattern.replace(f"{{{name}}}", re.escape(value))
        return pattern.replace("{digest}", self._digest()) if "{digest}" in pattern else pattern

    def _digest(self) -> str:
        data = self.builds.registry.get(f"{self._repository}/manifests/1", {"Accept": _MANIFESTS})
        return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _files(blob: bytes) -> list[tuple[str, str]]:
    is_gzip = blob[:2] == b"\x1f\x8b"
    data = gzip.decompress(blob) if is_gzip else zstandard.ZstdDecompressor().decompressobj().decompress(blob)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = [(each.name, archive.extractfile(each)) for each in archive if each.isfile()]
        return [(name, file.read().decode()) for name, file in members if file is not None]


def _value(found: Any, path: str) -> Any:
    """What is at a path of names with dots between them; "~" stands for a dot in a name."""
    for name in path.split("."):
        found = found[int(name)] if name.isdigit() else found[name.replace("~", ".")]
    return found
