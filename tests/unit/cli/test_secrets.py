"""`--secret` with `--ssh`."""

import socket
from pathlib import Path

import pytest

from knarr.cli.values.secrets import read_credentials
from knarr.errors import UsageError


def secrets(*values: str, **environment: str) -> dict[str, bytes]:
    return dict(read_credentials(values, (), environment).secrets)


def test_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"\xff\n")
    assert secrets("id=a,src=file", "id=b,source=file", "id=c,env=V", V="v") == {
        "a": b"\xff\n",
        "b": b"\xff\n",
        "c": b"v",
    }
    assert secrets("id=a,type=env,src=V", V="v") == {"a": b"v"}
    assert secrets("id=V", V="v") == {"V": b"v"}
    assert secrets("id=file") == {"file": b"\xff\n"}
    assert secrets("id=file,type=file", file="v") == {"file": b"\xff\n"}
    assert secrets("id=V,type=env", V="v") == {"V": b"v"}
    assert secrets('"id=a,b",env=V', V="v") == {"a,b": b"v"}


@pytest.mark.parametrize(
    "values",
    [
        ("src=file",),
        ("id=a,src=b,env=c",),
        ("id=a,env=UNSET",),
        ("id=a,src=missing",),
        ("id=a,mode=1",),
        ("id=a,type=other",),
        ("id=a,type=file,env=V",),
        ("id=a,env=V", "id=a,env=V"),
        ("a",),
        ('"id=a',),
    ],
)
def test_refused(values: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError):
        secrets(*values, V="v")


def test_limit(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(500 * 1024 + 1))
    with pytest.raises(UsageError, match="larger"):
        secrets(f"id=a,src={tmp_path}/large")


def test_never_shown() -> None:
    assert "hidden" not in repr(read_credentials(["id=a,env=V"], [], {"V": "hidden"}))


def test_agents(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(path))
        environment = {"SSH_AUTH_SOCK": str(path)}
        found = read_credentials([], ["default", f"other={path}"], environment).agents
    assert found == {"default": path, "other": path}
    (tmp_path / "key").touch()
    for value in ("default", f"default={tmp_path}/key", f"default={tmp_path}/none"):
        with pytest.raises(UsageError):
            read_credentials([], [value], {})
