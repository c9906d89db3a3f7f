import errno

import pytest

from knarr.exec.refusals import NEW_MOUNTS, refusal


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOSPC, "max_user_namespaces"),
        (errno.EINVAL, "CONFIG_USER_NS"),
        (errno.EACCES, "AppArmor"),
        (errno.EPERM, "CAP_SYS_ADMIN"),
    ],
)
def test_says_what_is_missing(number: int, hint: str) -> None:
    error = refusal(NEW_MOUNTS, OSError(number, "no"))
    assert error.exit_status == 8
    assert error.message == "cannot create a mount namespace of its own: no"
    assert error.hint is not None
    assert hint in error.hint


def test_an_unknown_number_has_a_hint() -> None:
    assert refusal(NEW_MOUNTS, OSError(errno.EIO, "no")).hint
