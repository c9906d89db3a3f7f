"""RUN --mount in whole builds: as root, as an ordinary user, with overlayfs and without."""

import os

import pytest

from support.builds_as import Builder, tree_digest

pytestmark = [pytest.mark.root, pytest.mark.registry, pytest.mark.slow]

FROM = "FROM busybox\n"
CANARY = "aBirdLikeNoOther"


def added(builder: Builder, dockerfile: str, *flags: str) -> set[str]:
    """The paths that a Dockerfile adds to busybox."""
    before = set(builder.build(FROM + "RUN true").image.files)
    return set(builder.build(dockerfile, *flags).image.files) - before


def test_mounts_leave_nothing_behind(builder: Builder) -> None:
    builder.write({"sub/file": "text\n", "top": "top\n"})
    digest = tree_digest(builder.context)
    dockerfile = (
        "FROM busybox AS data\nRUN mkdir /out && echo stage > /out/file\n"
        "FROM busybox\n"
        "RUN --mount=target=/a/b/ctx --mount=target=/one,source=sub/file"
        " --mount=from=data,source=/out,target=/etc/stage"
        " --mount=type=cache,target=/var/c --mount=type=tmpfs,target=/t"
        " cat /a/b/ctx/sub/file /one /etc/stage/file > /read && touch /t/x /var/c/x\n"
    )
    assert added(builder, dockerfile) == {"/read"}
    result = builder.build(dockerfile)
    assert result.text("/read") == "text\ntext\nstage\n"
    assert result.image.layer_files[-1] == ("/read",)
    assert tree_digest(builder.context) == digest


def test_what_a_step_adds_beside_a_mount_stays(builder: Builder) -> None:
    dockerfile = FROM + "RUN --mount=type=tmpfs,target=/new/mount echo x > /new/file\n"
    assert added(builder, dockerfile) == {"/new", "/new/file"}


def test_mount_over_what_a_step_has_deleted(builder: Builder) -> None:
    builder.write({"file": "text\n"})
    dockerfile = (
        FROM
        + "RUN mkdir -m 750 /d && touch -d 2001-02-03 /d/old && rm -r /d && mkdir -m 711 /d\n"
        + "RUN chown 5:6 /d || true\n"
        + "RUN rm -r /home\n"
        + "RUN --mount=target=/d/ctx --mount=target=/home/ctx cat /d/ctx/file /home/ctx/file > /read;"
        + " stat -c '%a %u %g' /d > /look; touch /d/x; rm /d/x\n"
    )
    result = builder.build(dockerfile)
    assert result.text("/read") == "text\ntext\n"
    assert "/home" not in result.image.files
    assert "/d/ctx" not in result.image.files
    facts = result.image.files["/d"]
    assert (facts.mode, facts.uid, facts.gid) == (0o711, *((5, 6) if builder.identity.uid == 0 else (0, 0)))


def test_writes_to_a_bind_are_lost(builder: Builder) -> None:
    builder.write({"sub/file": "text\n"})
    digest = tree_digest(builder.context)
    result = builder.build(
        FROM
        + "RUN --mount=target=/c,rw --mount=target=/f,source=sub/file,rw"
        + " echo new > /c/sub/file && rm -r /c/sub && mkdir /c/own && echo other > /f && cat /f > /read\n"
        + "RUN --mount=target=/c ls /c > /listing; ! touch /c/x; ! echo x > /c/sub/file\n"
    )
    assert result.text("/read") == "other\n"
    assert result.text("/listing") == "sub\n"
    assert tree_digest(builder.context) == digest


def test_stage_is_not_changed_by_a_bind(builder: Builder) -> None:
    result = builder.build(
        "FROM busybox AS data\nRUN mkdir /out && echo old > /out/file\n"
        "FROM busybox\n"
        "RUN --mount=from=data,source=/out,target=/s,rw echo new > /s/file && cat /s/file > /seen\n"
        "COPY --from=data /out/file /copied\n"
        "RUN --mount=from=data,source=/out,target=/s cat /s/file > /again\n"
    )
    assert [result.text(path) for path in ("/seen", "/copied", "/again")] == ["new\n", "old\n", "old\n"]


def test_ignored_files_are_not_visible(builder: Builder) -> None:
    builder.write(
        {
            ".dockerignore": "**/*.key\n",
            "sub/a.key": CANARY,
            "sub/b": "b\n",
            "c.key": CANARY,
            "plain/d": "d\n",
        }
    )
    result = builder.build(
        FROM
        + "RUN --mount=target=/c find /c -type f | sort > /all && stat -c %u /c/sub/b > /owner\n"
        + "RUN --mount=source=plain,target=/p ls /p > /part\n"
    )
    assert result.text("/all") == "/c/.dockerignore\n/c/plain/d\n/c/sub/b\n"
    assert result.text("/part") == "d\n"
    assert result.text("/owner") == "0\n"
    missing = builder.build(FROM + "RUN --mount=source=c.key,target=/k true\n")
    assert missing.returncode == 4
    assert "excluded by the ignore file" in missing.output


LINKS = {"to-root": "/", "up": "../../../../../..", "loop": "loop"}


def test_context_symlinks_stay_in_the_context(builder: Builder) -> None:
    builder.write({"file": "x\n"})
    for name, target in LINKS.items():
        (builder.context / name).symlink_to(target)
    result = builder.build(
        FROM + "RUN --mount=source=to-root,target=/a --mount=source=up,target=/b ls /a > /one; ls /b > /two\n"
    )
    assert result.text("/one") == result.text("/two") == "file\nloop\nto-root\nup\n"


@pytest.mark.parametrize("source", ["to-root/etc/passwd", "../../../../etc/passwd", "loop"])
def test_context_symlinks_lead_nowhere(root_builder: Builder, source: str) -> None:
    for name, target in LINKS.items():
        (root_builder.context / name).symlink_to(target)
    result = root_builder.build(FROM + f"RUN --mount=source={source},target=/m cat /m\n")
    assert result.returncode == 4, result.output


def test_stage_symlinks_lead_nowhere(builder: Builder) -> None:
    canary = builder.place / "canary"
    canary.write_text(CANARY)
    result = builder.build(
        "FROM busybox AS bad\nRUN ln -s / /out\nFROM busybox\n"
        "RUN --mount=from=bad,source=/out,target=/s ls /s > /listing\n"
    )
    assert "bad" not in result.text("/listing")
    assert "proc" in result.text("/listing").splitlines()
    for source in ("/file", "/up", "/out/file", "/proc/self/root"):
        dockerfile = (
            "FROM busybox AS bad\n"
            f"RUN ln -s ../../../../..{canary} /file && ln -s {builder.place} /up && ln -s / /out\n"
            f"FROM busybox\nRUN --mount=from=bad,source={source},target=/s cat /s\n"
        )
        failed = builder.build(dockerfile)
        assert failed.returncode == 4, failed.output
        assert CANARY not in failed.output


def test_target_symlinks_lead_nowhere(builder: Builder) -> None:
    outside = builder.place / "outside"
    outside.mkdir()
    builder.own(outside)
    builder.write({"file": "x\n"})
    result = builder.build(
        FROM
        + f"RUN ln -s {outside} /link && ln -s ../../../../../..{outside} /up && ln -s /real /dangling\n"
        + "RUN --mount=target=/link/a --mount=target=/up/b --mount=target=/dangling/c"
        + " cat /link/a/file /up/b/file /real/c/file > /read\n"
    )
    assert result.text("/read") == "x\nx\nx\n"
    assert list(outside.iterdir()) == []
    assert not {"/real", str(outside), str(builder.place)} & set(result.image.files)


def test_stub_parent_swapped_for_a_link(builder: Builder) -> None:
    """What the step does to the way to a mount point: nothing outside is removed, nothing is lost inside."""
    outside = builder.place / "outside"
    (outside / "mount").mkdir(parents=True)
    builder.own(outside)
    result = builder.build(
        FROM
        + "RUN mkdir -p /keep/mount\n"
        + "RUN --mount=type=tmpfs,target=/p/q/mount mv /p /moved;"
        + f" rm -rf /p/q 2> /dev/null; ln -s {outside} /p/q/link; ln -s /keep /p/other; true\n"
    )
    assert result.returncode == 0, result.output
    assert "/keep/mount" in result.image.files
    assert (outside / "mount").is_dir()


def test_mounts_on_mounts(builder: Builder) -> None:
    builder.write({"package.json": "{}\n", "src/main": "main\n"})
    digest = tree_digest(builder.context)
    result = builder.build(
        FROM
        + "WORKDIR /app\n"
        + "RUN --mount=type=cache,id=m,target=node_modules --mount=target=.,rw"
        + " --mount=type=tmpfs,target=/app/deep/er --mount=source=package.json,target=/app/deep/er/file"
        + " touch node_modules/x && cat src/main deep/er/file > /read\n"
        + "RUN --mount=type=cache,id=m,target=/app/node_modules ls node_modules > /cached\n"
    )
    assert result.text("/read") == "main\n{}\n"
    assert result.text("/cached") == "x\n"
    assert result.image.files["/app"].kind == "dir"
    assert not [path for path in result.image.files if path.startswith("/app/")]
    assert tree_digest(builder.context) == digest
    refused = builder.build(FROM + "RUN --mount=target=/c --mount=type=tmpfs,target=/c/none true\n")
    assert "Read-only file system" in refused.output
    assert tree_digest(builder.context) == digest


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--mount=target=.", "invalid mount target"),
        ("--mount=target=/etc/passwd/x", "/etc/passwd is a file in the image"),
        ("--mount=target=/etc/passwd", "/etc/passwd is a file in the image"),
        ("--mount=target=/etc,source=file", "/etc is a directory in the image"),
        ("--mount=target=/x,source=nothing", '"/nothing": not found'),
        ("--mount=target=/x,from=busybox,source=/nothing", "/nothing of busybox"),
        ("--security=insecure", "--security=insecure is refused"),
        ("--device=vendor.com/gpu", "--device is refused"),
    ],
)
def test_refused(root_builder: Builder, flags: str, message: str) -> None:
    root_builder.write({"file": "x\n"})
    result = root_builder.build(f"# syntax=docker/dockerfile:1-labs\n{FROM}RUN {flags} true\n")
    assert result.returncode in (3, 4), result.output
    assert message in result.output


def test_cache_is_kept_for_later_builds(builder: Builder) -> None:
    caches = builder.place / "caches"
    dockerfile = FROM + "RUN --mount=type=cache,id=../../x,target=/c echo x >> /c/log && cat /c/log > /log\n"
    for _ in range(2):
        result = builder.build(dockerfile, f"--mount-cache-dir={caches}")
    assert result.text("/log") == "x\nx\n"
    assert builder.build(dockerfile).text("/log") == "x\n"
    assert len(list(caches.iterdir())) == 1
    assert sorted(path.name for path in builder.place.iterdir() if path.name.startswith("x")) == []


def test_cache_namespaces_and_read_only(root_builder: Builder) -> None:
    dockerfile = FROM + "RUN --mount=type=cache,target=/c ls /c > /listing && touch /c/x\n"
    caches = f"--mount-cache-dir={root_builder.place}/caches"
    assert (
        root_builder.build(dockerfile, caches, "--build-arg=BUILDKIT_CACHE_MOUNT_NS=a").text("/listing") == ""
    )
    assert (
        root_builder.build(dockerfile, caches, "--build-arg=BUILDKIT_CACHE_MOUNT_NS=b").text("/listing") == ""
    )
    again = root_builder.build(dockerfile, caches, "--build-arg=BUILDKIT_CACHE_MOUNT_NS=a")
    assert again.text("/listing") == "x\n"
    refused = root_builder.build(FROM + "RUN --mount=type=cache,target=/c,ro touch /c/x\n")
    assert "Read-only file system" in refused.output


def test_cache_starts_as_a_part_of_a_stage(builder: Builder) -> None:
    mount = "--mount=type=cache,target=/c,from=seed,source=/up/s"
    result = builder.build(
        "FROM busybox AS seed\n"
        "RUN mkdir -m 700 /s && echo seed > /s/file && ln -s /etc/passwd /s/link && ln -s / /up\n"
        "FROM busybox\n"
        f"RUN {mount} readlink /c/link > /link; echo more >> /c/file\n"
        f"RUN {mount} cat /c/file > /read\n"
    )
    assert result.text("/link") == "/etc/passwd\n"
    assert result.text("/read") == "seed\nmore\n"


def test_locked_cache_is_one_build_at_a_time(root_builder: Builder) -> None:
    builder = root_builder
    script = "mkdir /c/lock && sleep 1 && rmdir /c/lock && echo x >> /c/log"
    file = builder.place / "Dockerfile"
    file.write_text(f"{FROM}RUN --mount=type=cache,target=/c,sharing=locked {script}\n")
    arguments = [str(builder.context), f"-f={file}", "--no-push", f"--mount-cache-dir={builder.place}/caches"]
    running = [builder.start(arguments) for _ in range(3)]
    outputs = [process.communicate(timeout=60)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], outputs
    assert any("waiting for the cache /c" in output for output in outputs)
    (data,) = (builder.place / "caches").glob("*/data")
    assert (data / "log").read_text() == "x\n" * 3


def test_private_caches_are_apart(root_builder: Builder) -> None:
    builder = root_builder
    file = builder.place / "Dockerfile"
    file.write_text(
        f"{FROM}RUN --mount=type=cache,target=/c,sharing=private mkdir /c/own && sleep 1 && rmdir /c/own\n"
    )
    arguments = [str(builder.context), f"-f={file}", "--no-push", f"--mount-cache-dir={builder.place}/caches"]
    running = [builder.start(arguments) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs
    assert len(list((builder.place / "caches").iterdir())) == 2


def test_same_cache_twice_in_a_step(root_builder: Builder) -> None:
    mount = "--mount=type=cache,id=c,sharing=locked"
    result = root_builder.build(
        FROM + f"RUN {mount},target=/a {mount},target=/b touch /a/x && ls /b > /listing\n"
    )
    assert result.text("/listing") == "x\n"


def test_tmpfs(builder: Builder) -> None:
    result = builder.build(
        FROM
        + "RUN --mount=type=tmpfs,target=/tmp,size=1m stat -f -c %T /tmp > /type; stat -c %a /tmp >> /type;"
        + " ! dd if=/dev/zero of=/tmp/x bs=1M count=2 2> /dev/null\n"
    )
    assert result.text("/type") == "tmpfs\n1777\n"


def test_network(builder: Builder) -> None:
    result = builder.build(
        FROM
        + "RUN --network=none ls /sys/class/net > /none; cat /proc/net/route | wc -l >> /none\n"
        + "RUN --network=host readlink /proc/self/ns/net > /host\n"
        + "RUN readlink /proc/self/ns/net > /default\n"
    )
    assert result.text("/none").splitlines()[-1] == "1"
    assert result.text("/host") == result.text("/default") == f"{os.readlink('/proc/self/ns/net')}\n"


def test_heredoc_with_mounts(root_builder: Builder) -> None:
    root_builder.write({"file": "text\n"})
    result = root_builder.build(
        f"{FROM}ARG where=/m\nRUN --mount=target=$where <<end\n#!/bin/sh\ncat /m/file > /read\nend\n"
    )
    assert result.text("/read") == "text\n"
