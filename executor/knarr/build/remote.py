"""Sources of ADD that come from elsewhere, brought into the work directory."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from knarr.build.git_program import GitProgram
from knarr.build.git_source import check_out, find_subdir
from knarr.dockerfile.add_sources import AddSource
from knarr.dockerfile.remote_sources import GitSource, HttpSource
from knarr.errors import OutputError
from knarr.oci.digest import Digest
from knarr.registry.client import Client
from knarr.registry.download import MAX_DOWNLOAD_BYTES, download
from knarr.rootfs.copy import InlineFile, Source, TreeSource
from knarr.rootfs.dir_tree import DirTree
from knarr.rootfs.spool import open_file

_FILE_MODE = 0o600


class RemoteSources:
    """Fetches what ADD names; connections are opened when there is something to fetch."""

    def __init__(
        self, client: Client, git: GitProgram, work_dir: Path, *, limit_bytes: int = MAX_DOWNLOAD_BYTES
    ) -> None:
        self._client = client
        self._git = git
        self._work_dir = work_dir
        self._limit_bytes = limit_bytes

    @contextmanager
    def fetched(
        self, sources: Sequence[AddSource], *, created_ns: int, unpack: bool
    ) -> Iterator[tuple[Source, ...]]:
        """The sources as a copy takes them, in their order; what was fetched is gone after the block.

        `unpack` says whether downloads are unpacked where they are archives. Raises ContextError,
        CorruptError, OutputError.
        """
        if all(isinstance(source, str) for source in sources):
            yield tuple(source for source in sources if isinstance(source, str))
            return
        with ExitStack() as exits:
            place = self._make_place()
            exits.callback(shutil.rmtree, place, ignore_errors=True)
            result: list[Source] = []
            for number, source in enumerate(sources):
                path = place / str(number)
                match source:
                    case HttpSource():
                        result.append(self._download(source, path, unpack=unpack))
                    case GitSource():
                        result.append(self._check_out(source, path, created_ns, exits))
                    case text:
                        result.append(text)
            yield tuple(result)

    def _make_place(self) -> Path:
        try:
            return Path(tempfile.mkdtemp(prefix="add-", dir=self._work_dir))
        except OSError as error:
            raise OutputError(f"can't make a directory in {self._work_dir}: {error.strerror}") from error

    def _download(self, source: HttpSource, path: Path, *, unpack: bool) -> InlineFile:
        checksum = Digest.parse(source.checksum) if source.checksum else None
        with self._client.for_downloads() as client:
            done = download(
                client,
                source.url,
                path,
                userinfo=source.userinfo,
                checksum=checksum,
                limit_bytes=self._limit_bytes,
            )
        return InlineFile(
            source.name, done.size_bytes, partial(open_file, path), _FILE_MODE, done.mtime_ns, unpack=unpack
        )

    def _check_out(self, source: GitSource, path: Path, created_ns: int, exits: ExitStack) -> TreeSource:
        path.mkdir(0o755)
        check_out(self._git, source, path, created_ns=created_ns)
        root_fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        exits.callback(os.close, root_fd)
        tree = exits.enter_context(DirTree(root_fd))
        return TreeSource(tree, find_subdir(source, tree))
