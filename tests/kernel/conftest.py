import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.exec_request import Executor, Identity, make_executor, user_with_subordinate_ids

ROOT = Identity("root", 0, 0)
SINGLE_ID = Identity("single id", 54321, 54321)
ROOT_OF_CONTAINER = Identity(
    "root without CAP_SYS_ADMIN", 0, 0, ("setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-all")
)


@pytest.fixture(scope="session")
def mapped_user() -> Iterator[Identity]:
    with user_with_subordinate_ids("knarr-test-mapped") as identity:
        yield identity


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A directory that every user may pass through, which pytest's own is not."""
    with tempfile.TemporaryDirectory(prefix="knarr-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(params=["root", "container root", "mapped", "single"])
def executor(request: pytest.FixtureRequest, open_place: Path, mapped_user: Identity) -> Executor:
    """An executor of each kind that differs to the kernel."""
    identities = {
        "root": ROOT,
        "container root": ROOT_OF_CONTAINER,
        "mapped": mapped_user,
        "single": SINGLE_ID,
    }
    return make_executor(identities[request.param], open_place / "place")


@pytest.fixture
def root_executor(open_place: Path) -> Executor:
    return make_executor(ROOT, open_place / "place")


@pytest.fixture
def single_executor(open_place: Path) -> Executor:
    return make_executor(SINGLE_ID, open_place / "place")


@pytest.fixture
def mapped_executor(open_place: Path, mapped_user: Identity) -> Executor:
    return make_executor(mapped_user, open_place / "place")
