"""Files and directories that a build writes its image to, as values."""

import enum
from dataclasses import dataclass
from pathlib import Path

from knarr.linux.whole_files import STDOUT, descriptor_of
from knarr.oci.reference import Reference


class ExportKind(enum.Enum):
    """What is written."""

    DOCKER_ARCHIVE = "docker archive"
    """A tarball for `docker load`, an OCI image layout as well."""
    OCI_ARCHIVE = "oci archive"
    OCI_LAYOUT = "oci layout"
    FILES_ARCHIVE = "files archive"
    """The file system alone, as a tarball."""
    FILES_DIRECTORY = "files directory"


_OF_IMAGES = frozenset({ExportKind.DOCKER_ARCHIVE, ExportKind.OCI_ARCHIVE, ExportKind.OCI_LAYOUT})
_DIRECTORIES = frozenset({ExportKind.OCI_LAYOUT, ExportKind.FILES_DIRECTORY})


@dataclass(frozen=True, slots=True)
class Export:
    """One place on this machine, absolute; `flag` is what asked for it, for messages."""

    flag: str
    kind: ExportKind
    path: Path
    names: tuple[Reference, ...] = ()
    """What the image is called there; the file system alone has no name."""
    is_split: bool = False
    """Whether files go to a directory that is named after the platform."""

    @property
    def is_directory(self) -> bool:
        """Whether the place is a directory."""
        return self.kind in _DIRECTORIES

    @property
    def is_image(self) -> bool:
        """Whether it is an image that is written, not the files of one."""
        return self.kind in _OF_IMAGES

    @property
    def is_stdout(self) -> bool:
        """Whether it goes to the process's own standard output."""
        return descriptor_of(self.path) == STDOUT
