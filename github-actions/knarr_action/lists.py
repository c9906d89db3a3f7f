"""Lists in inputs, read as docker/build-push-action reads them: CSV records, whose quotes may be anywhere.

Its reader is csv-parse with `relax_quotes`, `relax_column_count` and `skip_empty_lines`. This one gives the
same, but for three things that make no sense there: a line that begins with `#` is a comment, one of spaces
is nothing, and every kind of newline ends a record.
"""

from collections.abc import Iterator, Sequence

from knarr_action.errors import ActionError

_NEWLINES = "\r\n"
_HINT = 'write "" for a quote within quotes, or leave out the quote at the beginning'


def read_list(
    name: str, text: str, *, at_commas: bool = False, quotes: bool = True, strips: bool = True
) -> Sequence[str]:
    """The values of an input: one a record, or one between commas as well where `at_commas` is set.

    In double quotes a value may have newlines. Raises ActionError where such a quote is never closed.
    """
    values = [
        value
        for record in _records(name, text, quotes=quotes)
        for value in _values(record, at_commas=at_commas)
    ]
    return [value.strip() if strips else value for value in values if value.strip()]


def _values(record: Sequence[str], *, at_commas: bool) -> Sequence[str]:
    if not at_commas:
        return [",".join(record)]
    # A quoted field that stands alone is split all the same.
    return record[0].split(",") if len(record) == 1 else record


def _records(name: str, text: str, *, quotes: bool) -> Iterator[Sequence[str]]:
    position = 0
    while position < len(text):
        end = _line_end(text, position)
        if text[position:end].lstrip().startswith("#"):
            position = end + 1
            continue
        record = []
        while True:
            field, position = _field(name, text, position, quotes=quotes)
            record.append(field)
            if text[position : position + 1] != ",":
                break
            position += 1
        position += 1
        yield record


def _field(name: str, text: str, start: int, *, quotes: bool) -> tuple[str, int]:
    """The field that begins there, and where it ends: at a comma, a newline, or the text's end."""
    if not quotes or text[start : start + 1] != '"':
        end = _field_end(text, start)
        return text[start:end], end
    inside, position = _quoted(name, text, start + 1)
    end = _field_end(text, position)
    # Text behind the closing quote: then both quotes are part of the value.
    return (f'"{inside}"{text[position:end]}' if end > position else inside), end


def _quoted(name: str, text: str, start: int) -> tuple[str, int]:
    """What is in quotes, whose first is before `start`, and the place behind the last."""
    position = start
    while True:
        position = text.find('"', position)
        if position < 0:
            # Not the text itself: it may be part of a secret.
            raise ActionError(f"the input {name} has a quote that is never closed", hint=_HINT)
        if text[position + 1 : position + 2] != '"':
            return text[start:position].replace('""', '"'), position + 1
        position += 2


def _field_end(text: str, start: int) -> int:
    return min(_line_end(text, start), _found(text, ",", start))


def _line_end(text: str, start: int) -> int:
    return min(_found(text, newline, start) for newline in _NEWLINES)


def _found(text: str, character: str, start: int) -> int:
    position = text.find(character, start)
    return position if position >= 0 else len(text)
