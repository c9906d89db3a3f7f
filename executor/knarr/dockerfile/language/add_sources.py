"""The sources of one ADD, with what its flags say of the remote ones."""

import re
from dataclasses import replace

from knarr.dockerfile.language.instructions import Add
from knarr.dockerfile.language.remote_sources import (
    GitSource,
    HttpSource,
    check_git_source,
    parse_remote_source,
)
from knarr.errors import CorruptError, DockerfileError
from knarr.oci.digest import Digest

AddSource = str | HttpSource | GitSource
"""A path of the build context, a download or a repository."""

_HEX = re.compile(r"[a-fA-F0-9]{1,64}")


def add_sources(add: Add) -> tuple[AddSource, ...]:
    """The sources in order; variables must be replaced already.

    Raises DockerfileError for --checksum on anything but one remote source, for one that can't be, and for
    --keep-git-dir without a repository.
    """
    remotes = [parse_remote_source(text) for text in add.sources]
    if add.checksum is not None:
        if len(remotes) != 1:
            raise DockerfileError("checksum can't be specified for multiple sources")
        if remotes[0] is None:
            raise DockerfileError("checksum requires HTTP(S) or Git sources")
    if add.keep_git_dir is not None and not any(isinstance(remote, GitSource) for remote in remotes):
        raise DockerfileError("--keep-git-dir requires a Git source")
    pairs = zip(add.sources, remotes, strict=True)
    return tuple(text if remote is None else _with_flags(remote, add) for text, remote in pairs)


def _with_flags(remote: HttpSource | GitSource, add: Add) -> HttpSource | GitSource:
    if isinstance(remote, GitSource):
        return _git_with_flags(remote, add)
    if add.checksum is not None:
        try:
            Digest.parse(add.checksum)
        except CorruptError as error:
            raise DockerfileError(
                f"ADD --checksum={add.checksum}: {error.message}", hint="write sha256: and 64 hex digits"
            ) from error
    return replace(remote, checksum=add.checksum)


def _git_with_flags(source: GitSource, add: Add) -> GitSource:
    if None not in (add.keep_git_dir, source.keep_git_dir) and add.keep_git_dir != source.keep_git_dir:
        raise DockerfileError("inconsistent keep-git-dir configuration")
    if add.checksum and source.checksum and add.checksum != source.checksum:
        raise DockerfileError(f'checksum mismatch "{add.checksum}" != "{source.checksum}"')
    checksum = source.checksum or add.checksum or ""
    if checksum and not _HEX.fullmatch(checksum):
        raise DockerfileError(f"invalid checksum {checksum} for Git URL, expected hex commit hash")
    keep = add.keep_git_dir if source.keep_git_dir is None else source.keep_git_dir
    complete = replace(source, checksum=checksum.lower(), keep_git_dir=keep)
    check_git_source(complete)
    return complete
