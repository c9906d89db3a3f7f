"""What changes the keys of a build's steps, and what does not."""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from knarr.builder.request.contexts import DirectoryContext
from knarr.builder.request.snapshot_rules import SnapshotRules
from knarr.images.form import ImageForm
from knarr.layers.compression import Compression, CompressionSettings
from knarr.oci.platform import Platform
from support.image_layout import Member, tar_bytes
from support.planned_keys import PlannedBuild, write_base

DOCKERFILE = """\
FROM base AS source
COPY data/ /data/
RUN make
FROM base AS unrelated
RUN true
FROM base
ARG MODE=fast
ENV COLOUR=red
COPY --chown=0:0 --chmod=u=rwX data/ /data/
RUN <<EOF
echo hello
EOF
COPY --from=source /data/out /out
"""
OWN = DOCKERFILE.partition("COPY --from")[0]
"""The same without what comes from another stage, so that its last key is known."""

ONE_COPY = "FROM base\nCOPY data/ /data/\n"
RUN = "FROM base\nRUN x\n"
MOUNTS = "FROM base\nRUN --mount=type=bind,source=data,target=/d --mount=type=cache,target=/c {}x\n"
SECRET = "FROM base\nRUN --mount=type=secret,id=token{} x\n"
ADD = "FROM base\nADD a.tar /x/\n"
SCRIPT = "FROM base\nRUN <<EOF\n#!/bin/{}\nx\nEOF\n"
URL = "FROM base\nADD --checksum=sha256:{} https://example.test/a /x/\nRUN x\n"
NAMED = "FROM base\nCOPY --from=other / /x/\n"

Edit = Callable[[Path], object]


@dataclass(frozen=True)
class Change:
    """A build, and what is other in a second one: words of the Dockerfile, files, request."""

    dockerfile: str
    old: str = ""
    new: str = ""
    edit: Edit = lambda _: None
    request: dict[str, Any] = field(default_factory=dict)
    ignore: str = ""


def _write(name: str, text: str) -> Edit:
    return lambda context: (context / name).write_text(text)


def _relink(context: Path) -> None:
    (context / "data/link").unlink()
    (context / "data/link").symlink_to("b")


def _age(context: Path) -> None:
    for path in (context, *context.rglob("*")):
        os.utime(path, (5, 5), follow_symlinks=False)


def _give_away(context: Path) -> None:
    for path in context.rglob("*"):
        os.chown(path, 1234, 1234, follow_symlinks=False)


def _narrow(context: Path) -> None:
    for path in context.rglob("*"):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & 0o700)


def _mark(context: Path) -> None:
    os.setxattr(context / "data/a", "user.mark", b"1")


def _empower(context: Path) -> None:
    subprocess.run(["/sbin/setcap", "cap_net_raw+ep", context / "data/a"], check=True)


def _archive(text: bytes) -> Edit:
    return lambda context: (context / "a.tar").write_bytes(tar_bytes([Member("f", content=text)]))


ZSTD = ImageForm(compression=CompressionSettings(Compression.ZSTD))
CHANGES = {
    "instruction text": Change(RUN, "RUN x", "RUN y"),
    "exec form": Change(RUN, "RUN x", 'RUN ["x"]'),
    "ENV before": Change(OWN, "COLOUR=red", "COLOUR=blue"),
    "ARG default": Change(OWN, "MODE=fast", "MODE=slow"),
    "ARG declared": Change(RUN, "RUN x", "ARG A=1\nRUN x"),
    "build argument": Change(OWN, request={"build_args": {"MODE": "slow"}}),
    "declared proxy": Change(
        RUN, "RUN x", "ARG HTTP_PROXY\nRUN x", request={"build_args": {"HTTP_PROXY": "http://p"}}
    ),
    "heredoc body": Change(OWN, "echo hello", "echo bye"),
    "script": Change(SCRIPT.format("sh"), "#!/bin/sh", "#!/bin/ash"),
    "SHELL": Change(RUN, "RUN x", 'SHELL ["/bin/ash", "-c"]\nRUN x'),
    "USER": Change(RUN, "RUN x", "USER 5\nRUN x"),
    "WORKDIR": Change(RUN, "RUN x", "WORKDIR /w\nRUN x"),
    "WORKDIR's USER": Change("FROM base\nWORKDIR /w\n", "WORKDIR", "USER 5\nWORKDIR"),
    "network": Change(RUN, "RUN x", "RUN --network=none x"),
    "mount added": Change(RUN, "RUN x", "RUN --mount=type=tmpfs,target=/t x"),
    "mount target": Change(MOUNTS, "target=/d", "target=/e"),
    "mount writable": Change(MOUNTS, "target=/d", "target=/d,rw"),
    "mount user": Change(MOUNTS, "target=/c", "target=/c,uid=7"),
    "secret name": Change(SECRET, "id=token", "id=other"),
    "secret target": Change(SECRET, "{}", ",target=/t"),
    "bind mount content": Change(MOUNTS, edit=_write("data/a", "other")),
    "base content": Change(RUN, request={"base": "other"}),
    "base ENV": Change(RUN, request={"base": "env"}),
    "platform": Change(RUN, request={"platform": Platform.parse("linux/arm64")}),
    "compression": Change(RUN, request={"form": ZSTD}),
    "epoch": Change(RUN, request={"epoch_s": 7}),
    "ignored path": Change(RUN, request={"snapshots": SnapshotRules(ignored=("var/run",))}),
    "content": Change(ONE_COPY, edit=_write("data/a", "other")),
    "content below": Change(ONE_COPY, edit=_write("data/sub/c", "other")),
    "execute bit": Change(ONE_COPY, edit=lambda context: (context / "data/a").chmod(0o755)),
    "setuid bit": Change(ONE_COPY, edit=lambda context: (context / "data/a").chmod(0o4644)),
    "symlink target": Change(ONE_COPY, edit=_relink),
    "file added": Change(ONE_COPY, edit=_write("data/new", "")),
    "file removed": Change(ONE_COPY, edit=lambda context: (context / "data/b").unlink()),
    "file renamed": Change(ONE_COPY, edit=lambda context: (context / "data/b").rename(context / "data/c")),
    "empty directory": Change(ONE_COPY, edit=lambda context: (context / "data/d").mkdir()),
    "extended attribute": Change(ONE_COPY, edit=_mark),
    "ignore file": Change(ONE_COPY, edit=_write(".dockerignore", "data/b\n")),
    "exclude": Change(ONE_COPY, "COPY", "COPY --exclude=b"),
    "chown": Change(ONE_COPY, "COPY", "COPY --chown=5"),
    "chmod": Change(ONE_COPY, "COPY", "COPY --chmod=700"),
    "link": Change(ONE_COPY, "COPY", "COPY --link"),
    "parents": Change(ONE_COPY, "COPY", "COPY --parents"),
    "destination": Change(ONE_COPY, "/data/", "/other/"),
    "destination by WORKDIR": Change("FROM base\nWORKDIR /a\nCOPY data d/\n", "/a", "/b"),
    "COPY's heredoc": Change("FROM base\nCOPY <<a /a\nx\na\n", "\nx", "\ny"),
    "name of a heredoc": Change(
        "FROM base\nCOPY <<a <<b /x/\n1\na\n2\nb\n", "<<b /x/\n1\na\n2\nb", "<<c /x/\n1\na\n2\nc"
    ),
    "archive content": Change(ADD, edit=_archive(b"other")),
    "unpack": Change(ADD, "ADD", "ADD --unpack=false"),
    "COPY, not ADD": Change(ADD, "ADD", "COPY"),
    "step before": Change(ONE_COPY, "COPY", "RUN y\nCOPY"),
    "order": Change("FROM base\nRUN x\nRUN y\n", "RUN x\nRUN y", "RUN y\nRUN x"),
    "ONBUILD of a stage": Change("FROM base AS a\nONBUILD RUN x\nFROM a\nRUN y\n", "RUN x", "RUN z"),
    "copied path of a stage": Change(DOCKERFILE, "/data/out", "/data/other"),
    "source stage": Change(DOCKERFILE, "RUN make", "RUN make all"),
    "source stage's context": Change(DOCKERFILE, edit=_write("data/a", "other")),
    "named context": Change(NAMED, edit=_write("../other/f", "other")),
    "checksum": Change(URL.format("a" * 64), "a" * 64, "b" * 64),
    "URL": Change(URL.format("a" * 64), "/a /x/", "/b /x/"),
    "commit": Change(
        "FROM base\nADD https://example.test/r.git#" + "a" * 40 + " /x/\nRUN x\n", "a" * 40, "b" * 40
    ),
}
SAME = {
    "capability, which the context loses": Change(ONE_COPY, edit=_empower),
    "times": Change(DOCKERFILE, edit=_age),
    "owners of the checkout": Change(DOCKERFILE, edit=_give_away),
    "umask": Change(DOCKERFILE, edit=_narrow),
    "base's labels": Change(RUN, request={"base": "labels"}),
    "label flags": Change(RUN, request={"labels": (("a", "b"),)}),
    "time of the build": Change(RUN, request={"created_s": 5}),
    "ignored file": Change(
        ONE_COPY, ignore="data/b\n", edit=lambda context: (context / "data/b").write_text("other")
    ),
    "file that is not copied": Change(ONE_COPY, edit=_write("other", "other")),
    "undeclared argument": Change(RUN, request={"build_args": {"UNKNOWN": "1"}}),
    "undeclared proxy": Change(RUN, request={"build_args": {"HTTP_PROXY": "http://p"}}),
    "unrelated stage": Change(DOCKERFILE, "RUN true", "RUN false"),
    "comment": Change(DOCKERFILE, "ENV", "# a comment\nENV"),
    "blank line": Change(DOCKERFILE, "ENV", "\n\nENV"),
    "case of an instruction": Change(DOCKERFILE, "COPY --from", "copy --from"),
    "name of a stage": Change(DOCKERFILE, "AS unrelated", "AS other"),
    "CMD": Change(RUN, "RUN", 'CMD ["a"]\nRUN'),
    "LABEL": Change(RUN, "RUN", "LABEL a=b\nRUN"),
    "EXPOSE": Change(RUN, "RUN", "EXPOSE 80\nRUN"),
    "compression level": Change(
        RUN, request={"form": ImageForm(compression=CompressionSettings(Compression.GZIP, 9))}
    ),
    "credentials in a URL": Change(URL.format("a" * 64), "https://", "https://user:token@"),
}


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    """A directory with a context, another one, base images."""
    (tmp_path / "context/data/sub").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    files = {"data/a": "a", "data/b": "b", "data/sub/c": "c", "../other/f": "f"}
    for name, text in files.items():
        (tmp_path / "context" / name).write_text(text)
    (tmp_path / "context/data/link").symlink_to("a")
    _archive(b"first")(tmp_path / "context")
    members = [Member("f", content=b"1")]
    both = ("amd64", "arm64")
    write_base(tmp_path / "plain", members, architectures=both)
    write_base(tmp_path / "another", [Member("f", content=b"2")], architectures=both)
    write_base(tmp_path / "env", members, config={"Env": ["A=1"]})
    write_base(tmp_path / "labels", members, config={"Labels": {"a": "b"}})
    return tmp_path


BASES = {"plain": "plain", "other": "another", "env": "env", "labels": "labels"}


def _keys(bench: Path, name: str, build: PlannedBuild) -> list[str]:
    work = bench / name
    work.mkdir()
    return build.keys(work)


def _first_and_second(bench: Path, change: Change) -> tuple[list[str], list[str]]:
    if change.ignore:
        (bench / "context/.dockerignore").write_text(change.ignore)
    shutil.copytree(bench / "context", bench / "elsewhere/context", symlinks=True)
    shutil.copytree(bench / "other", bench / "elsewhere/other")
    first = _build(bench, "context", "other", change.dockerfile)
    assert change.old in change.dockerfile
    again = _build(
        bench, "elsewhere/context", "elsewhere/other", change.dockerfile.replace(change.old, change.new, 1)
    )
    change.edit(bench / "elsewhere/context")
    request = dict(change.request)
    if "base" in request:
        request["base"] = bench / BASES[request["base"]] / "layout"
    return _keys(bench, "work1", first), _keys(bench, "work2", replace(again, **request))


def _build(bench: Path, context: str, other: str, dockerfile: str) -> PlannedBuild:
    contexts = {"other": DirectoryContext(bench / other)}
    return PlannedBuild(
        dockerfile.replace("{}", ""), bench / context, bench / "plain/layout", contexts=contexts
    )


@pytest.mark.parametrize("name", CHANGES)
def test_changes_the_key(bench: Path, name: str) -> None:
    before, after = _first_and_second(bench, CHANGES[name])
    assert before
    assert before[-1] != after[-1]


@pytest.mark.parametrize("name", SAME)
def test_leaves_the_keys_alone(bench: Path, name: str) -> None:
    before, after = _first_and_second(bench, SAME[name])
    assert before
    assert before == after


def test_a_download_without_a_checksum_is_not_known_ahead(bench: Path) -> None:
    build = _build(bench, "context", "other", "FROM base\nRUN x\nADD https://example.test/a /x/\nRUN y\n")
    assert len(_keys(bench, "work", build)) == 1
