import json
from typing import Any

import pytest

from knarr.errors import CorruptError
from knarr.oci.digest import Digest
from knarr.oci.image_config import DEFAULT_PATH, History, ImageConfig
from knarr.oci.platform import Platform

D = Digest.of(b"layer")
BASE: dict[str, Any] = {
    "architecture": "arm64",
    "variant": "v8",
    "os": "linux",
    "config": {
        "Env": ["PATH=/bin", "EMPTY=", "BARE", "EQUALS=a=b"],
        "User": "app:app",
        "WorkingDir": "srv",
        "Shell": ["/bin/bash", "-c"],
        "OnBuild": ["RUN make"],
        "Labels": {"a": "1"},
        "ArgsEscaped": True,
    },
    "rootfs": {"type": "layers", "diff_ids": [str(D)]},
    "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "ADD", "empty_layer": False}],
    "vendor": {"kept": [1]},
}


def _parse(document: Any) -> ImageConfig:
    return ImageConfig.parse(json.dumps(document).encode())


def test_properties() -> None:
    config = _parse(BASE)
    assert config.platform == Platform("linux", "arm64")
    assert config.env == {"PATH": "/bin", "EMPTY": "", "BARE": "", "EQUALS": "a=b"}
    assert (config.user, config.working_dir) == ("app:app", "/srv")
    assert (config.shell, config.onbuild) == (("/bin/bash", "-c"), ("RUN make",))
    assert config.diff_ids == (D,)
    assert config.history == (History("2024-01-01T00:00:00Z", "ADD"),)


def test_bare_config() -> None:
    config = _parse({})
    assert (config.env, config.user, config.working_dir) == ({}, "", "/")
    assert (config.shell, config.onbuild, config.diff_ids, config.history) == (None, (), (), ())


def test_scratch() -> None:
    config = ImageConfig.scratch(Platform.parse("linux/arm/v6"))
    assert json.loads(config.to_bytes()) == {
        "architecture": "arm",
        "variant": "v6",
        "os": "linux",
        "config": {"Env": [f"PATH={DEFAULT_PATH}"], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": []},
    }


def test_changes_are_new_values_and_keep_what_is_unknown() -> None:
    base = _parse(BASE)
    changed = (
        base.with_layer(Digest.of(b"new"), History(created_by="RUN make"))
        .with_history(History(created_by="ENV A=1", empty_layer=True))
        .with_env({"A": "1"})
        .with_labels([("b", "2"), ("a", "3")])
        .with_run(User="root", Shell=None)
        .with_property("created", "2025-01-01T00:00:00Z")
    )
    assert base == _parse(BASE)
    assert changed.diff_ids == (D, Digest.of(b"new"))
    assert [entry.created_by for entry in changed.history] == ["ADD", "RUN make", "ENV A=1"]
    assert [entry.empty_layer for entry in changed.history] == [False, False, True]
    assert changed.env == {"A": "1"}
    assert changed.run["Labels"] == {"a": "3", "b": "2"}
    assert (changed.user, changed.shell) == ("root", None)
    assert changed.run["ArgsEscaped"] is True
    assert changed.document["vendor"] == {"kept": [1]}


def test_bytes_do_not_depend_on_the_order_of_changes() -> None:
    base = _parse(BASE)
    one = base.with_run(User="a", Cmd=["b"]).with_property("x", 1).with_property("author", "c")
    other = base.with_property("author", "c").with_property("x", 1).with_run(Cmd=["b"]).with_run(User="a")
    assert one.to_bytes() == other.to_bytes()
    assert ImageConfig.parse(one.to_bytes()).to_bytes() == one.to_bytes()


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"config": []},
        {"config": {"Env": "PATH=/bin"}},
        {"config": {"Labels": ["a"]}},
        {"config": {"Entrypoint": "sh"}},
        {"config": {"Cmd": {"a": 1}}},
        {"config": {"User": 0}},
        {"config": {"WorkingDir": ["/"]}},
        {"config": {"ExposedPorts": ["80"]}},
        {"config": {"OnBuild": "RUN"}},
        {"rootfs": []},
        {"rootfs": {"diff_ids": "sha256:"}},
        {"history": {"created_by": "RUN"}},
    ],
)
def test_wrong_types_are_refused(document: Any) -> None:
    with pytest.raises(CorruptError):
        _parse(document)


def test_bad_diff_id_is_refused_when_asked_for() -> None:
    config = _parse({"rootfs": {"type": "layers", "diff_ids": ["../../etc/passwd"]}})
    with pytest.raises(CorruptError):
        _ = config.diff_ids


_PROPERTIES = (
    "User ExposedPorts Env Entrypoint Cmd Volumes WorkingDir Labels StopSignal Healthcheck OnBuild Shell"
)
NOTHING: dict[str, Any] = {
    "architecture": "amd64",
    "os": "linux",
    "variant": None,
    "os.features": None,
    "author": None,
    "created": None,
    "rootfs": {"type": "layers", "diff_ids": None},
    "history": None,
    "config": dict.fromkeys(_PROPERTIES.split()),
}


@pytest.mark.parametrize("changes", [{}, {"config": None}, {"rootfs": None}, {"config": {}}])
def test_null_is_nothing(changes: dict[str, Any]) -> None:
    """Read into Go's structs and written again, a null is gone."""
    config = _parse({**NOTHING, **changes})
    assert (config.env, config.user, config.working_dir, config.shell) == ({}, "", "/", None)
    assert (config.diff_ids, config.history, config.onbuild) == ((), (), ())
    changed = (
        config.with_labels([("a", "1")])
        .with_env({"A": "1"})
        .with_layer(D, History(created_by="x"))
        .with_run(Cmd=["sh"])
    )
    assert _parse(json.loads(changed.to_bytes())) == changed
    assert b"null" not in changed.to_bytes()


def test_null_in_lists_and_maps_is_empty() -> None:
    config = _parse(
        {
            "history": [None, {"created_by": None, "empty_layer": None}],
            "config": {
                "Env": ["A=1", None, ""],
                "Cmd": ["sh", None],
                "Labels": {"a": None},
                "Volumes": {"/data": None},
                "ExposedPorts": {"80/tcp": None},
            },
        }
    )
    assert config.history == (History(), History())
    assert config.env == {"A": "1"}
    assert config.run["Cmd"] == ["sh", ""]
    assert config.run["Labels"] == {"a": ""}
    assert (config.run["Volumes"], config.run["ExposedPorts"]) == ({"/data": {}}, {"80/tcp": {}})


def test_names_count_in_any_case() -> None:
    config = _parse(
        {
            "OS": "linux",
            "Architecture": "arm64",
            "Config": {
                "env": ["A=1"],
                "ENTRYPOINT": ["x"],
                "workingdir": "/w",
                "labels": {"Key": "1", "key": "2"},
            },
            "RootFS": {"DiffIDs": [], "Diff_IDs": [str(D)]},
            "History": [{"Created_By": "RUN x"}],
        }
    )
    assert config.platform == Platform("linux", "arm64")
    assert (config.env, config.run["Entrypoint"], config.working_dir) == ({"A": "1"}, ["x"], "/w")
    assert config.run["Labels"] == {"Key": "1", "key": "2"}
    assert (config.diff_ids, config.history) == ((D,), (History(created_by="RUN x"),))
