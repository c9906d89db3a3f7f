"""The sources of one ADD in its step: fetched when something needs them, known by content."""

from collections.abc import Sequence

from knarr.builder.plan.layer_step import Inputs, UnknownInputsError
from knarr.builder.plan.stage import StageState
from knarr.builder.sources.remote import FetchedSources
from knarr.dockerfile.language.add_sources import AddSource
from knarr.dockerfile.language.remote_sources import GitSource, HttpSource


class AddSources:
    """The sources of one ADD; those from elsewhere are fetched once."""

    def __init__(self, state: StageState, wanted: Sequence[AddSource], *, unpack: bool) -> None:
        self._settings = state.settings
        self._wanted = wanted
        self._unpack = unpack
        self._fetched: FetchedSources | None = None

    def fetch(self) -> FetchedSources:
        """All of them. Raises ContextError, CorruptError, OutputError."""
        if self._fetched is None:
            created_ns = self._settings.created_ns
            self._fetched = self._settings.remotes.fetch(
                self._wanted, created_ns=created_ns, unpack=self._unpack
            )
        return self._fetched

    def prepare(self) -> None:
        """Fetch them now. Raises as `fetch` does."""
        self.fetch()

    def release(self) -> None:
        """Remove what was fetched; may be called again."""
        if self._fetched is not None:
            self._fetched.close()
            self._fetched = None

    def inputs(self) -> Inputs:
        """Content and options of the remote ones; UnknownInputsError where they have to be fetched first."""
        remote = [source for source in self._wanted if not isinstance(source, str)]
        contents = [source.known_content for source in remote]
        if self._fetched is not None:
            contents = list(self._fetched.contents)
        if not all(contents):
            raise UnknownInputsError
        pairs = zip(remote, contents, strict=True)
        return tuple(text for source, content in pairs for text in (content, *_options(source)))


def _options(source: HttpSource | GitSource) -> Inputs:
    """What decides, beside the content, which files a remote source gives."""
    if isinstance(source, HttpSource):
        return ("http", source.name)
    kept = f"{source.keep_git_dir} {source.remote if source.keep_git_dir else ''}"
    return ("git", source.subdir, kept, str(source.submodules), source.mtime)
