"""Flags of kaniko that are refused, each with what to do instead; none is ignored."""

from collections.abc import Mapping
from types import MappingProxyType

REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "bucket": "fetch the context from the bucket in a step before (rclone), "
        "give its directory to --context",
        "git": "clone in a step before (git clone --depth, --branch), give the directory to --context",
        "materialize": "write the image with --oci-layout-path or --tar-path, unpack that: "
        "the files of an image never stay in the container that builds it",
    }
)
