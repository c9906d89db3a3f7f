"""Parsers of the instructions that write files: COPY, ADD."""

from collections.abc import Mapping

from knarr.dockerfile.language.expand import expand_word
from knarr.dockerfile.language.instructions import Add, Copy, InlineFile
from knarr.dockerfile.language.parse.line import Request
from knarr.dockerfile.syntax.flags import FlagKind
from knarr.dockerfile.syntax.heredocs import parse_heredoc_word
from knarr.dockerfile.syntax.string_arrays import parse_string_array
from knarr.errors import DockerfileError

_SHARED_FLAGS = {
    "chown": FlagKind.TEXT,
    "chmod": FlagKind.TEXT,
    "link": FlagKind.SWITCH,
    "exclude": FlagKind.LIST,
}
_COPY_FLAGS: Mapping[str, FlagKind] = _SHARED_FLAGS | {"from": FlagKind.TEXT, "parents": FlagKind.SWITCH}
_ADD_FLAGS: Mapping[str, FlagKind] = _SHARED_FLAGS | {
    "checksum": FlagKind.TEXT,
    "keep-git-dir": FlagKind.SWITCH,
    "unpack": FlagKind.SWITCH,
}


def parse_copy(request: Request) -> Copy:
    """Raises DockerfileError without a location."""
    flags = request.flags(_COPY_FLAGS)
    sources, files, destination = _sources_and_destination(request)
    from_ = flags.text("from") or None
    if from_ is not None:
        _check_from(from_, request.escape)
    return Copy(
        **request.common,
        sources=sources,
        files=files,
        destination=destination,
        from_=from_,
        chown=flags.text("chown") or None,
        chmod=flags.text("chmod") or None,
        link=bool(flags.switch("link")),
        parents=bool(flags.switch("parents")),
        exclude=flags.list("exclude"),
    )


def parse_add(request: Request) -> Add:
    """Raises DockerfileError without a location."""
    flags = request.flags(_ADD_FLAGS)
    sources, files, destination = _sources_and_destination(request)
    return Add(
        **request.common,
        sources=sources,
        files=files,
        destination=destination,
        chown=flags.text("chown") or None,
        chmod=flags.text("chmod") or None,
        link=bool(flags.switch("link")),
        exclude=flags.list("exclude"),
        checksum=flags.text("checksum") or None,
        keep_git_dir=flags.switch("keep-git-dir"),
        unpack=flags.switch("unpack"),
    )


def _sources_and_destination(request: Request) -> tuple[tuple[str, ...], tuple[InlineFile, ...], str]:
    words = request.paths()
    if len(words) < 2:
        raise DockerfileError(
            f"{request.keyword} requires at least two arguments, but only one was provided. "
            "Destination could not be determined"
        )
    *given, destination = words
    if parse_string_array(request.arguments) is not None:
        return tuple(given), (), destination
    if parse_heredoc_word(destination) is not None:
        raise DockerfileError(f"{request.keyword} cannot accept a heredoc as a destination")
    texts = {heredoc.name: heredoc.text for heredoc in request.heredocs}
    sources: list[str] = []
    files: list[InlineFile] = []
    for word in given:
        heredoc = parse_heredoc_word(word)
        if heredoc is None:
            sources.append(word)
        else:
            # The tabs are those of this word's own `<<-`, which is what opened the heredoc.
            files.append(InlineFile(heredoc.name, texts.get(heredoc.name, ""), heredoc.expand))
    return tuple(sources), tuple(files), destination


def _check_from(from_: str, escape: str) -> None:
    if expand_word(from_, {}, escape=escape) != from_:
        raise DockerfileError(
            "variable expansion is not supported for --from, define a new stage with FROM using ARG "
            "from global scope as a workaround"
        )
