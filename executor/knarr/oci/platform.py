"""Platforms of images (image-spec image-index.md, "platform")."""

import re
from dataclasses import dataclass

from knarr.errors import UsageError

_COMPONENT = re.compile(r"[A-Za-z0-9_.-]+")
_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "i386": ("386", ""),
    "i686": ("386", ""),
}
_IMPLIED_VARIANT = {"arm64": "v8", "arm": "v7", "amd64": "v1"}
_OPTIONAL_VARIANT = {"arm64": "v8", "amd64": "v1"}


@dataclass(frozen=True, slots=True)
class Platform:
    """Operating system, architecture and variant in Go's names; an implied variant is left empty."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""

    @classmethod
    def parse(cls, text: str) -> "Platform":
        """Read `os/arch[/variant]` or a lone architecture; UsageError for anything else."""
        parts = text.strip().split("/")
        if len(parts) > 3 or not all(_COMPONENT.fullmatch(part) for part in parts):
            raise UsageError(
                f"not a platform: {text!r}", hint="a platform is written linux/amd64 or linux/arm/v7"
            )
        if len(parts) == 1:
            parts = ["linux", parts[0]] if parts[0].lower() != "linux" else ["linux", "amd64"]
        return cls.normalised(parts[0], parts[1], parts[2] if len(parts) == 3 else "")

    @classmethod
    def normalised(cls, os: str, architecture: str, variant: str = "", os_version: str = "") -> "Platform":
        """A platform under Go's names for it, whatever `uname` or another tool calls it."""
        architecture = architecture.lower()
        known = _ARCHITECTURES.get(architecture)
        if known is not None:
            architecture, variant = known[0], variant or known[1]
        if architecture == "arm" and not variant:
            variant = "v7"
        if variant and not variant.startswith("v") and variant.isdigit():
            variant = f"v{variant}"
        if _OPTIONAL_VARIANT.get(architecture) == variant:
            variant = ""
        return cls(os.lower(), architecture, variant, os_version)

    def runs(self, other: "Platform") -> int:
        """How well an image for `other` suits this platform: 0 not at all, the larger the better."""
        if (self.os, self.architecture) != (other.os, other.architecture):
            return 0
        if self.variant == other.variant:
            return 100
        mine = self.variant or _IMPLIED_VARIANT.get(self.architecture, "")
        theirs = other.variant or _IMPLIED_VARIANT.get(self.architecture, "")
        if mine == theirs:
            return 99
        if mine[1:].isdigit() and theirs[1:].isdigit() and int(theirs[1:]) < int(mine[1:]):
            return int(theirs[1:])
        return 0

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)
