"""Flags that say how registries are reached."""

from dataclasses import dataclass, field
from typing import Annotated

from knarr.cli.flags.kinds import KEEPS_EMPTY, OFF, ON, Switch, switch, value


@dataclass(frozen=True, slots=True)
class RegistryFlags:
    """Schemes, certificates, mirrors, credentials, retries."""

    insecure: Annotated[Switch, switch("insecure", "Push over plain HTTP where HTTPS is not spoken.")] = OFF
    insecure_pull: Annotated[
        Switch, switch("insecure-pull", "Pull over plain HTTP where HTTPS is not spoken.")
    ] = OFF
    insecure_registry: Annotated[
        tuple[str, ...],
        value(
            "insecure-registry", "HOST[:PORT] to reach over plain HTTP where HTTPS is not spoken; repeatable."
        ),
    ] = ()
    insecure_redirect: Annotated[
        tuple[str, ...],
        value(
            "insecure-redirect",
            "HOST[:PORT] that a registry may send on to for blobs, over plain HTTP or at a private address; "
            "repeatable.",
        ),
    ] = ()
    skip_tls_verify: Annotated[Switch, switch("skip-tls-verify", "Check no registry's certificate.")] = OFF
    skip_tls_verify_pull: Annotated[
        Switch, switch("skip-tls-verify-pull", "Check no certificate when pulling.")
    ] = OFF
    skip_tls_verify_registry: Annotated[
        tuple[str, ...],
        value("skip-tls-verify-registry", "HOST[:PORT] whose certificate is not checked; repeatable."),
    ] = ()
    tls_verify: Annotated[
        Switch,
        switch(
            "tls-verify", "Buildah's: false is --insecure and --skip-tls-verify, of pushes and pulls alike."
        ),
    ] = ON
    registry_certificate: Annotated[
        tuple[str, ...],
        value("registry-certificate", "HOST=FILE: a CA to trust for this registry; repeatable."),
    ] = ()
    registry_client_cert: Annotated[
        tuple[str, ...],
        value("registry-client-cert", "HOST=CERTIFICATE,KEY to show to this registry; repeatable."),
    ] = ()
    registry_mirror: Annotated[
        tuple[str, ...],
        value("registry-mirror", "HOST[/PREFIX] to pull from instead of Docker Hub; repeatable."),
    ] = ()
    registry_map: Annotated[
        tuple[str, ...],
        value("registry-map", "REGISTRY=HOST[/PREFIX] to pull from instead; ';' or repeatable."),
    ] = ()
    skip_default_registry_fallback: Annotated[
        Switch, switch("skip-default-registry-fallback", "Pull from mirrors only, where there are any.")
    ] = OFF
    push_retry: Annotated[str, value("push-retry", "Push an image again up to N times.", metavar="N")] = "0"
    image_download_retry: Annotated[
        str, value("image-download-retry", "Read a manifest again up to N times.", metavar="N")
    ] = "0"
    registry_answer_timeout: Annotated[
        str,
        value(
            "registry-answer-timeout",
            "How long a registry may take to answer once it has all bytes of what it is to keep.",
            metavar="DURATION",
        ),
    ] = "30m"
    push_ignore_immutable_tag_errors: Annotated[
        Switch,
        switch("push-ignore-immutable-tag-errors", "Leave a tag that exists and can't be moved as it is."),
    ] = OFF
    skip_push_permission_check: Annotated[
        Switch, switch("skip-push-permission-check", "Don't try first whether a push is allowed.")
    ] = OFF
    credential_helpers: Annotated[
        tuple[str, ...],
        value(
            "credential-helpers",
            "Where to look for credentials after the config file, in order: env, google, ecr, acr, gitlab; "
            "repeatable; empty for none.",
        ),
    ] = field(default=(), metadata=KEEPS_EMPTY)
