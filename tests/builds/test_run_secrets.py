"""RUN --mount=type=secret, type=ssh in whole builds."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.builds_as import Builder

pytestmark = [pytest.mark.root, pytest.mark.registry]

FROM = "FROM busybox\n"
SECRET = "aBoatLikeNoOther"


def test_secret_is_nowhere_but_in_its_step(builder: Builder) -> None:
    (builder.place / "token").write_text(SECRET)
    (builder.place / "token").chmod(0o644)
    result = builder.build(
        FROM
        + "RUN --mount=type=secret,id=a --mount=type=secret,id=b,env=B"
        + " --mount=type=secret,id=b,target=/deep/b,mode=0444,uid=0"
        + ' sh -c \'test "$(cat /run/secrets/a)" = "$B" && stat -c "%a %u" /run/secrets/a /deep/b > /modes'
        + " && grep -c /run/secrets/a /proc/mounts > /mounts && ! touch /run/secrets/a'\n"
        + "RUN env > /env; ls /run /deep > /listing; test ! -e /run/secrets\n",
        "--secret=id=a,src=token",
        "--secret=id=b,env=TOKEN",
        env={"TOKEN": SECRET},
    )
    assert result.text("/modes") == "400 0\n444 0\n"
    assert SECRET not in result.output
    assert SECRET not in str(result.image)
    assert not [path for path in result.image.files if path.startswith(("/run/secrets", "/deep"))]


def test_secret_of_a_user(root_builder: Builder) -> None:
    result = root_builder.build(
        FROM
        + "RUN --mount=type=secret,id=a,uid=7,gid=8,mode=0440 stat -c '%a %u %g' /run/secrets/a > /look\n"
        + "USER 7\nRUN --mount=type=secret,id=a,uid=7,mode=0400 cat /run/secrets/a | wc -c > /tmp/read;"
        + " ! cat /run/secrets/b\n",
        "--secret=id=a,env=TOKEN",
        env={"TOKEN": SECRET},
    )
    assert result.text("/look") == "440 7 8\n"
    assert result.text("/tmp/read") == f"{len(SECRET)}\n"


def test_missing_secret(root_builder: Builder) -> None:
    result = root_builder.build(FROM + "RUN --mount=type=secret,id=a,required true\n")
    assert result.returncode == 3
    assert "--secret id=a,src=FILE" in result.output
    assert (
        root_builder.build(FROM + "RUN --mount=type=secret,id=a,env=A env > /env").text("/env").find("A=")
        != 0
    )


@contextmanager
def agent_at(path: Path) -> Iterator[None]:
    """Something that answers every connection with what it was sent, in upper case."""
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(path))
        agent.listen()

        def serve() -> None:
            while True:
                connection, _ = agent.accept()
                with connection:
                    if (data := connection.recv(100)) == b"end":
                        return
                    connection.sendall(data.upper())

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            with socket.socket(socket.AF_UNIX) as last:
                last.connect(str(path))
                last.sendall(b"end")
            thread.join()


def test_ssh_agent(builder: Builder) -> None:
    """SSH_AUTH_SOCK names a socket with the mount's own look."""
    path = builder.place / "agent"
    with agent_at(path):
        builder.own(path)
        result = builder.build(
            FROM
            + "RUN --mount=type=ssh test -S $SSH_AUTH_SOCK && echo $SSH_AUTH_SOCK > /name\n"
            + "RUN --mount=type=ssh,uid=7,mode=0400 stat -c '%a %u' $SSH_AUTH_SOCK > /look\n"
            + "RUN --mount=type=ssh,id=other test -z $SSH_AUTH_SOCK && test ! -e /run/buildkit\n",
            "--ssh=default",
            env={"SSH_AUTH_SOCK": str(path)},
        )
    assert result.text("/name") == "/run/buildkit/ssh_agent.0\n"
    assert result.text("/look") == ("400 7\n" if builder.identity.uid == 0 else "400 0\n")
    assert not [path for path in result.image.files if path.startswith("/run/buildkit")]


@pytest.mark.debian
def test_ssh_agent_answers(root_builder: Builder) -> None:
    """Also a step's user who could not reach the agent itself."""
    path = root_builder.place / "agent"
    ask = (
        "perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new($ENV{SSH_AUTH_SOCK}) or die $!;"
        " print $s qq(hello); $s->shutdown(1); print <$s>'"
    )
    with agent_at(path):
        path.chmod(0o600)
        result = root_builder.build(
            "FROM debian\n"
            f"RUN --mount=type=ssh {ask} > /answer\n"
            "USER 7\n"
            f"RUN --mount=type=ssh,uid=7 {ask} > /tmp/answer\n",
            "--ssh=default",
            env={"SSH_AUTH_SOCK": str(path)},
        )
    assert result.text("/answer") == result.text("/tmp/answer") == "HELLO"
