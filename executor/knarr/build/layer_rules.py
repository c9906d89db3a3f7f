"""What every layer that a build makes has in common."""

from dataclasses import dataclass, field, replace

from knarr.layers.compression import CompressionSettings
from knarr.layers.entry import LayerItem

_KEPT_XATTRS = frozenset({"security.capability"})


@dataclass(frozen=True, slots=True)
class LayerRules:
    """Compression, the latest time of a file."""

    compression: CompressionSettings = field(default_factory=CompressionSettings)
    latest_s: int | None = None
    """Files that are younger get this time, seconds since 1970 (SOURCE_DATE_EPOCH)."""

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
