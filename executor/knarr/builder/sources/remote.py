"""Sources of ADD that come from elsewhere, brought into the work directory."""

import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from knarr.builder.request.git_program import GitProgram
from knarr.builder.sources.git_source import check_out, find_subdir
from knarr.builder.sources.remote_auth import RemoteAuth
from knarr.dockerfile.language.add_sources import AddSource
from knarr.dockerfile.language.remote_sources import GitSource, HttpSource
from knarr.errors import OutputError
from knarr.layers.spool import open_file
from knarr.linux.plain_directory import make_plain_directory
from knarr.oci.digest import Digest
from knarr.registry.client import Client
from knarr.registry.transfer.download import MAX_DOWNLOAD_BYTES, download
from knarr.rootfs.copying.copy import CopySource, InlineFile, TreeSource
from knarr.rootfs.dir_tree import DirTree
from knarr.rootfs.paths import discard_tree

_FILE_MODE = 0o600


class RemoteSources:
    """Fetches what ADD names; connections are opened when there is something to fetch."""

    def __init__(
        self,
        client: Client,
        git: GitProgram,
        work_dir: Path,
        *,
        auth: RemoteAuth | None = None,
        limit_bytes: int = MAX_DOWNLOAD_BYTES,
    ) -> None:
        self._client = client
        self._git = git
        self._work_dir = work_dir
        self._auth = auth or RemoteAuth()
        self._limit_bytes = limit_bytes

    def fetch(self, sources: Sequence[AddSource], *, created_ns: int, unpack: bool) -> "FetchedSources":
        """The sources as a copy takes them, in their order; the caller closes them.

        `unpack` says whether downloads are unpacked where they are archives. Raises ContextError,
        CorruptError, OutputError; then nothing of them is left.
        """
        with ExitStack() as exits:
            place: Path | None = None
            taken: list[CopySource] = []
            contents: list[str] = []
            for number, source in enumerate(sources):
                if isinstance(source, str):
                    taken.append(source)
                    continue
                if place is None:
                    place = self._make_place()
                    exits.callback(discard_tree, place)
                got, content = self._fetch(source, place / str(number), created_ns, exits, unpack=unpack)
                taken.append(got)
                contents.append(content)
            return FetchedSources(tuple(taken), tuple(contents), exits.pop_all().close)

    def _fetch(
        self, source: HttpSource | GitSource, path: Path, created_ns: int, exits: ExitStack, *, unpack: bool
    ) -> tuple[CopySource, str]:
        if isinstance(source, HttpSource):
            return self._download(source, path, unpack=unpack)
        return self._check_out(source, path, created_ns, exits)

    def _make_place(self) -> Path:
        try:
            return Path(tempfile.mkdtemp(prefix="add-", dir=self._work_dir))
        except OSError as error:
            raise OutputError(f"can't make a directory in {self._work_dir}: {error.strerror}") from error

    def _download(self, source: HttpSource, path: Path, *, unpack: bool) -> tuple[InlineFile, str]:
        checksum = Digest.parse(source.checksum) if source.checksum else None
        with self._client.for_downloads() as client:
            done = download(
                client,
                source.url,
                path,
                authorization=self._auth.of_download(source.url, source.userinfo),
                checksum=checksum,
                limit_bytes=self._limit_bytes,
            )
        file = InlineFile(
            source.name, done.size_bytes, partial(open_file, path), _FILE_MODE, done.mtime_ns, unpack=unpack
        )
        return file, str(done.digest)

    def _check_out(
        self, source: GitSource, path: Path, created_ns: int, exits: ExitStack
    ) -> tuple[TreeSource, str]:
        make_plain_directory(path)
        auth = self._auth.of_repository(source.remote, source.userinfo)
        commit = check_out(self._git, source, path, auth=auth, created_ns=created_ns)
        root_fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        exits.callback(os.close, root_fd)
        tree = exits.enter_context(DirTree(root_fd))
        return TreeSource(tree, find_subdir(source, tree)), source.known_content or commit


@dataclass(frozen=True, slots=True)
class FetchedSources:
    """The sources of one ADD, on this machine until they are closed."""

    sources: tuple[CopySource, ...]
    contents: tuple[str, ...]
    """What identifies the content of the remote ones, in their order: a digest, a commit."""
    close: Callable[[], None]
