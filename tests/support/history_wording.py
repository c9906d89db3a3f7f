"""Reduces a history entry's `created_by` to what BuildKit 0.8 says in the same words as its successors."""

import re
from collections.abc import Callable, Mapping

_FLAG = re.compile(r" --[a-z]+=\S+")
_PORT = re.compile(r"\d+/[a-z]+")


def common_wording(created_by: str) -> str:
    """Give the words to compare; the configuration says the rest, and is compared by itself."""
    keyword = created_by.split(" ", 1)[0]
    return _REDUCTIONS[keyword](created_by) if keyword in _REDUCTIONS else created_by


def _without_flags(created_by: str) -> str:
    return _FLAG.sub("", created_by)


def _argument_names(created_by: str) -> str:
    """0.8 shows the default of an argument, its successors the value."""
    return created_by.split("=", 1)[0]


def _ports(created_by: str) -> str:
    """0.8 shows Go's map, its successors Go's slice."""
    return f"EXPOSE {_PORT.findall(created_by)}"


_REDUCTIONS: Mapping[str, Callable[[str], str]] = {
    "ADD": _without_flags,
    "ARG": _argument_names,
    "COPY": _without_flags,
    "EXPOSE": _ports,
    "HEALTHCHECK": lambda created_by: created_by.split(" ", 1)[0],
}
