"""Which repository and which secret count, and what is refused before anything is opened."""

from __future__ import annotations

import argparse
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from kluis.errors import NoRepositoryError, PasswordError, UsageError
from kluis.options import Credentials
from kluis_cli import access


def arguments(**given: str) -> argparse.Namespace:
    return argparse.Namespace(**given)


def test_a_flag_wins_over_the_environment(tmp_path: Path) -> None:
    name = tmp_path / "name"
    name.write_text("/from/file\n")
    environ = {"KLUIS_REPOSITORY": "/from/environment"}
    assert access.location(arguments(repo="/r"), environ) == "/r"
    assert access.location(arguments(repository_file=str(name)), environ) == "/from/file"
    assert access.location(arguments(), environ) == "/from/environment"
    assert access.location(arguments(), {"KLUIS_REPOSITORY_FILE": str(name)}) == "/from/file"
    assert access.cache_folder(arguments(cache_dir="/c"), {"KLUIS_CACHE_DIR": "/d"}) == "/c"
    assert access.cache_folder(arguments(), {"KLUIS_CACHE_DIR": "/d"}) == "/d"
    assert access.cache_folder(arguments(), {}) is None


def test_no_repository_is_code_10_with_words(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    for args in (arguments(), arguments(repository_file=str(empty))):
        with pytest.raises(NoRepositoryError):
            access.location(args, {})
    missing = str(tmp_path / "missing")
    with pytest.raises(NoRepositoryError, match="missing"):
        access.location(arguments(repository_file=missing), {})


def test_two_at_once_are_an_error(tmp_path: Path) -> None:
    both = {"KLUIS_REPOSITORY": "/a", "KLUIS_REPOSITORY_FILE": "/b"}
    with pytest.raises(UsageError, match="KLUIS_REPOSITORY and KLUIS_REPOSITORY_FILE"):
        access.location(arguments(), both)
    assert access.location(arguments(repo="/r"), both) == "/r"
    secrets = {"KLUIS_PASSWORD": "a", "KLUIS_PASSWORD_COMMAND": "b"}
    with pytest.raises(UsageError, match="KLUIS_PASSWORD and KLUIS_PASSWORD_COMMAND"):
        access.given_credentials(arguments(), secrets)
    with pytest.raises(UsageError, match="--password-file and --password-command"):
        access.given_credentials(arguments(password_file="a", password_command="b"), {})
    with pytest.raises(UsageError, match="--repo and --repository-file"):
        access.location(arguments(repo="a", repository_file="b"), {})


def test_where_the_passphrase_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_bytes("\ufeffgeheim zoë\r\n".encode())
    secret = "geheim zoë".encode()
    for args, environ in (
        (arguments(password_file=str(file)), {"KLUIS_PASSWORD": "other"}),
        (arguments(password_command="printf 'geheim zoë\\n'"), {}),
        (arguments(), {"KLUIS_PASSWORD": "geheim zoë"}),
        (arguments(), {"KLUIS_PASSWORD_FILE": str(file)}),
        (arguments(), {"KLUIS_PASSWORD_COMMAND": f"cat {file}"}),
    ):
        assert access.given_credentials(args, environ) == Credentials(passphrase=secret)
    assert access.given_credentials(arguments(), {"KLUIS_PASSWORD": ""}) is None


def test_a_key_file_opens_instead_of_a_passphrase(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"\x00key")
    key = Credentials(key_file=b"\x00key")
    for args, environ in (
        (arguments(key_file=str(file)), {"KLUIS_PASSWORD": "other"}),
        (arguments(), {"KLUIS_KEY_FILE": str(file), "KLUIS_PASSWORD": "other"}),
    ):
        assert access.given_credentials(args, environ) == key


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n", b"a\x00b", b"\xff\xfe", b"\xef\xbb\xbf"])
def test_an_empty_or_binary_password_file_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_bytes(content)
    with pytest.raises(PasswordError, match=str(file)):
        access.given_credentials(arguments(password_file=str(file)), {})


def test_only_the_line_end_is_no_part_of_a_passphrase() -> None:
    assert access.passphrase_from(b" a b \n", "x") == b" a b "
    assert access.passphrase_from(b"a\nb\n", "x") == b"a\nb"


@pytest.mark.parametrize("command", ["false", "/no/such/command", "'", "", "true", "printf '\\0'"])
def test_a_password_command_that_fails_or_says_nothing_is_code_12(command: str) -> None:
    with pytest.raises(PasswordError):
        access.passphrase_of_command(command)


def test_files_that_cannot_be_read_are_code_12(tmp_path: Path) -> None:
    for args in (
        arguments(password_file=str(tmp_path / "missing")),
        arguments(password_file=str(tmp_path)),
        arguments(key_file=str(tmp_path / "missing")),
    ):
        with pytest.raises(PasswordError, match=str(tmp_path)):
            access.given_credentials(args, {})


def test_without_a_terminal_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull) as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        with pytest.raises(PasswordError, match="no terminal"):
            access.ask("passphrase: ")


ASKS = """
import os, sys
os.open(os.ttyname(0), os.O_RDWR)  # makes it the terminal of this session
from kluis.errors import PasswordError
from kluis_cli.access import ask
try:
    found = ask("passphrase: ", twice=True)
except PasswordError as error:
    sys.exit(error.exit_status)
sys.exit(0 if found == "zoë".encode() else 1)
"""


def ask_on_a_terminal(*answers: str) -> tuple[int, str]:
    """The exit code of a process that asks twice, and what its terminal showed."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", ASKS],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    for number, answer in enumerate(answers, 1):
        while shown.count(b": ") < number:
            shown += os.read(ours, 100)
        os.write(ours, f"{answer}\n".encode())
    status = child.wait(timeout=20)
    os.close(ours)
    return status, shown.decode()


def test_a_new_passphrase_is_typed_twice_and_never_shown() -> None:
    status, shown = ask_on_a_terminal("zoë", "zoë")
    assert status == 0
    assert "zo" not in shown


def test_two_passphrases_that_differ_are_refused() -> None:
    assert ask_on_a_terminal("zoë", "zoe")[0] == 12
