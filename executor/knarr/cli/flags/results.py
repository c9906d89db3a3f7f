"""Flags that say what the pipeline around a build is told."""

from dataclasses import dataclass
from typing import Annotated

from knarr.cli.flags.kinds import OFF, Switch, switch, value


@dataclass(frozen=True, slots=True)
class ResultFlags:
    """Files that are written after success; a path, /dev/stdout, or an https URL that takes a PUT."""

    digest_file: Annotated[str, value("digest-file", "Write the manifest's digest, after success.")] = ""
    image_name_with_digest_file: Annotated[
        str, value("image-name-with-digest-file", "Write NAME@DIGEST of each destination.")
    ] = ""
    image_name_tag_with_digest_file: Annotated[
        str, value("image-name-tag-with-digest-file", "Write NAME:TAG@DIGEST of each destination.")
    ] = ""
    metadata_file: Annotated[str, value("metadata-file", "Write buildx's JSON about the image.")] = ""
    dotenv_file: Annotated[
        str, value("dotenv-file", "Write IMAGE_DIGEST and more, for a dotenv report of GitLab.")
    ] = ""
    github_output: Annotated[
        Switch, switch("github-output", "Add digest, imageid, metadata to the file that GITHUB_OUTPUT names.")
    ] = OFF
    result_file: Annotated[
        tuple[str, ...],
        value(
            "result-file",
            "NAME=PATH: write IMAGE_URL, IMAGE_DIGEST, IMAGE_REF or IMAGES, of which a build without a push "
            "has the digest; repeatable.",
        ),
    ] = ()
