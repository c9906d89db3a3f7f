"""The plan of a build: printed, and nothing done."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.builds import Builds, check_explained
from support.counting_registry import CountingRegistry
from support.registry import Registry

DOCKERFILE = """\
FROM busybox AS tools
RUN echo tool > /tool
FROM busybox AS unused
RUN false
FROM busybox
ENV MODE=fast
COPY --from=tools /tool /tool
COPY last /last
"""
FILES = {"last": "last\n"}


@pytest.fixture
def counting(base_registry: Registry) -> Iterator[CountingRegistry]:
    with CountingRegistry(base_registry) as counting:
        yield counting


@pytest.fixture
def builds(counting: CountingRegistry, tmp_path: Path) -> Builds:
    return Builds(counting.registry, tmp_path)


def test_plan_alone(builds: Builds, counting: CountingRegistry) -> None:
    one, two = builds.name("dry/one:1"), builds.name("dry/one:2")
    tar, digest = builds.place / "image.tar", builds.place / "digest"
    outputs = ("-d", one, "-d", two, "--tar-path", str(tar), "--digest-file", str(digest))
    result = builds.build(DOCKERFILE, "--dryrun", *outputs, files=FILES)
    assert result.output.splitlines() == [
        "FROM busybox AS tools",
        "RUN echo tool > /tool",
        "FROM busybox",
        "ENV MODE=fast",
        "COPY --from=tools /tool /tool",
        "COPY last /last",
        f"PUSH [{one} {two}]",
        f"WRITE {tar}",
    ]
    assert not tar.exists()
    assert not digest.exists()
    assert {each.method for each in counting.exchanges} <= {"GET", "HEAD"}
    assert counting.layers_pulled == []


def test_what_the_cache_has(builds: Builds, counting: CountingRegistry) -> None:
    flags = ("--cache", "--cache-copy-layers", "--cache-repo", builds.name("dry/cache"), "--no-push")
    cold = builds.build(DOCKERFILE, "--dryrun", *flags, files=FILES)
    first = "  CACHE MISS (what it depends on is built first)"
    assert cold.output.splitlines() == [
        "FROM busybox AS tools",
        "RUN echo tool > /tool",
        "  CACHE MISS (not in the cache)",
        "FROM busybox",
        "ENV MODE=fast",
        "COPY --from=tools /tool /tool",
        first,
        "COPY last /last",
        first,
    ]
    assert builds.tags("dry/cache") == []
    builds.build(DOCKERFILE, *flags, files=FILES)
    kept = builds.tags("dry/cache")
    counting.forget()
    warm = builds.build(DOCKERFILE, "--dryrun", *flags, files=FILES)
    assert warm.output.count("CACHE HIT") == 3
    assert "CACHE MISS" not in warm.output
    partly = builds.build(DOCKERFILE, "--dryrun", *flags, files={"last": "changed\n"})
    assert partly.output.splitlines()[-2:] == ["COPY last /last", "  CACHE MISS (not in the cache)"]
    assert counting.layers_pulled == []
    assert builds.tags("dry/cache") == kept


def test_plan_ahead_of_the_build(builds: Builds) -> None:
    result = builds.build(
        "FROM scratch\nCOPY a /\n", "--no-push", files={"a": "1"}, environment={"KANIKO_PRINT_PLAN": "true"}
    )
    *plan, digest = result.output.splitlines()
    assert plan == ["FROM scratch", "COPY a /"]
    assert digest.startswith("sha256:")


def test_mistakes_are_found_without_a_build(builds: Builds) -> None:
    result = builds.build("FROM scratch\nCOPPY a /\n", "--no-push", "--dryrun", status=3)
    check_explained(result, "COPPY")
    result = builds.build("FROM gone-image\n", "--no-push", "--dryrun", status=5)
    assert result.output == ""
