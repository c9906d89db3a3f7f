"""The inputs of a step to the arguments of the executor."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from knarr_action.errors import ActionError
from knarr_action.exports import Exports
from knarr_action.inputs import Inputs
from knarr_action.layer_cache import Warn, cache_flags

_REPEATED: Mapping[str, str] = {
    "labels": "label",
    "annotations": "annotation",
    "build-args": "build-arg",
    "build-contexts": "build-context",
    "ssh": "ssh",
}
"""Inputs with a value a line, and the flag that takes one."""
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://|git@|\{\{")


@dataclass(frozen=True)
class Call:
    """One run of the executor: its arguments, and variables that are added for it."""

    arguments: Sequence[str]
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    exports: Exports = field(default_factory=lambda: Exports(push=True, load=False))


def build_call(inputs: Inputs, environment: Mapping[str, str], warn: Warn) -> Call:
    """`knarr build` for the inputs of the action `build`. Raises ActionError."""
    exports = Exports.of(inputs)
    secrets, variables = _secrets(inputs)
    arguments = [
        "build",
        f"--context={_context(inputs)}",
        f"--dockerfile={inputs.text('file')}",
        f"--target={inputs.text('target')}",
        f"--custom-platform={_platform(inputs)}",
        *(f"--destination={with_lower_case(name)}" for name in inputs.items("tags")),
        *(f"--{flag}={line}" for name, flag in _REPEATED.items() for line in inputs.lines(name)),
        *secrets,
        *_proxies(environment),
        *cache_flags(inputs, warn),
        *exports.flags(),
        "--github-output=true",
        *inputs.lines("extra-args"),
    ]
    return Call(arguments, variables, exports)


def index_call(inputs: Inputs) -> Call:
    """`knarr index` for the inputs of the action `index`. Raises ActionError."""
    images = [with_lower_case(name) for name in inputs.items("images")]
    if not images:
        raise ActionError("the input images is empty", hint="it takes the images of the index, one a line")
    return Call(
        [
            "index",
            *images,
            *(f"--destination={with_lower_case(name)}" for name in inputs.items("tags")),
            *(f"--annotation={line}" for line in inputs.lines("annotations")),
            "--github-output=true",
            *inputs.lines("extra-args"),
        ]
    )


def with_lower_case(name: str) -> str:
    """An image's name with its repository in lower case, as registries want it; tag and digest stay."""
    head, at, digest = name.partition("@")
    path, slash, last = head.rpartition("/")
    last, colon, tag = last.partition(":")
    return f"{path.lower()}{slash}{last.lower()}{colon}{tag}{at}{digest}"


def _context(inputs: Inputs) -> str:
    context = inputs.text("context") or "."
    if _URL.match(context):
        raise ActionError(
            f"the context {context} is no directory", hint="fetch it with actions/checkout, then context: ."
        )
    return context


def _platform(inputs: Inputs) -> str:
    platforms = inputs.items("platforms")
    if len(platforms) > 1:
        raise ActionError(
            f"platforms names {len(platforms)} platforms, and knarr emulates none",
            hint="build each in a job of a matrix, on a runner of that platform, then use the action index",
        )
    return "".join(platforms)


def _secrets(inputs: Inputs) -> tuple[Sequence[str], Mapping[str, str]]:
    """Flags, with the variables that carry values: a command line can be seen by other processes."""
    values = inputs.pairs("secrets")
    variables = {f"KNARR_SECRET_{number}": value for number, (_, value) in enumerate(values)}
    flags = [f"--secret=id={id_},env=KNARR_SECRET_{number}" for number, (id_, _) in enumerate(values)]
    flags += [f"--secret=id={id_},env={name.strip()}" for id_, name in inputs.pairs("secret-envs")]
    flags += [f"--secret=id={id_},src={path.strip()}" for id_, path in inputs.pairs("secret-files")]
    return flags, variables


def _proxies(environment: Mapping[str, str]) -> Iterator[str]:
    """For RUN; they get into no image."""
    for name in _PROXIES:
        for spelled in (name, name.lower()):
            if environment.get(spelled):
                yield f"--build-arg={spelled}"
