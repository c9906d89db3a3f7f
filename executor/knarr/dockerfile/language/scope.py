"""What variables mean at one point of a stage: ARG and ENV.

BuildKit's rule: of ARG and ENV the one declared last wins, in expansion and in the environment of RUN, while
the image config keeps what ENV said. ARGs before the first FROM are global: FROM sees them, a stage only
after declaring them again. A child stage inherits its parent's scope.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from knarr.dockerfile.language.expand import expand_word
from knarr.dockerfile.language.instructions import Arg
from knarr.errors import DockerfileError

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""PATH of a step, and of the resulting image, where the base image has none."""

PROXY_ARGS = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
"""Build arguments that RUN gets without a declaration, in both cases; upper and lower case are one."""

_NOT_IN_ENVIRONMENT = frozenset({"BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"})
_PLATFORM_PARTS = ("OS", "ARCH", "VARIANT")


@dataclass(frozen=True, slots=True)
class Scope:
    """A stage's variables; every change gives a new scope.

    `image_env` is the image config's Env, in order. `variables` is what expansion sees: Env and the ARGs that
    have a value. `args` are the ARGs declared so far, ancestors' first, value None where there is none.
    """

    image_env: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    args: tuple[tuple[str, str | None], ...] = ()

    @classmethod
    def from_image(cls, env: Iterable[str]) -> "Scope":
        """The scope right after FROM an image with this Env (`KEY=value`); PATH is added where it lacks."""
        image_env: dict[str, str] = {}
        for entry in env:
            key, _, value = entry.partition("=")
            image_env[key] = value
        image_env.setdefault("PATH", DEFAULT_PATH)
        return cls(image_env, dict(image_env))

    def declare_arg(
        self,
        arg: Arg,
        *,
        build_args: Mapping[str, str],
        global_args: Mapping[str, str],
        escape: str = "\\",
    ) -> "Scope":
        """After an ARG: its names take the build argument, else the default, else the global value.

        A default is expanded only where it is used, each with the names before it. Raises DockerfileError.
        """
        variables = dict(self.variables)
        declared: list[tuple[str, str | None]] = []
        for declaration in arg.declarations:
            key, value = declaration.key, declaration.default
            if key in build_args:
                value = build_args[key]
            elif value is not None:
                value = _expand_default(value, variables, arg, escape)
            elif key in global_args:
                # Already expanded, where it was declared.
                value = global_args[key]
            if value is not None and key not in _NOT_IN_ENVIRONMENT:
                variables[key] = value
            declared.append((key, value))
        return replace(self, variables=variables, args=(*self.args, *declared))

    def set_env(self, pairs: Iterable[tuple[str, str]]) -> "Scope":
        """After an ENV with pairs already expanded, all with the scope before the line."""
        given = dict(pairs)
        return replace(self, image_env={**self.image_env, **given}, variables={**self.variables, **given})

    def inherited(self) -> "Scope":
        """The scope of a child stage at its FROM: the ENVs are said anew, so they win over ARGs."""
        return replace(self, variables={**self.variables, **self.image_env})

    def expansion_env(self) -> Mapping[str, str]:
        """What `$name` means."""
        return self.variables

    def run_env(self, build_args: Mapping[str, str]) -> dict[str, str]:
        """The environment of a RUN: the variables, then the proxies given as build arguments."""
        proxies: dict[str, str] = {}
        for key in sorted(build_args):
            if key.upper() in PROXY_ARGS and build_args[key]:
                proxies[key.upper()] = proxies[key.lower()] = build_args[key]
        return {**self.variables, **proxies}

    def history_args(self) -> tuple[tuple[str, str], ...]:
        """The declared ARGs as RUN's history shows them, each name once, with the value in effect."""
        return tuple((key, self.variables.get(key, value or "")) for key, value in dict(self.args).items())


def platform_args(prefix: str, platform: str, *, os_version: str = "") -> dict[str, str]:
    """`BUILDPLATFORM` or `TARGETPLATFORM` and its parts; `platform` is `os/arch[/variant]`."""
    values = {f"{prefix}PLATFORM": platform, f"{prefix}OSVERSION": os_version}
    parts = [*platform.split("/"), "", ""]
    return values | {f"{prefix}{name}": part for name, part in zip(_PLATFORM_PARTS, parts, strict=False)}


def global_scope(
    args: Iterable[Arg],
    *,
    build_args: Mapping[str, str],
    build_platform: str,
    target_platform: str,
    target_stage: str | None,
    escape: str = "\\",
) -> dict[str, str]:
    """What FROM sees: the platform arguments and the ARGs before the first FROM, build arguments over both.

    `target_stage` is what `target_name` gives.
    """
    values = {
        **platform_args("BUILD", build_platform),
        **platform_args("TARGET", target_platform),
        "TARGETSTAGE": target_stage or "default",
    }
    values = {key: build_args.get(key, value) for key, value in values.items()}
    for arg in args:
        for declaration in arg.declarations:
            if declaration.key in build_args:
                values[declaration.key] = build_args[declaration.key]
            elif declaration.default is not None:
                values[declaration.key] = _expand_default(declaration.default, values, arg, escape)
    return values


def _expand_default(default: str, env: Mapping[str, str], arg: Arg, escape: str) -> str:
    try:
        return expand_word(default, env, escape=escape)
    except DockerfileError as error:
        raise DockerfileError(error.message, location=arg.location, hint=error.hint) from None
