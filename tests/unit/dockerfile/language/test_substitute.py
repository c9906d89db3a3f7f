"""Which parts of which instruction are expanded."""

import pytest

from knarr.dockerfile.language.history import created_by
from knarr.dockerfile.language.instructions import Add, Copy, Expose, Healthcheck
from knarr.dockerfile.language.parser import parse
from knarr.dockerfile.language.substitute import substitute
from knarr.errors import DockerfileError

ENV = {"A": "one", "P": "80 90/udp"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ENV $A=$A x='$A'", "ENV one=one x=$A"),
        ('ENV x some "$A" text', "ENV x=some one text"),
        ('LABEL "$A"=$A', "LABEL one=one"),
        ("COPY --chown=$A --chmod=$A $A <<E /$A\nE", "COPY --chown=one --chmod=one one <<E /one # buildkit"),
        ('COPY ["$A b", "c"]', "COPY one b c # buildkit"),
        ("ADD $A /$A", "ADD one /one # buildkit"),
        ("USER $A", "USER one"),
        ("VOLUME /$A", "VOLUME [/one]"),
        ("STOPSIGNAL $A", "STOPSIGNAL one"),
        ("MAINTAINER $A", "MAINTAINER $A"),
        ('SHELL ["$A"]', "SHELL [$A]"),
    ],
)
def test_substitute(text: str, expected: str) -> None:
    (instruction,) = parse(f"FROM a\n{text}\n".encode(), file="Dockerfile").stages[0].instructions
    assert created_by(substitute(instruction, ENV, escape="\\")) == expected


def test_parts_that_history_does_not_show() -> None:
    text = (
        b"FROM a\nCOPY --exclude=$A <<E <<'F' /x\n'$A'\nE\n$A\nF\nADD --checksum=$A x y\nEXPOSE $P 70\n"
        b"HEALTHCHECK CMD $A\n"
    )
    stage = parse(text, file="Dockerfile").stages[0]
    copy, add, expose, check = (substitute(item, ENV, escape="\\") for item in stage.instructions)
    assert isinstance(copy, Copy)
    assert isinstance(add, Add)
    assert isinstance(expose, Expose)
    assert isinstance(check, Healthcheck)
    assert copy.exclude == ("$A",)
    assert [file.body for file in copy.files] == ["'one'\n", "$A\n"]
    assert add.checksum == "one"
    assert expose.ports == ("80", "90/udp", "70")
    assert check.command == "$A"


def test_error_shows_the_instruction() -> None:
    (user,) = parse(b"FROM a\nUSER ${A:=x}\n", file="Dockerfile").stages[0].instructions
    with pytest.raises(DockerfileError) as caught:
        substitute(user, ENV, escape="\\")
    assert caught.value.location == user.location
