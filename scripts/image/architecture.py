"""What differs between the architectures that images are made for."""

import os
from dataclasses import dataclass

from knarr.oci.platform import Platform


@dataclass(frozen=True, slots=True)
class Architecture:
    """One architecture, under the names that each tool gives it."""

    debian: str
    """Debian's name, which is Go's and the image spec's as well."""
    machine: str
    """The kernel's name; that of wheels."""
    loader: str
    """Path of glibc's program loader, as every executable of the architecture names it."""

    @property
    def triplet(self) -> str:
        """The directory below /usr/lib that Debian keeps the architecture's libraries in."""
        return f"{self.machine}-linux-gnu"

    @property
    def platform(self) -> Platform:
        """The platform of the image."""
        return Platform.normalised("linux", self.machine)


ARCHITECTURES = {
    each.debian: each
    for each in (
        Architecture("amd64", "x86_64", "/lib64/ld-linux-x86-64.so.2"),
        Architecture("arm64", "aarch64", "/lib/ld-linux-aarch64.so.1"),
    )
}


def native_architecture() -> Architecture:
    """The architecture of this machine. Raises KeyError where no image is made for it."""
    by_machine = {each.machine: each for each in ARCHITECTURES.values()}
    return by_machine[os.uname().machine]
