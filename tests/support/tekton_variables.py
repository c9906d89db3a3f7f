"""Variables in Tekton's resources, replaced as its controller does (pipeline docs, variables.md)."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

VARIABLE = re.compile(r"\$\(([A-Za-z][A-Za-z0-9._-]*)(\[\*\])?\)")

Value = str | Sequence[str]


class VariableError(AssertionError):
    """A variable that nothing is known about, or that stands where its kind can't."""


def replaced(value: Any, variables: Mapping[str, Value]) -> Any:
    """The same with all variables replaced; an array takes the place of the item that it is."""
    if isinstance(value, str):
        return _text(value, variables)
    if isinstance(value, list):
        return [each for item in value for each in _items(item, variables)]
    if isinstance(value, dict):
        return {key: replaced(each, variables) for key, each in value.items()}
    return value


def _items(item: Any, variables: Mapping[str, Value]) -> Sequence[Any]:
    whole = VARIABLE.fullmatch(item) if isinstance(item, str) else None
    if whole is None or not whole[2]:
        return [replaced(item, variables)]
    values = _value(whole[1], variables)
    if isinstance(values, str):
        raise VariableError(f"{item} is no array")
    return values


def _text(text: str, variables: Mapping[str, Value]) -> str:
    def one(match: re.Match[str]) -> str:
        value = _value(match[1], variables)
        if match[2] or not isinstance(value, str):
            raise VariableError(f"{match[0]} is an array within a text: {text}")
        return value

    return VARIABLE.sub(one, text)


def _value(name: str, variables: Mapping[str, Value]) -> Value:
    if name not in variables:
        raise VariableError(f"nothing is known about $({name})")
    return variables[name]
