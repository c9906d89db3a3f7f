"""One logical line on its way to an instruction."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict

from knarr.dockerfile.language.instructions import Command
from knarr.dockerfile.syntax.flags import FlagKind, FlagValues, parse_flags
from knarr.dockerfile.syntax.heredocs import Heredoc
from knarr.dockerfile.syntax.lines import LogicalLine
from knarr.dockerfile.syntax.string_arrays import parse_string_array
from knarr.dockerfile.syntax.text import split_blanks
from knarr.dockerfile.syntax.words import split_instruction, split_words
from knarr.errors import DockerfileError, SourceLocation

_NO_FLAGS: Mapping[str, FlagKind] = {}


class Common(TypedDict):
    """The fields that every instruction has."""

    location: SourceLocation
    end_line: int
    original: str
    comments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """A logical line, cut into keyword (upper case), flags and arguments; `escape` is the file's."""

    line: LogicalLine
    escape: str
    keyword: str
    flag_words: tuple[str, ...]
    arguments: str

    @classmethod
    def cut(cls, line: LogicalLine, escape: str) -> "Request":
        """Never raises: the keyword may be unknown or empty."""
        split = split_instruction(line.text)
        return cls(line, escape, split.keyword.upper(), split.flags, split.arguments)

    @property
    def common(self) -> Common:
        """The fields every instruction takes from its line."""
        return {
            "location": self.line.location(),
            "end_line": self.line.end_line,
            "original": self.line.text,
            "comments": self.line.comments,
        }

    @property
    def heredocs(self) -> tuple[Heredoc, ...]:
        """The heredocs that the line opens."""
        return self.line.heredocs

    def flags(self, known: Mapping[str, FlagKind] = _NO_FLAGS) -> FlagValues:
        """The flags, all of which must be known."""
        return parse_flags(self.flag_words, known)

    def words(self) -> tuple[str, ...]:
        """Arguments by blanks alone."""
        return split_blanks(self.arguments)

    def quoted_words(self) -> tuple[str, ...]:
        """Arguments by blanks outside quotes, quotes kept."""
        return split_words(self.arguments, self.escape)

    def paths(self) -> tuple[str, ...]:
        """The JSON form's strings, else arguments by blanks."""
        array = parse_string_array(self.arguments)
        return self.words() if array is None else array

    def command(self) -> Command:
        """The JSON form's strings, else the text as it is."""
        array = parse_string_array(self.arguments)
        return self.arguments if array is None else array

    def one_argument(self) -> str:
        """The arguments as one text, which may hold blanks but not be empty."""
        if not self.arguments:
            raise DockerfileError(f"{self.keyword} requires exactly one argument")
        return self.arguments

    def need_arguments(self) -> None:
        """Raises where there are none."""
        if not self.arguments:
            raise DockerfileError(f"{self.keyword} requires at least one argument")
