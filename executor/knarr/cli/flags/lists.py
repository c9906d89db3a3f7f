"""Names for several values of a repeatable flag in a row, up to `--end`."""

from collections.abc import Mapping
from types import MappingProxyType

LISTS: Mapping[str, str] = MappingProxyType(
    {
        "add-hosts": "add-host",
        "annotations": "annotation",
        "build-args": "build-arg",
        "build-contexts": "build-context",
        "cache-froms": "cache-from",
        "destinations": "destination",
        "extra-tags": "extra-tag",
        "images": "image",
        "insecure-registries": "insecure-registry",
        "labels": "label",
        "no-cache-filters": "no-cache-filter",
        "outputs": "output",
        "registry-maps": "registry-map",
        "registry-mirrors": "registry-mirror",
        "result-files": "result-file",
        "secrets": "secret",
        "skip-tls-verify-registries": "skip-tls-verify-registry",
        "ulimits": "ulimit",
    }
)
"""A Tekton array can only be spliced whole: `--build-args`, `$(params.BUILD_ARGS[*])`, `--end`."""
