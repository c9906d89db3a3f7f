"""One record of comma-separated values, as Go's `encoding/csv` reads it."""

import re

from knarr.errors import DockerfileError

_FIELD = re.compile(r'"((?:[^"]|"")*)"(?=,|$)|([^",]*)(?=,|$)')


def split_fields(text: str) -> tuple[str, ...]:
    """The fields; `""` inside a quoted field is one quote. Raises DockerfileError without a location."""
    fields: list[str] = []
    position = 0
    while True:
        match = _FIELD.match(text, position)
        if match is None:
            raise DockerfileError(
                f"failed to parse csv {text!r}",
                hint='a field with a comma or a quote is quoted whole: "key=a,b"; quotes in it are doubled',
            )
        fields.append(match[2] if match[1] is None else match[1].replace('""', '"'))
        position = match.end()
        if position == len(text):
            return tuple(fields)
        position += 1
