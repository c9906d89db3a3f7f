"""The result of `knarr check` as text for people, as JSON for programs.

The JSON has the fields of `docker build --call=check,format=json`, so that what reads that reads this.
"""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from knarr.dockerfile.language.remote_sources import without_credentials
from knarr.dockerfile.lint.rules import Finding
from knarr.errors import DockerfileError

_LANGUAGE = "Dockerfile"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What was found in a file; `error` is what ended the checks early."""

    file: str
    data: bytes
    findings: tuple[Finding, ...]
    error: DockerfileError | None = None


def as_text(result: CheckResult) -> str:
    """`FILE:LINE: RULE: DETAIL` with the rule's page and the lines below, then a count."""
    lines = [line for finding in result.findings for line in _describe(finding, result)]
    count = len(result.findings)
    verdict = "no warnings" if count == 0 else "1 warning" if count == 1 else f"{count} warnings"
    if result.error is None:
        lines.append(f"Check complete, {verdict} found.")
    return "".join(f"{line}\n" for line in lines)


def as_json(result: CheckResult) -> str:
    """One JSON object: `warnings`, `sources`, `buildError` where there was one."""
    document: dict[str, Any] = {
        "warnings": [_warning(finding) for finding in result.findings],
        "sources": [
            {
                "filename": result.file,
                "language": _LANGUAGE,
                "data": base64.b64encode(result.data).decode(),
            }
        ],
    }
    if result.error is not None:
        place = result.error.location
        location = _location(place.line, place.line) if place is not None else {}
        document["buildError"] = {"message": result.error.message, "location": location}
    return json.dumps(document, indent=2) + "\n"


def _describe(finding: Finding, result: CheckResult) -> Iterator[str]:
    first, last = finding.location.line, finding.end_line
    yield f"{result.file}:{first}: {finding.rule.name}: {finding.detail}"
    if finding.rule.url:
        yield f"  {finding.rule.url}"
    source = result.data.decode("utf-8", "replace").split("\n")[first - 1 : last]
    for number, line in enumerate(source, start=first):
        yield f"  {number:4} | {without_credentials(line.rstrip())}"
    yield ""


def _warning(finding: Finding) -> dict[str, Any]:
    fields = {
        "ruleName": finding.rule.name,
        "description": finding.rule.description,
        "url": finding.rule.url,
        "detail": finding.detail,
    }
    location = _location(finding.location.line, finding.end_line)
    return {**{name: text for name, text in fields.items() if text}, "location": location}


def _location(first: int, last: int) -> dict[str, Any]:
    return {"ranges": [{"start": {"line": first}, "end": {"line": last}}]}
