import os
import pwd
from pathlib import Path

import pytest

from knarr.exec.namespaces import IdRange, subordinate_ranges

NAME = pwd.getpwuid(os.getuid()).pw_name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{NAME}:100000:65536\n", [(100000, 65536)]),
        (f"other:1:2\n{NAME}:5:6\n{os.getuid()}:7:8", [(5, 6), (7, 8)]),
        (f"{NAME}:5\n{NAME}::\n{NAME}:x:y\n{NAME}:-1:5\n{NAME}:5:0\n#{NAME}:1:1\n\n", []),
        (f" {NAME}:5:6 \n", [(5, 6)]),
    ],
)
def test_ranges(tmp_path: Path, text: str, expected: list[tuple[int, int]]) -> None:
    file = tmp_path / "subuid"
    file.write_text(text)
    assert subordinate_ranges(str(file), os.getuid()) == [IdRange(*each) for each in expected]


def test_unreadable_or_unknown(tmp_path: Path) -> None:
    assert subordinate_ranges(str(tmp_path / "missing"), os.getuid()) == []
    (tmp_path / "subuid").write_bytes(b"4000000000:5:6\n\xff:1:1\n")
    assert subordinate_ranges(str(tmp_path / "subuid"), 4000000000) == [IdRange(5, 6)]
