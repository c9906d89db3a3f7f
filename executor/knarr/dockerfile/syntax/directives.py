"""Parser directives: the `# key=value` comments at the top of a Dockerfile.

`syntax`, `escape` and `check` are known. The first line that is no known directive ends them: a blank line,
an ordinary comment, an unknown directive or an instruction; a later `# escape=` is a comment.
"""

import json
import re
from dataclasses import dataclass

from knarr.dockerfile.syntax.text import BLANKS
from knarr.errors import DockerfileError

KNOWN_DIRECTIVES = frozenset({"syntax", "escape", "check"})
ESCAPES = frozenset({"\\", "`"})

_DIRECTIVE = re.compile(r"([a-zA-Z][a-zA-Z0-9]*)[\t\n\f\r ]*=[\t\n\f\r ]*(.+?)[\t\n\f\r ]*")


@dataclass(frozen=True, slots=True)
class Directives:
    """What the directives said; `syntax` is the frontend image's reference, `check` the raw lint options."""

    escape: str = "\\"
    syntax: str | None = None
    check: str | None = None


def parse_directive(line: str, *, comment: str = "#") -> tuple[str, str] | None:
    """The lower-case key and the value of a line that is a known directive, else None."""
    if not line.startswith(comment):
        return None
    match = _DIRECTIVE.fullmatch(line[len(comment) :].lstrip(BLANKS))
    if match is None or match[1].lower() not in KNOWN_DIRECTIVES:
        return None
    return match[1].lower(), match[2]


def check_escape(value: str) -> str:
    """The escape character; raises DockerfileError without a location."""
    if value not in ESCAPES:
        raise DockerfileError(f"invalid escape token {value!r}", hint="the escape directive takes \\ or `")
    return value


def detect_directive(key: str, text: str, *, foreign: bool = False) -> str | None:
    r"""The value of one directive, a shebang line skipped; `foreign` also as `//key=` and JSON `{"key":`.

    This is how the frontend image is found, in files that need not be Dockerfiles. It never raises.
    """
    if text.startswith("#!"):
        text = text.partition("\n")[2]
    for comment in ("#", "//") if foreign else ("#",):
        for line in text.split("\n"):
            directive = parse_directive(line.rstrip("\r"), comment=comment)
            if directive is None:
                break
            if directive[0] == key:
                return directive[1]
    return _detect_in_json(key, text) if foreign and text.lstrip(BLANKS).startswith("{") else None


def _detect_in_json(key: str, text: str) -> str | None:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    value = document.get(key) if isinstance(document, dict) else None
    return value if isinstance(value, str) else None
