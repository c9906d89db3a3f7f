"""Variables in Tekton's resources, replaced as its controller does (pipeline docs, variables.md)."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

VARIABLE = re.compile(r"\$\(([A-Za-z][A-Za-z0-9._-]*)(\[(?:\*|\d+)\])?\)")
_LIKE_ONE = re.compile(r"\$\((?:context|finally|params|results|steps?|tasks|workspaces)[.\[]")

_OF_KUBERNETES = re.compile(r"\$(?:\$|\(([^)]*)\))")

Value = str | Sequence[str] | Mapping[str, str]


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


def replaced_whole(value: Any, variables: Mapping[str, Value]) -> Any:
    """The same for the value of a parameter or result, which `$(NAME[*])` alone makes an array or object."""
    whole = VARIABLE.fullmatch(value) if isinstance(value, str) else None
    if whole is None or whole[2] != "[*]":
        return replaced(value, variables)
    found = _value(whole[1], variables)
    if isinstance(found, str):
        raise VariableError(f"{value} is a text")
    return found


def expanded(text: str, environment: Mapping[str, str]) -> str:
    """A container's argument as the kubelet gives it: `$(NAME)` of known variables, `$$` for one `$`."""

    def one(match: re.Match[str]) -> str:
        if match[1] is None:
            return "$"
        return environment.get(match[1], match[0])

    return _OF_KUBERNETES.sub(one, text)


def _items(item: Any, variables: Mapping[str, Value]) -> Sequence[Any]:
    whole = VARIABLE.fullmatch(item) if isinstance(item, str) else None
    if whole is None or whole[2] != "[*]":
        return [replaced(item, variables)]
    values = _value(whole[1], variables)
    if isinstance(values, str | Mapping):
        raise VariableError(f"{item} is no array")
    return values


def _text(text: str, variables: Mapping[str, Value]) -> str:
    def one(match: re.Match[str]) -> str:
        value = _value(match[1], variables)
        if match[2] and match[2] != "[*]" and not isinstance(value, str | Mapping):
            return value[int(match[2][1:-1])]
        if match[2] or not isinstance(value, str):
            raise VariableError(f"{match[0]} is an array or object within a text: {text}")
        return value

    if (unknown := _LIKE_ONE.search(VARIABLE.sub("", text))) is not None:
        raise VariableError(f"a variable of this form is not known here: {text[unknown.start() :]}")
    return VARIABLE.sub(one, text)


def _value(name: str, variables: Mapping[str, Value]) -> Value:
    if name in variables:
        return variables[name]
    owner, _, key = name.rpartition(".")
    value = variables.get(owner)
    if not isinstance(value, Mapping) or key not in value:
        raise VariableError(f"nothing is known about $({name})")
    return value[key]
