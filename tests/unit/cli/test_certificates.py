import os
from pathlib import Path

from knarr.cli.values.certificates import find_certificates

ONE = "-----BEGIN CERTIFICATE-----\nb25l\n-----END CERTIFICATE-----"
TWO = "-----BEGIN CERTIFICATE-----\nMg==\n-----END CERTIFICATE-----"


def test_every_file_whatever_its_name(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    (first / "company").write_text(f"# our CA\n{ONE}\n")
    (first / "both.crt").write_text(f"{TWO}\n{ONE}\n")
    (second / "linked.pem").symlink_to(first / "company")
    (second / "notes.txt").write_bytes(b"no certificate \xff\xfe")
    (second / "directory").mkdir()
    (second / "dangling").symlink_to("nowhere")
    assert find_certificates({"SSL_CERT_DIR": f"{first}:{second}:{tmp_path}/none"}) == (TWO, ONE)


def test_no_directory() -> None:
    assert find_certificates({}) == ()
    assert find_certificates({"SSL_CERT_DIR": ""}) == ()


def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert find_certificates({"SSL_CERT_DIR": str(tmp_path)}) == ()


def test_a_huge_file_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "huge").write_bytes(ONE.encode() + bytes(4 * 1024 * 1024))
    assert find_certificates({"SSL_CERT_DIR": str(tmp_path)}) == ()
