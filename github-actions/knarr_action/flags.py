"""The inputs of a step to the arguments of the executor."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from knarr_action.annotations import join_levels
from knarr_action.docker_inputs import check_docker_inputs
from knarr_action.errors import ActionError
from knarr_action.exports import Exports
from knarr_action.inputs import Inputs
from knarr_action.layer_cache import cache_flags
from knarr_action.names import with_lower_case
from knarr_action.secrets import read_secrets
from knarr_action.workflow import Warn

_REPEATED: Mapping[str, str] = {
    "build-args": "build-arg",
    "build-contexts": "build-context",
    "ssh": "ssh",
    "add-hosts": "add-host",
    "no-cache-filters": "no-cache-filter",
    "ulimit": "ulimit",
}
"""Lists whose values go to a flag as they are."""
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://|git@|\{\{")


@dataclass(frozen=True)
class Call:
    """One run of the executor: its arguments, and variables that are added for it."""

    arguments: Sequence[str]
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    loaded: Sequence[Mapping[str, str]] = ()
    """Outputs for Docker to load, which lack their `dest`."""
    network: str = "host"
    """That of the container."""


def build_call(inputs: Inputs, environment: Mapping[str, str], warn: Warn) -> Call:
    """`knarr build` for the inputs of the action `build`. Raises ActionError."""
    check_docker_inputs(inputs)
    exports = Exports.of(inputs)
    secrets, variables = read_secrets(inputs, warn)
    arguments = [
        "build",
        f"--context={_context(inputs)}",
        f"--dockerfile={inputs.text('file')}",
        f"--target={inputs.text('target')}",
        f"--custom-platform={_platform(inputs)}",
        *(f"--destination={with_lower_case(name)}" for name in inputs.list("tags")),
        # Before those of the user, whose values count.
        *_proxies(environment),
        *(f"--label={label if '=' in label else f'{label}='}" for label in inputs.list("labels")),
        *(f"--{flag}={value}" for name, flag in _REPEATED.items() for value in inputs.list(name)),
        *_annotations(inputs),
        *_given(inputs, "network", "shm-size"),
        *secrets,
        *cache_flags(inputs, warn),
        *exports.flags,
        "--github-output=true",
        *inputs.list("extra-args"),
    ]
    return Call(arguments, variables, exports.loaded)


def index_call(inputs: Inputs) -> Call:
    """`knarr index` for the inputs of the action `index`. Raises ActionError."""
    images = [with_lower_case(name) for name in inputs.list("images")]
    if not images:
        raise ActionError("the input images is empty", hint="it takes the images of the index, one a line")
    return Call(
        [
            "index",
            *images,
            *(f"--destination={with_lower_case(name)}" for name in inputs.list("tags")),
            *_annotations(inputs),
            "--github-output=true",
            *inputs.list("extra-args"),
        ],
        network=inputs.text("network") or "host",
    )


def _given(inputs: Inputs, *names: str) -> Iterator[str]:
    for name in names:
        if inputs.text(name):
            yield f"--{name}={inputs.text(name)}"


def _annotations(inputs: Inputs) -> Iterator[str]:
    for value in join_levels(inputs.list("annotations")):
        yield f"--annotation={value}"


def _context(inputs: Inputs) -> str:
    context = inputs.text("context") or "."
    if _URL.match(context):
        raise ActionError(
            f"the context {context} is no directory", hint="fetch it with actions/checkout, then context: ."
        )
    return context


def _platform(inputs: Inputs) -> str:
    platforms = inputs.list("platforms")
    if len(platforms) > 1:
        raise ActionError(
            f"platforms names {len(platforms)} platforms, and knarr emulates none",
            hint="build each in a job of a matrix, on a runner of that platform, then use the action index",
        )
    return "".join(platforms)


def _proxies(environment: Mapping[str, str]) -> Iterator[str]:
    """For RUN; they get into no image."""
    for name in _PROXIES:
        for spelled in (name, name.lower()):
            if environment.get(spelled):
                yield f"--build-arg={spelled}"
