"""Where the image goes: the inputs `push`, `load` and `outputs` to flags."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from knarr_action.errors import ActionError
from knarr_action.inputs import Inputs

_KINDS = "type=registry, type=image, type=docker,dest=FILE and type=oci,tar=false,dest=DIRECTORY"


@dataclass(frozen=True)
class Exports:
    """What is done with the image; paths as the user wrote them, empty where there is none."""

    push: bool
    load: bool
    tar_path: str = ""
    layout_path: str = ""

    @classmethod
    def of(cls, inputs: Inputs) -> "Exports":
        """What the inputs ask for. Raises ActionError."""
        push = inputs.is_true("push")
        paths = {"docker": "", "oci": ""}
        for record in _records(inputs):
            kind = record.get("type", "")
            if kind in paths and _is_usable(record):
                paths[kind] = record["dest"]
            elif kind == "registry" or (kind == "image" and _is_usable(record)):
                push = push or kind == "registry" or record.get("push", "false") == "true"
            else:
                raise ActionError(f"outputs: knarr has no {_shown(record)}", hint=f"there are {_KINDS}")
        return cls(push, inputs.is_true("load"), paths["docker"], paths["oci"])

    def flags(self) -> Iterator[str]:
        """Flags of `knarr build`, but for those of `load`."""
        if not self.push:
            yield "--no-push=true"
        if self.tar_path:
            yield f"--tar-path={self.tar_path}"
        if self.layout_path:
            yield f"--oci-layout-path={self.layout_path}"


def _records(inputs: Inputs) -> Iterator[Mapping[str, str]]:
    for line in inputs.lines("outputs"):
        if "=" not in line:
            raise ActionError(f"outputs: knarr has no {line!r}", hint=f"there are {_KINDS}")
    yield from inputs.records("outputs")


def _is_usable(record: Mapping[str, str]) -> bool:
    kind = record["type"]
    if kind == "image":
        return record.get("push-by-digest", "false") != "true"
    return bool(record.get("dest")) and (kind == "docker" or record.get("tar", "true") == "false")


def _shown(record: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in record.items())
