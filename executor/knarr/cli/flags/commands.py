"""Flags of the subcommands beside `knarr build`."""

from dataclasses import dataclass
from typing import Annotated

from knarr.cli.flags.kinds import OFF, ON, Switch, argument, switch, value


@dataclass(frozen=True, slots=True)
class CheckFlags:
    """What is checked, how the result is written."""

    context_path: Annotated[str, argument("[CONTEXT]", "Build context: a directory.")] = ""
    context: Annotated[str, value("context", "Build context: a directory.", short="c")] = ""
    dockerfile: Annotated[
        str,
        value(
            "dockerfile",
            "Dockerfile: as given, else within the context; default Dockerfile of the context.",
            short="f",
        ),
    ] = ""
    build_arg: Annotated[
        tuple[str, ...],
        value("build-arg", "NAME=VALUE, or NAME for the value in the environment; repeatable."),
    ] = ()
    target: Annotated[str, value("target", "Check what this stage needs, not every stage.")] = ""
    format: Annotated[str, value("format", "text or json.")] = "text"


@dataclass(frozen=True, slots=True)
class PushFlags:
    """What is pushed, and where to."""

    path: Annotated[str, argument("PATH", "Tarball of docker save, or OCI image layout directory.")] = ""
    destination: Annotated[
        tuple[str, ...], value("destination", "Push to this name; repeatable.", short="d")
    ] = ()
    push_by_digest: Annotated[
        Switch, switch("push-by-digest", "Push to the repository of each destination, without a tag.")
    ] = OFF


@dataclass(frozen=True, slots=True)
class IndexFlags:
    """What the index is made of, and where it goes."""

    image: Annotated[
        tuple[str, ...], argument("IMAGE...", "Images by tag or digest, or indexes of them.")
    ] = ()
    destination: Annotated[
        tuple[str, ...], value("destination", "Push the index to this name; repeatable.", short="d")
    ] = ()
    extra_tag: Annotated[
        tuple[str, ...],
        value("extra-tag", "Another tag in the repository of the first destination; repeatable."),
    ] = ()
    prefer_index: Annotated[
        Switch,
        switch(
            "prefer-index", "Make an index of a single IMAGE too; false copies it as it is, to a new name."
        ),
    ] = ON
    annotation: Annotated[
        tuple[str, ...],
        value(
            "annotation",
            "[LEVEL[,LEVEL]:]KEY=VALUE; a level is index (the default) or manifest-descriptor, "
            "with [PLATFORM] for one alone; repeatable.",
        ),
    ] = ()


@dataclass(frozen=True, slots=True)
class WarmFlags:
    """Which images, where they are put."""

    image: Annotated[tuple[str, ...], value("image", "Image to put there; repeatable.", short="i")] = ()
    cache_dir: Annotated[str, value("cache-dir", "Directory of base images.", short="c")] = "/cache"
    dockerfile: Annotated[
        str, value("dockerfile", "Dockerfile, a path or URL, whose base images are put there.", short="d")
    ] = ""
    build_arg: Annotated[
        tuple[str, ...],
        value("build-arg", "NAME=VALUE for FROM, or NAME for the value in the environment; repeatable."),
    ] = ()
    force: Annotated[Switch, switch("force", "Pull what is there already.", short="f")] = OFF
    cache_ttl: Annotated[str, value("cache-ttl", "How long what is there counts, such as 6h.")] = "336h"
    custom_platform: Annotated[str, value("custom-platform", "Platform: OS/ARCH[/VARIANT].")] = ""
    old_custom_platform: Annotated[
        str, value("customPlatform", "Old name of --custom-platform.", hidden=True)
    ] = ""


@dataclass(frozen=True, slots=True)
class LoginFlags:
    """Registry, user, password."""

    registry: Annotated[str, argument("REGISTRY", "Registry: HOST[:PORT].")] = ""
    username: Annotated[str, value("username", "User name.", short="u")] = ""
    password: Annotated[str, value("password", "Password; other processes can see it.", short="p")] = ""
    password_stdin: Annotated[Switch, switch("password-stdin", "Read the password from stdin.")] = OFF
