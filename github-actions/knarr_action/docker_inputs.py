"""Inputs of docker/build-push-action that mean something else here, or nothing.

An action is not even told of inputs that it doesn't declare, so these are declared.
"""

from collections.abc import Callable, Mapping

from knarr_action.errors import ActionError
from knarr_action.inputs import Inputs

_OFF = ("", "false")
_ENTITLEMENTS = ("network.host", "security.insecure")
_NETWORKS = ("", "default", "host", "none")
_ATTESTED = "leave it out, or give it false; actions/attest takes the digest"

_Check = Callable[[Inputs, str], bool]


def check_docker_inputs(inputs: Inputs) -> None:
    """Raise ActionError for what would make another result than it does there.

    `builder`, `github-token` and `pull` change none: there is one builder, there are no git contexts, and
    base images are always looked up.
    """
    for name, (is_fine, hint) in _CHECKS.items():
        if not is_fine(inputs, name):
            raise ActionError(f"the input {name}: knarr has no {_shown(inputs, name)}", hint=hint)


def _is_off(inputs: Inputs, name: str) -> bool:
    return inputs.text(name).lower() in _OFF


def _has_no_attestation(inputs: Inputs, name: str) -> bool:
    """Also `type=sbom,disabled=true`, buildx's long way to say it."""
    return all("disabled=true" in value.replace(" ", "").split(",") for value in inputs.list(name))


def _is_build(inputs: Inputs, name: str) -> bool:
    return inputs.text(name) in ("", "build")


def _is_network(inputs: Inputs, name: str) -> bool:
    return inputs.text(name) in _NETWORKS


def _is_allowed(inputs: Inputs, name: str) -> bool:
    """What is allowed changes nothing by itself; the Dockerfile has to ask for it, too."""
    return all(value in _ENTITLEMENTS for value in inputs.list(name))


def _shown(inputs: Inputs, name: str) -> str:
    text = " ".join(inputs.text(name).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


_CHECKS: Mapping[str, tuple[_Check, str]] = {
    "allow": (_is_allowed, f"it takes {' and '.join(_ENTITLEMENTS)}"),
    "attests": (_has_no_attestation, _ATTESTED),
    "call": (_is_build, "knarr check FILE looks for problems, in a step of its own"),
    "cgroup-parent": (_is_off, "where Docker starts knarr: docker-options: --cgroup-parent=NAME"),
    "network": (
        _is_network,
        "it is RUN's network: default, host or none; that of the container: docker-options: --network=NAME",
    ),
    "provenance": (_is_off, _ATTESTED),
    "sbom": (_is_off, _ATTESTED),
}
