"""Whole builds in this process, with a fake backend and without a registry but one in memory."""

import gzip
import io
import os
import shlex
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from knarr.builder.build import Build
from knarr.builder.cache.decisions import Decisions
from knarr.builder.plan.plan import Plan
from knarr.builder.request.cache_settings import CacheRules, CacheSettings
from knarr.builder.request.contexts import ContextKey, LayoutContext, NamedContext
from knarr.builder.request.request import BuildRequest, Outputs
from knarr.builder.roots.backend import StepCommand
from knarr.builder.run.tools import open_tools
from knarr.builder.sources.context import read_source
from knarr.errors import RunError
from knarr.exec.abilities import Abilities
from knarr.images.image import Image
from knarr.oci.reference import Reference
from knarr.progress import (
    CacheJudged,
    Event,
    Note,
    StageEnded,
    StageStarted,
    StepEnded,
    StepStarted,
)
from knarr.registry.client import Client
from support.fake_backend import PLAIN, FakeBackend, Run
from support.image_layout import Member
from support.planned_keys import AMD64, write_base
from support.registry_images import Events

CREATED_S = 1_700_000_000
ALL_LAYERS = CacheRules(copy_layers=True)
_WHITEOUT = ".wh."


@dataclass
class OpenedBuild:
    """A build that is open, its tools in `build`; what it reported is in `events`."""

    build: Build
    backend: FakeBackend
    events: list[Event]

    def decisions(self, plan: Plan) -> Decisions:
        """What the cache has of a plan, unsound layers found."""
        return self.build.decide(plan)

    def execute(self) -> Image:
        """Plan, decide, do the work."""
        plan = self.build.resolve()
        return self.build.execute(plan, self.build.decide(plan))

    def layers(self, image: Image) -> list[dict[str, str]]:
        """The files of each layer as text, directories with None left out; deletions by their own names."""
        return [self._files(image, number) for number in range(len(image.layers))]

    def files(self, image: Image) -> dict[str, str]:
        """The files of an image as text, by path."""
        found: dict[str, str] = {}
        for layer in self.layers(image):
            for path, text in layer.items():
                directory, _, name = path.rpartition("/")
                if name.startswith(_WHITEOUT):
                    gone = f"{directory}/{name.removeprefix(_WHITEOUT)}".lstrip("/")
                    found = {each: old for each, old in found.items() if each != gone}
                else:
                    found[path] = text
        return found

    @property
    def ran(self) -> list[str]:
        """The scripts of the RUN steps that were run."""
        return [command.argv[-1] for command in self.backend.ran]

    @property
    def opened(self) -> int:
        """How many root file systems were extracted."""
        return self.backend.events.count("extract")

    @property
    def warnings(self) -> list[str]:
        """What was warned of."""
        return warnings_of(self.events)

    @property
    def told(self) -> list[str]:
        """The events of stages and steps in short: `stage 0`, `hit 0/1`, `step 0/1`, `step ended 0/1`."""
        return [text for event in self.events if (text := _short(event))]

    def judged(self) -> dict[str, str]:
        """What was said of the cache by step: `hit`, or why not."""
        found = [event for event in self.events if isinstance(event, CacheJudged)]
        return {event.step: "hit" if event.is_hit else event.reason for event in found}

    def _files(self, image: Image, number: int) -> dict[str, str]:
        with self.build.tools.blobs.open_packed(image.layers[number]) as packed:
            data = gzip.decompress(packed.read())
        found: dict[str, str] = {}
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isreg() else None
                if file is not None:
                    found[member.name] = file.read().decode()
        return found


def carry_out(root: Path, command: StepCommand) -> None:
    """Do what a shell form says: `write PATH TEXT`, `copy FROM TO`, `remove PATH` or `fail STATUS`.

    `copy` finds files of mounts.
    """
    word, *arguments = shlex.split(command.argv[-1])
    if word == "fail":
        raise RunError(f"failed: {command.argv}", status=int(arguments[0]))
    if word == "write":
        _write(root, arguments[0], arguments[1])
    elif word == "copy":
        _write(root, arguments[1], _find(root, command, arguments[0]).read_text())
    elif word == "remove":
        (root / arguments[0].lstrip("/")).unlink()
    else:
        raise RunError(f"no such step: {command.argv}", status=127)


@dataclass
class Workshop:
    """A directory with a build context, a base image called `base`, a place for each build's work.

    RUN steps are the words that `carry_out` knows.
    """

    place: Path
    contexts: dict[str, NamedContext] = field(default_factory=dict)
    builds: int = 0

    @classmethod
    def make(cls, place: Path, *, config: Mapping[str, object] | None = None) -> "Workshop":
        """One with a base that has the file `etc/base` and this run configuration."""
        (place / "context").mkdir()
        layout = write_base(place / "base", [Member("etc/base", content=b"base")], config=config)
        return cls(place, {"base": LayoutContext(layout)})

    @property
    def context(self) -> Path:
        """The build context."""
        return self.place / "context"

    def write(self, files: Mapping[str, str]) -> None:
        """Write files of the context."""
        for name, text in files.items():
            path = self.context / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def cache(self, place: Path | Reference | None = None, rules: CacheRules = ALL_LAYERS) -> CacheSettings:
        """A layer cache, by default in a directory."""
        return CacheSettings(place or self.place / "cache", 3600, rules)

    def request(self, dockerfile: str, **changes: Any) -> BuildRequest:
        """A request with a new work directory."""
        self.write({"Dockerfile": dockerfile})
        work = self.place / f"work{self.builds}"
        work.mkdir()
        self.builds += 1
        properties: dict[str, Any] = {
            "outputs": Outputs(),
            "created_s": CREATED_S,
            "platform": AMD64,
            "build_args": {},
            "contexts": {ContextKey(name): context for name, context in self.contexts.items()},
            **changes,
        }
        return BuildRequest(
            context=self.context, dockerfile=self.context / "Dockerfile", work_dir=work, **properties
        )

    @contextmanager
    def open(
        self, dockerfile: str, *, abilities: Abilities = PLAIN, run: Run = carry_out, **changes: Any
    ) -> Iterator[OpenedBuild]:
        """Open a build whose RUN steps `run` carries out; `changes` are properties of its request."""
        request, events = self.request(dockerfile, **changes), Events()
        with (
            Client(reporter=events, sleep=_no_time) as client,
            FakeBackend(run, request.work_dir / "roots", abilities) as backend,
        ):
            source = read_source(request, events)
            with open_tools(request, source, backend, client, events) as tools:
                yield OpenedBuild(Build(request, source, tools), backend, events.events)

    def plan(self, dockerfile: str, **changes: Any) -> Plan:
        """The plan of a build."""
        with self.open(dockerfile, **changes) as opened:
            return opened.build.resolve()


def warnings_of(events: Sequence[Event]) -> list[str]:
    """The texts of the warnings."""
    return [event.text for event in events if isinstance(event, Note) and event.level == "warning"]


def _no_time(_seconds: float) -> None:
    """Between attempts."""


def _write(root: Path, name: str, text: str) -> None:
    """Write a file at a time that is always the same: so is its layer then."""
    path = root / name.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    for each in (path, *path.parents[: len(path.relative_to(root).parts)]):
        os.utime(each, (CREATED_S, CREATED_S))


def _find(root: Path, command: StepCommand, path: str) -> Path:
    for mount in command.mounts:
        target = str(mount.target)
        if mount.source is not None and (path == target or path.startswith(f"{target}/")):
            return mount.source / path.removeprefix(target).lstrip("/")
    return root / path.lstrip("/")


def _short(event: Event) -> str:
    match event:
        case StageStarted():
            return f"stage {event.stage}"
        case StageEnded():
            return f"stage ended {event.stage}"
        case StepStarted():
            return f"step {event.step}"
        case StepEnded():
            return f"step ended {event.step}"
        case CacheJudged():
            return f"{'hit' if event.is_hit else 'miss'} {event.step}"
        case _:
            return ""
