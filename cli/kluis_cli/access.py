"""Which repository is meant, and what opens it: flags first, then the environment."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from kluis.errors import KluisError, NoRepositoryError, PasswordError, UsageError
from kluis_cli import inputs

if TYPE_CHECKING:
    from kluis.options import Credentials

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def _only_one(names: list[str]) -> None:
    if len(names) > 1:
        raise UsageError(f"{' and '.join(names)} are set at the same time; keep one of them")


def _spelled(flags: list[str]) -> list[str]:
    return [f"--{flag.replace('_', '-')}" for flag in flags]


def _set_variables(environ: Mapping[str, str], *names: str) -> list[str]:
    found = [name for name in names if environ.get(name)]
    _only_one(found)
    return found


def location(args: argparse.Namespace, environ: Mapping[str, str]) -> str:
    """The repository; raises `NoRepositoryError` where none is named."""
    given = vars(args)
    flags = [flag for flag in ("repo", "repository_file") if given.get(flag)]
    _only_one(_spelled(flags))
    if given.get("repo"):
        return str(given["repo"])
    if "repo" in given or given.get("repository_file") == "":  # as from a variable that is not set
        raise NoRepositoryError("the name of the repository is empty; nothing was opened")
    file_name = given.get("repository_file")
    if not flags:
        for name in _set_variables(environ, "KLUIS_REPOSITORY", "KLUIS_REPOSITORY_FILE"):
            if name == "KLUIS_REPOSITORY":
                return environ[name]
            file_name = environ[name]
    if not file_name:
        raise NoRepositoryError("no repository was named: give -r REPO, or set KLUIS_REPOSITORY")
    try:
        found = os.fsdecode(inputs.read(file_name).strip())
    except KluisError as error:
        raise NoRepositoryError(str(error)) from error
    if not found:
        raise NoRepositoryError(f"{file_name} is empty; it has to hold the name of the repository")
    if "\0" in found:
        raise NoRepositoryError(f"{file_name} holds zero bytes, and no name of a repository")
    return found


def cache_folder(args: argparse.Namespace, environ: Mapping[str, str]) -> str | None:
    """Where the cache lies, if that was said."""
    return getattr(args, "cache_dir", None) or environ.get("KLUIS_CACHE_DIR") or None


def passphrase_from(content: bytes, where: str) -> bytes:
    """A passphrase without its last line end; refuses what nobody can type."""
    found = content.removeprefix(_BYTE_ORDER_MARK).rstrip(b"\r\n")
    if not found:
        raise PasswordError(f"{where} is empty; it has to hold the passphrase on one line")
    try:
        readable = b"\0" not in found and bool(found.decode())
    except UnicodeDecodeError:
        readable = False
    if not readable:
        raise PasswordError(f"{where} holds no text; a passphrase is text in UTF-8 on one line")
    return found


def passphrase_of_file(name: str) -> bytes:
    """What the file holds; raises `PasswordError`, also where it cannot be read."""
    try:
        content = inputs.read(name)
    except KluisError as error:
        raise PasswordError(f"{error}") from error
    return passphrase_from(content, f"the passphrase file {name}")


def passphrase_of_command(command: str) -> bytes:
    """What the command prints; raises `PasswordError` where it fails."""
    import shlex
    import subprocess

    from kluis_cli.signals import run_command

    try:
        status, printed = run_command(shlex.split(command), stdin=subprocess.DEVNULL)
    except (OSError, ValueError, IndexError) as error:
        raise PasswordError(f"the passphrase command {command!r} cannot be run: {error}") from error
    if status != 0:
        raise PasswordError(
            f"the passphrase command {command!r} failed with status {status}; "
            "nothing was opened or written"
        )
    return passphrase_from(printed, f"what the passphrase command {command!r} prints")


def key_of_file(name: str) -> bytes:
    """The content of a key file; raises `PasswordError` where it cannot be read."""
    try:
        content = inputs.read(name)
    except KluisError as error:
        raise PasswordError(f"{error}") from error
    if not content:
        raise PasswordError(f"the key file {name} is empty")
    return content


def _credentials(file_name: str | None, command: str | None, key_file: str | None) -> Credentials:
    from kluis.options import Credentials

    secret = None
    if file_name:
        secret = passphrase_of_file(file_name)
    elif command:
        secret = passphrase_of_command(command)
    return Credentials(passphrase=secret, key_file=key_of_file(key_file) if key_file else None)


def given_credentials(args: argparse.Namespace, environ: Mapping[str, str]) -> Credentials | None:
    """What flags or else the environment give; None if somebody has to be asked."""
    from kluis.options import Credentials

    given = vars(args)
    flags = [flag for flag in ("password_file", "password_command") if given.get(flag)]
    _only_one(_spelled(flags))
    if flags or given.get("key_file"):
        return _credentials(
            given.get("password_file"), given.get("password_command"), given.get("key_file")
        )
    _set_variables(environ, "KLUIS_PASSWORD", "KLUIS_PASSWORD_FILE", "KLUIS_PASSWORD_COMMAND")
    if environ.get("KLUIS_KEY_FILE"):
        return _credentials(None, None, environ["KLUIS_KEY_FILE"])
    if environ.get("KLUIS_PASSWORD"):
        secret = os.fsencode(environ["KLUIS_PASSWORD"])
        return Credentials(passphrase=passphrase_from(secret, "KLUIS_PASSWORD"))
    if environ.get("KLUIS_PASSWORD_FILE") or environ.get("KLUIS_PASSWORD_COMMAND"):
        return _credentials(
            environ.get("KLUIS_PASSWORD_FILE"), environ.get("KLUIS_PASSWORD_COMMAND"), None
        )
    return None


def can_ask() -> bool:
    """Whether somebody sits there."""
    return sys.stdin is not None and sys.stdin.isatty()


def ask(question: str, twice: bool = False) -> bytes:
    """A passphrase from the terminal; raises `PasswordError` where there is none."""
    if not can_ask():
        raise PasswordError(
            "no passphrase was given and there is no terminal to ask on: "
            "set KLUIS_PASSWORD_FILE or KLUIS_PASSWORD, or give --password-file"
        )
    from getpass import getpass

    try:
        found = getpass(question)
        if twice and getpass("the same again: ") != found:
            raise PasswordError("the two passphrases differ; nothing was written")
    except EOFError:
        raise PasswordError("no passphrase was typed") from None
    return passphrase_from(found.encode(errors="surrogateescape"), "the passphrase")
