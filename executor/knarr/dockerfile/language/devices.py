"""One value of `RUN --device`: a CDI device name."""

from dataclasses import dataclass

from knarr.dockerfile.syntax.csv_fields import split_fields
from knarr.dockerfile.syntax.suggest import wrong
from knarr.dockerfile.syntax.text import parse_bool
from knarr.errors import DockerfileError


@dataclass(frozen=True, slots=True)
class Device:
    """A device by name, such as `vendor.com/class=name`; `required` fails the step where it is absent."""

    name: str
    required: bool = False


def parse_device(text: str) -> Device:
    """`name[,required]` or `name=...[,required=bool]`; raises DockerfileError without a location."""
    name = ""
    required = False
    for field in split_fields(text):
        key, equals, value = field.partition("=")
        if key.lower() == "required":
            required = _parse_required(value) if equals else True
        elif key.lower() == "name" and equals:
            if name:
                raise DockerfileError(f"device name already set to {name}")
            name = value
        elif not name:
            name = field  # a CDI name has a "=" of its own
        elif equals:
            raise wrong(f"unexpected key '{key.lower()}' in '{field}'", key, ("name", "required"))
        else:
            raise DockerfileError(f"invalid field '{field}' must be a key=value pair")
    return Device(name, required)


def _parse_required(value: str) -> bool:
    try:
        return parse_bool(value)
    except ValueError:
        raise DockerfileError(f"invalid value for required: {value}") from None
