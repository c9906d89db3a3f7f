"""Where the image goes: the inputs `push`, `load` and `outputs` to flags."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from knarr_action.errors import ActionError
from knarr_action.inputs import Inputs
from knarr_action.names import with_lower_case
from knarr_action.records import read_record, write_record

_TO_REGISTRIES = ("image", "registry")
_ARTIFACTS = ("oci", "tar")
"""Without a place of their own they go to standard output."""


@dataclass(frozen=True)
class Exports:
    """What is done with the image: flags of `knarr build`, and records of archives that Docker loads."""

    flags: Sequence[str]
    loaded: Sequence[Mapping[str, str]] = ()
    """Each lacks its `dest`."""

    @classmethod
    def of(cls, inputs: Inputs) -> "Exports":
        """What the inputs ask for, put together as buildx does. Raises ActionError.

        Kinds and attributes that knarr lacks are for knarr to refuse.
        """
        records = [_read(value) for value in inputs.list("outputs")]
        to_registries = [record for record in records if record.get("type") in _TO_REGISTRIES]
        is_pushed = inputs.is_true("push")
        if is_pushed:
            for record in to_registries:
                record["push"] = "true"
        if len(to_registries) == 1 and set(to_registries[0]) <= {"type", "push"}:
            (only,) = to_registries
            records.remove(only)
            is_pushed = only.get("push", str(only["type"] == "registry").lower()) == "true"
        elif to_registries:
            is_pushed = True  # or as they say
        loaded = [record for record in records if record.get("type") == "docker" and not record.get("dest")]
        kinds = [record.get("type") for record in records]
        written = [
            output_flag(record, is_only=kinds.count(record.get("type")) == 1)
            for record in records
            if record not in loaded
        ]
        if inputs.is_true("load") and not loaded:
            loaded = [{"type": "docker"}]
        return cls([*([] if is_pushed else ["--no-push=true"]), *written], loaded)


def output_flag(record: Mapping[str, str], *, is_only: bool) -> str:
    """The old flag for the only one of its kind, where it says as much: executors of before have it, too."""
    if is_only and record.keys() == {"type", "dest"} and record["type"] == "docker":
        return f"--tar-path={record['dest']}"
    if is_only and record == {"type": "oci", "tar": "false", "dest": record.get("dest")}:
        return f"--oci-layout-path={record['dest']}"
    return f"--output={write_record(record)}"


def _read(value: str) -> dict[str, str]:
    if "=" not in value:  # buildx's short forms, `DIRECTORY` and `-`
        record = {"type": "tar" if value == "-" else "local", "dest": value}
    else:
        record = dict(read_record("outputs", value))
    kind, place = record.get("type"), record.get("dest", "")
    if place == "-" or (kind in _ARTIFACTS and not place):
        raise ActionError(f"outputs: {value} goes to the log", hint=f"type={kind},dest=FILE")
    if "name" in record:
        record["name"] = ",".join(with_lower_case(name.strip()) for name in record["name"].split(","))
    return record
