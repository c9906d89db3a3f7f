"""What every layer that a build makes has in common."""

from dataclasses import dataclass, field, replace

from knarr.layers.compression import Compression, CompressionSettings
from knarr.layers.entry import LayerItem

_KEPT_XATTRS = frozenset({"security.capability"})


@dataclass(frozen=True, slots=True)
class LayerRules:
    """Compression, the latest time of a file."""

    compression: CompressionSettings = field(default_factory=CompressionSettings)
    latest_s: int | None = None
    """Files that are younger get this time, seconds since 1970 (SOURCE_DATE_EPOCH)."""

    @property
    def key_parts(self) -> tuple[str, ...]:
        """What makes the layers other than those of a build without flags, for keys of the layer cache."""
        parts = {
            f"compression {self.compression.compression.value}": self.compression.compression
            is not Compression.GZIP,
            f"latest {self.latest_s}": self.latest_s is not None,
        }
        return tuple(part for part, is_unusual in parts.items() if is_unusual)

    def kept(self, item: LayerItem) -> LayerItem:
        """The item as the layer has it.

        Of its attributes capabilities alone are kept, as containerd's differ has it.
        """
        entry = item.entry
        if any(name not in _KEPT_XATTRS for name in entry.xattrs):
            kept = {name: value for name, value in entry.xattrs.items() if name in _KEPT_XATTRS}
            entry = replace(entry, xattrs=kept)
        if self.latest_s is not None and entry.mtime_ns > self.latest_s * 10**9:
            entry = replace(entry, mtime_ns=self.latest_s * 10**9)
        return item if entry is item.entry else replace(item, entry=entry)
