"""Every flag of kaniko's executor: what it does, as a user of kaniko writes it.

The table is data: each row has a flag with the image, file, message or request that shows its effect.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from knarr.cli.command import Command
from knarr.cli.commands.build import GROUPS
from knarr.cli.flags.refused import REFUSED
from support.builds import Builds
from support.counting_registry import CountingRegistry
from support.faulty_registry import Answer, FaultyRegistry
from support.kaniko_flags import Bench, Row, read_table
from support.registry import Registry, make_certificates, server_context

pytestmark = [pytest.mark.registry, pytest.mark.root, pytest.mark.slow]

FLAGS, ROWS = read_table()


@dataclass(frozen=True)
class Registries:
    """Registries that are hard to get at, and what gets at them."""

    tls: Registry
    locked: Registry
    mutual: FaultyRegistry
    ca: Path
    certificate: Path
    key: Path


@pytest.fixture(scope="module")
def registries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registries]:
    place = tmp_path_factory.mktemp("registries")
    ca, certificate, key = make_certificates(place)
    context = server_context(certificate, key, clients=ca)
    tls, locked = Registry.start(place, tls=True), Registry.start(place, auth=("me", "secret"))
    try:
        with FaultyRegistry(lambda asked: Answer(403), tls=context) as mutual:
            yield Registries(tls, locked, mutual, ca, certificate, key)
    finally:
        tls.stop()
        locked.stop()


@pytest.fixture
def bench(base_registry: Registry, registries: Registries, tmp_path: Path) -> Iterator[Bench]:
    with CountingRegistry(base_registry) as counting:
        places = {
            "place": str(tmp_path),
            "host": counting.registry.host,
            "plain": base_registry.host,
            "tls": registries.tls.host,
            "tls_ca": str(registries.tls.ca_file),
            "locked": registries.locked.host,
            "mutual": registries.mutual.host,
            "ca": str(registries.ca),
            "certificate": str(registries.certificate),
            "key": str(registries.key),
        }
        yield Bench(Builds(counting.registry, tmp_path), counting, places)


@pytest.mark.parametrize("row", [pytest.param(row, id=row["flag"]) for row in ROWS])
def test_effect(row: Row, bench: Bench) -> None:
    bench.run(row)


def test_every_flag_is_known_and_has_its_row() -> None:
    assert len(FLAGS) == 68
    assert [row["flag"] for row in ROWS] == FLAGS
    known = Command("build", GROUPS, lambda *_: 0, refused=REFUSED).grammar.flags
    refused = {row["flag"] for row in ROWS if row["kind"] == "refused"}
    assert set(FLAGS) - refused <= known.keys()
    assert refused == REFUSED.keys()
    assert not refused & known.keys()


def test_rows_use_their_flag() -> None:
    for row in ROWS:
        texts = [text.partition("=")[0] for text in row["arguments"]]
        shorts = {"verbosity": "-v", "dockerfile": "-f"}
        assert {f"--{row['flag']}", shorts.get(row["flag"])} & set(texts), row["flag"]


def test_count_by_kind() -> None:
    assert Counter(row["kind"] for row in ROWS) == {"works": 53, "notice": 12, "refused": 3}


def test_the_letters_of_kaniko_are_the_same() -> None:
    shorts = Command("build", GROUPS, lambda *_: 0).grammar.shorts
    names = {letter: flag.name for letter, flag in shorts.items()}
    kaniko = {"c": "context", "d": "destination", "f": "dockerfile", "v": "verbosity"}
    assert names == {**kaniko, "o": "output"}  # the last is docker's: kaniko has none of that name


def test_the_migration_page_has_every_flag() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/migrate-from-kaniko.md").read_text()
    assert [name for name in FLAGS if f"`--{name}`" not in page] == []
