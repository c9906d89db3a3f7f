"""Values that are CSV records of `key=value`, as buildx has them."""

import csv
import io
from collections.abc import Mapping, Sequence

from knarr_action.errors import ActionError


def read_fields(name: str, value: str) -> Sequence[str]:
    """The fields of a record; `name` is whose it is. Raises ActionError."""
    try:
        (fields,) = csv.reader([value], strict=True)
    except (csv.Error, ValueError) as error:
        raise ActionError(
            f"{name}: can't split {value!r} at its commas", hint="look at its quotes"
        ) from error
    return fields


def read_record(name: str, value: str) -> Mapping[str, str]:
    """The same with keys, in lower case. Raises ActionError."""
    record = {}
    for field in read_fields(name, value):
        key, equals, text = field.partition("=")
        if not equals or not key.strip():
            raise ActionError(f"{name}: there is no key=value in {field!r}", hint="write key=value,key=value")
        record[key.strip().lower()] = text
    return record


def write_record(record: Mapping[str, str]) -> str:
    """The text of a record, quoted where it has to be."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(f"{key}={value}" for key, value in record.items())
    return text.getvalue()
