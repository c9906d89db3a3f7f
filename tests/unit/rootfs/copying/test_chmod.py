import pytest

from knarr.errors import DockerfileError
from knarr.rootfs.copying.chmod import ModeChange


@pytest.mark.parametrize(
    ("text", "mode", "file_mode", "directory_mode"),
    [
        ("0755", 0o600, 0o755, 0o755),
        ("0", 0o600, 0o000, 0o000),
        ("07777", 0o600, 0o7777, 0o7777),
        ("u=rwX,go=rX", 0o600, 0o644, 0o755),
        ("u=rwX,go=rX", 0o700, 0o755, 0o755),
        ("a=r", 0o777, 0o444, 0o444),
        ("=r", 0o777, 0o444, 0o444),
        ("+w", 0o444, 0o666, 0o666),
        ("=rw", 0o2755, 0o666, 0o666),
        ("=rw", 0o1777, 0o1666, 0o1666),
        ("=t", 0o644, 0o1644, 0o1644),
        ("+rt", 0o600, 0o1600, 0o1600),
        ("o-t", 0o1777, 0o1777, 0o1777),
        ("u-t", 0o1777, 0o777, 0o777),
        ("u=t", 0o4700, 0o1000, 0o1000),
        ("o=s", 0o755, 0o750, 0o750),
        ("g=u,o=g", 0o6711, 0o6777, 0o6777),
        ("u=rw,a+X", 0o100, 0o711, 0o711),
        ("a+w", 0o444, 0o666, 0o666),
        ("u+s", 0o755, 0o4755, 0o4755),
        ("g+s,o+t", 0o755, 0o2755, 0o2755),
        ("u-s", 0o4755, 0o755, 0o755),
        ("u=rx", 0o4755, 0o555, 0o555),
        ("go=u", 0o640, 0o666, 0o666),
        ("g=o", 0o604, 0o644, 0o644),
        ("u+x-w", 0o600, 0o500, 0o500),
        ("go-rwx", 0o777, 0o700, 0o700),
        ("go=", 0o777, 0o700, 0o700),
        ("a+X", 0o644, 0o644, 0o755),
    ],
)
def test_apply(text: str, mode: int, file_mode: int, directory_mode: int) -> None:
    change = ModeChange.parse(text)
    assert oct(change.apply(mode, directory=False)) == oct(file_mode)
    assert oct(change.apply(mode, directory=True)) == oct(directory_mode)


@pytest.mark.parametrize(
    "text", ["", "64a", "8", "10000", "-1", "u", "u=z", "u=rw,", "x+w", "rw", "0o755", "u = r"]
)
def test_what_is_no_mode(text: str) -> None:
    with pytest.raises(DockerfileError, match="invalid chmod parameter"):
        ModeChange.parse(text)


def test_mode_of_directories_on_the_way() -> None:
    assert ModeChange.parse("0700").directory_mode == 0o700
    assert ModeChange.parse("7755").directory_mode == 0o755
    assert ModeChange.parse("u=rw").directory_mode == 0o755
