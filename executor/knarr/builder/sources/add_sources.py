"""The sources of one ADD in its step: fetched when something needs them, known by content."""

from knarr.builder.plan.steps import AddStep
from knarr.builder.sources.remote import FetchedSources, RemoteSources


class AddSources:
    """The sources of one ADD; those from elsewhere are fetched once."""

    def __init__(self, remotes: RemoteSources, step: AddStep) -> None:
        self._remotes = remotes
        self._step = step
        self._fetched: FetchedSources | None = None

    def fetch(self) -> FetchedSources:
        """All of them. Raises ContextError, CorruptError, OutputError."""
        if self._fetched is None:
            self._fetched = self._remotes.fetch(
                self._step.sources,
                created_ns=self._step.request.created_ns,
                unpack=self._step.unpacks_downloads,
            )
        return self._fetched

    def close(self) -> None:
        """Remove what was fetched; may be called again."""
        if self._fetched is not None:
            self._fetched.close()
            self._fetched = None
