"""The eighteen instructions as values.

Texts are as written: nothing is expanded yet. `location` is the instruction's first line; `original` is its
logical line, for progress output; `comments` are those right above it.
"""

from dataclasses import dataclass
from typing import ClassVar

from knarr.dockerfile.syntax.heredocs import Heredoc
from knarr.errors import SourceLocation

Command = str | tuple[str, ...]
"""Shell form: the text given to SHELL. Exec form: the arguments themselves."""


@dataclass(frozen=True, slots=True)
class KeyValue:
    """One pair of ENV or LABEL; `legacy` where written `ENV key value`, without `=`."""

    key: str
    value: str
    legacy: bool = False


@dataclass(frozen=True, slots=True)
class ArgDeclaration:
    """One name of ARG; `default` is None where there is no `=`."""

    key: str
    default: str | None = None


@dataclass(frozen=True, slots=True)
class InlineFile:
    """A heredoc that COPY or ADD writes as the file `name`; `expand` False takes `body` literally."""

    name: str
    body: str
    expand: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """What every instruction has."""

    KEYWORD: ClassVar[str] = ""

    location: SourceLocation
    end_line: int
    original: str
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class From(Instruction):
    """FROM; `name` is in lower case, None for a stage without one."""

    KEYWORD: ClassVar[str] = "FROM"

    image: str
    platform: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Instruction):
    """RUN; `mounts` and `devices` are the flags' raw values."""

    KEYWORD: ClassVar[str] = "RUN"

    command: Command
    heredocs: tuple[Heredoc, ...] = ()
    mounts: tuple[str, ...] = ()
    network: str = "default"
    security: str = "sandbox"
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cmd(Instruction):
    """CMD."""

    KEYWORD: ClassVar[str] = "CMD"

    command: Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrypoint(Instruction):
    """ENTRYPOINT."""

    KEYWORD: ClassVar[str] = "ENTRYPOINT"

    command: Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Label(Instruction):
    """LABEL."""

    KEYWORD: ClassVar[str] = "LABEL"

    pairs: tuple[KeyValue, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Env(Instruction):
    """ENV."""

    KEYWORD: ClassVar[str] = "ENV"

    pairs: tuple[KeyValue, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintainer(Instruction):
    """MAINTAINER (deprecated)."""

    KEYWORD: ClassVar[str] = "MAINTAINER"

    author: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Expose(Instruction):
    """EXPOSE; `ports` are raw words, sorted."""

    KEYWORD: ClassVar[str] = "EXPOSE"

    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy(Instruction):
    """COPY; `from_` None is the build context."""

    KEYWORD: ClassVar[str] = "COPY"

    sources: tuple[str, ...]
    files: tuple[InlineFile, ...] = ()
    destination: str
    from_: str | None = None
    chown: str | None = None
    chmod: str | None = None
    link: bool = False
    parents: bool = False
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Add(Instruction):
    """ADD; `unpack` and `keep_git_dir` are None where not given, which is not the same as false."""

    KEYWORD: ClassVar[str] = "ADD"

    sources: tuple[str, ...]
    files: tuple[InlineFile, ...] = ()
    destination: str
    chown: str | None = None
    chmod: str | None = None
    link: bool = False
    exclude: tuple[str, ...] = ()
    checksum: str | None = None
    keep_git_dir: bool | None = None
    unpack: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume(Instruction):
    """VOLUME."""

    KEYWORD: ClassVar[str] = "VOLUME"

    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class User(Instruction):
    """USER."""

    KEYWORD: ClassVar[str] = "USER"

    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Workdir(Instruction):
    """WORKDIR; a relative path goes on from the one before."""

    KEYWORD: ClassVar[str] = "WORKDIR"

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Arg(Instruction):
    """ARG."""

    KEYWORD: ClassVar[str] = "ARG"

    declarations: tuple[ArgDeclaration, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Onbuild(Instruction):
    """ONBUILD; `trigger` is the text for the image config, heredocs included."""

    KEYWORD: ClassVar[str] = "ONBUILD"

    trigger: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopsignal(Instruction):
    """STOPSIGNAL."""

    KEYWORD: ClassVar[str] = "STOPSIGNAL"

    signal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck(Instruction):
    """HEALTHCHECK; `command` None is NONE. Durations of 0 and retries of 0 mean the runtime's default."""

    KEYWORD: ClassVar[str] = "HEALTHCHECK"

    command: Command | None
    interval_ns: int = 0
    timeout_ns: int = 0
    start_period_ns: int = 0
    start_interval_ns: int = 0
    retries: int = 0

    @property
    def test(self) -> tuple[str, ...]:
        """The image config's `Test`."""
        if self.command is None:
            return ("NONE",)
        return ("CMD-SHELL", self.command) if isinstance(self.command, str) else ("CMD", *self.command)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell(Instruction):
    """SHELL."""

    KEYWORD: ClassVar[str] = "SHELL"

    shell: tuple[str, ...]
