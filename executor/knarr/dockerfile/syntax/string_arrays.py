"""The JSON form of arguments: `["a", "b"]`."""

import json
import re

from knarr.dockerfile.syntax.text import BLANKS
from knarr.errors import DockerfileError

_SURROGATE = re.compile("[\ud800-\udfff]")


def parse_string_array(text: str) -> tuple[str, ...] | None:
    """The strings of a JSON array, or None where the text is none: it is then in shell form.

    Raises DockerfileError (without a location) for valid JSON whose elements are not all strings.
    """
    text = text.strip(BLANKS)
    if not text.startswith("["):
        return None
    try:
        array = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(element, str) for element in array):
        raise DockerfileError("when using JSON array syntax, arrays must be comprised of strings only")
    # Half of a surrogate pair can be written in JSON, but not in UTF-8.
    return tuple(_SURROGATE.sub("\ufffd", element) for element in array)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
