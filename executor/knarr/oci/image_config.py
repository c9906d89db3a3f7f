"""The image config: what a container runs with, and how the image came about (image-spec config.md)."""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from knarr.errors import CorruptError
from knarr.oci.digest import Digest
from knarr.oci.go_json import Keys, ListOf, MapOf, Struct, Text, Value, shaped
from knarr.oci.manifest import decode_json_object, encode_json
from knarr.oci.platform import Platform

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class History:
    """How one instruction changed the image; `created` is RFC 3339, None where the base didn't say."""

    created: str | None = None
    created_by: str | None = None
    comment: str | None = None
    author: str | None = None
    empty_layer: bool = False

    @classmethod
    def parse(cls, value: object) -> "History":
        """Read a decoded JSON object."""
        if not isinstance(value, dict):
            raise CorruptError("an entry of the image's history is not a JSON object")
        text = {key: value[key] for key in ("created", "created_by", "comment", "author") if value.get(key)}
        return cls(
            **{key: str(item) for key, item in text.items()}, empty_layer=value.get("empty_layer") is True
        )

    def to_json(self) -> dict[str, Any]:
        """The JSON object without what is empty."""
        names = ("created", "created_by", "author", "comment")
        result: dict[str, Any] = {
            name: getattr(self, name) for name in names if getattr(self, name) is not None
        }
        if self.empty_layer:
            result["empty_layer"] = True
        return result


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """An image config; properties that Knarr doesn't know are kept as the base image has them.

    `document` and what it holds are never changed in place: each `with_` method returns a new value.
    """

    document: Mapping[str, Any]

    @classmethod
    def parse(cls, data: bytes) -> "ImageConfig":
        """Read a config blob, as encoding/json does: what is null is not there.

        Raises CorruptError where a property that a build reads has a wrong type.
        """
        document = shaped(decode_json_object(data, "the image config"), _DOCUMENT)
        result = cls(document)
        _check(document)
        return result

    @classmethod
    def scratch(cls, platform: Platform) -> "ImageConfig":
        """The config of an image with nothing in it."""
        document: dict[str, Any] = {"architecture": platform.architecture, "os": platform.os}
        if platform.variant:
            document["variant"] = platform.variant
        document["config"] = {"Env": [f"PATH={DEFAULT_PATH}"], "WorkingDir": "/"}
        document["rootfs"] = {"type": "layers", "diff_ids": []}
        return cls(document)

    @property
    def run(self) -> Mapping[str, Any]:
        """The `config` property: what a container starts with."""
        value = self.document.get("config")
        return value if isinstance(value, dict) else {}

    @property
    def platform(self) -> Platform:
        """The platform that the image says it is for."""
        return Platform.normalised(
            str(self.document.get("os") or "linux"),
            str(self.document.get("architecture") or "amd64"),
            str(self.document.get("variant") or ""),
            str(self.document.get("os.version") or ""),
        )

    @property
    def diff_ids(self) -> tuple[Digest, ...]:
        """Digests of the uncompressed layers, the lowest first."""
        rootfs = self.document.get("rootfs")
        values = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
        return tuple(Digest.parse(str(value)) for value in values or ())

    @property
    def history(self) -> tuple[History, ...]:
        """One entry an instruction, the first first."""
        return tuple(History.parse(value) for value in self.document.get("history") or ())

    @property
    def env(self) -> dict[str, str]:
        """The environment in the config's order; an entry without `=` counts as set to nothing."""
        result: dict[str, str] = {}
        for item in self.run.get("Env") or ():
            name, _, value = str(item).partition("=")
            if name:
                result[name] = value
        return result

    @property
    def user(self) -> str:
        """`user[:group]` as written; empty for root."""
        return str(self.run.get("User") or "")

    @property
    def working_dir(self) -> str:
        """Absolute path of the working directory."""
        value = str(self.run.get("WorkingDir") or "/")
        return value if value.startswith("/") else f"/{value}"

    @property
    def shell(self) -> tuple[str, ...] | None:
        """The SHELL of shell forms; None where the image has none of its own."""
        value = self.run.get("Shell")
        return tuple(str(item) for item in value) if value else None

    @property
    def onbuild(self) -> tuple[str, ...]:
        """The triggers for a build on this image."""
        return tuple(str(item) for item in self.run.get("OnBuild") or ())

    def as_base(self) -> "ImageConfig":
        """What a build on this image starts from: without what only its own making left behind."""
        document = {name: value for name, value in self.document.items() if name not in _OF_ITS_MAKING}
        document["config"] = {name: value for name, value in self.run.items() if name not in _OF_A_CONTAINER}
        return ImageConfig(document)

    def with_run(self, **properties: object) -> "ImageConfig":
        """The same with these properties of `config` set; one that is None is removed."""
        run = dict(self.run)
        for name, value in properties.items():
            if value is None:
                run.pop(name, None)
            else:
                run[name] = value
        return self.with_property("config", run)

    def with_property(self, name: str, value: object) -> "ImageConfig":
        """The same with one top-level property set, or removed where value is None."""
        document = dict(self.document)
        if value is None:
            document.pop(name, None)
        else:
            document[name] = copy.deepcopy(value)
        return ImageConfig(document)

    def with_env(self, env: Mapping[str, str]) -> "ImageConfig":
        """The same with this environment, in the mapping's order."""
        return self.with_run(Env=[f"{name}={value}" for name, value in env.items()])

    def with_history(self, entry: History) -> "ImageConfig":
        """The same with one more history entry."""
        return self.with_property("history", [*(self.document.get("history") or ()), entry.to_json()])

    def with_diff_ids(self, diff_ids: Iterable[Digest]) -> "ImageConfig":
        """The same over these layers, the lowest first; the history is the caller's affair."""
        wanted = tuple(diff_ids)
        if wanted == self.diff_ids:
            return self
        return self.with_property("rootfs", {"type": "layers", "diff_ids": [str(each) for each in wanted]})

    def with_layer(self, diff_id: Digest, entry: History) -> "ImageConfig":
        """The same with one more layer on top, and its history entry."""
        diff_ids = [*(str(item) for item in self.diff_ids), str(diff_id)]
        return self.with_property("rootfs", {"type": "layers", "diff_ids": diff_ids}).with_history(entry)

    def with_labels(self, labels: Iterable[tuple[str, str]]) -> "ImageConfig":
        """The same with these labels added or replaced."""
        merged = {**(self.run.get("Labels") or {}), **dict(labels)}
        return self.with_run(Labels=merged) if merged else self

    def to_bytes(self) -> bytes:
        """The config blob; the same value always gives the same bytes."""
        return encode_json(_ordered(self.document))


_OF_ITS_MAKING = frozenset(
    {"id", "parent", "container", "container_config", "docker_version", "comment", "Size"}
)
_OF_A_CONTAINER = frozenset(
    "AttachStderr AttachStdin AttachStdout Domainname Hostname Image MacAddress NetworkDisabled OpenStdin "
    "StdinOnce Tty".split()
)
"""Properties of Docker's older configs that a container had, not the image."""
_RUN = Struct(
    {
        "User": Text(),
        "ExposedPorts": Keys(),
        "Env": ListOf(Text()),
        "Entrypoint": ListOf(Text()),
        "Cmd": ListOf(Text()),
        "Volumes": Keys(),
        "WorkingDir": Text(),
        "Labels": MapOf(Text()),
        "StopSignal": Text(),
        "ArgsEscaped": Value(),
        "Healthcheck": Value(),
        "OnBuild": ListOf(Text()),
        "Shell": ListOf(Text()),
    }
)
_HISTORY = Struct(
    {
        "created": Text(),
        "created_by": Text(),
        "author": Text(),
        "comment": Text(),
        "empty_layer": Value(),
    }
)
_DOCUMENT = Struct(
    {
        "architecture": Text(),
        "variant": Text(),
        "os": Text(),
        "os.version": Text(),
        "os.features": ListOf(Text()),
        "created": Text(),
        "author": Text(),
        "config": _RUN,
        "rootfs": Struct({"type": Text(), "diff_ids": ListOf(Text())}),
        "history": ListOf(_HISTORY),
    }
)
_ORDER = ("architecture", "variant", "os", "os.version", "os.features", "created", "author", "config")
_RUN_TYPES: Mapping[str, tuple[type, ...]] = {
    "Env": (list,),
    "Labels": (dict,),
    "ExposedPorts": (dict,),
    "Volumes": (dict,),
    "Entrypoint": (list,),
    "Cmd": (list,),
    "Shell": (list,),
    "OnBuild": (list,),
    "User": (str,),
    "WorkingDir": (str,),
    "StopSignal": (str,),
    "Healthcheck": (dict,),
}


def _ordered(document: Mapping[str, Any]) -> dict[str, Any]:
    last = ("rootfs", "history")
    middle = sorted(name for name in document if name not in _ORDER and name not in last)
    names = [
        *(name for name in _ORDER if name in document),
        *middle,
        *(name for name in last if name in document),
    ]
    result = {name: document[name] for name in names}
    if isinstance(result.get("config"), dict):
        result["config"] = dict(sorted(result["config"].items()))
    return result


def _check(document: Mapping[str, Any]) -> None:
    run = document.get("config")
    if run is not None and not isinstance(run, dict):
        raise CorruptError("the image config's `config` is not a JSON object")
    for name, kinds in _RUN_TYPES.items():
        value = (run or {}).get(name)
        if value is not None and not isinstance(value, kinds):
            raise CorruptError(f"the image config's {name} has the wrong type")
    rootfs = document.get("rootfs")
    if rootfs is not None and (
        not isinstance(rootfs, dict) or not isinstance(rootfs.get("diff_ids") or [], list)
    ):
        raise CorruptError("the image config's rootfs has the wrong type")
    if not isinstance(document.get("history") or [], list):
        raise CorruptError("the image config's history is not a list")
