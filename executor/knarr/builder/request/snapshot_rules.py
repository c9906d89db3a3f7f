"""How the changes of RUN steps are looked for, and which of them don't count."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from knarr.layers.entry import WHITEOUT_PREFIX, LayerItem
from knarr.layers.paths import clean, join, name_of, parent_of


@dataclass(frozen=True, slots=True)
class SnapshotRules:
    """The rules of one build."""

    hash_content: bool = False
    """Whether a scan reads every file, where ctimes can't be trusted; overlayfs needs no scan."""
    ignored: tuple[str, ...] = ()
    """Paths inside the image whose changes stay out of its layers, with all that is below them."""

    @classmethod
    def of(cls, ignored: Iterable[str], *, hash_content: bool) -> "SnapshotRules":
        """Rules with paths as a user writes them, absolute or not."""
        return cls(hash_content, tuple(path for text in ignored if (path := clean(text))))

    def keep(self, items: Iterable[LayerItem]) -> Iterator[LayerItem]:
        """The changes that count."""
        return (item for item in items if not self._ignores(item.entry.path))

    def _ignores(self, path: str) -> bool:
        name = name_of(path)
        if name.startswith(WHITEOUT_PREFIX):
            path = join(parent_of(path), name.removeprefix(WHITEOUT_PREFIX))
        return any(path == each or path.startswith(f"{each}/") for each in self.ignored)
