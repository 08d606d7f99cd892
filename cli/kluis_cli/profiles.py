"""Profiles: a TOML file with defaults for flags, such as `kluis -p office backup`.

    [office]
    repository = "/mnt/disk/backup"
    password-file = "~/.config/kluis/office.password"
    paths = ["~/Documents"]
    excludes = ["*.tmp"]
    tags = ["office"]

    [office.hooks]
    before = "systemctl stop invoices"
    after = "systemctl start invoices"
    on-failure = "systemctl start invoices"

    [office.forget]
    keep-daily = 7

`[default]` holds for every command, below the profile that is named. A flag on the
command line wins over a named profile, that over the environment, that over `[default]`.
Hooks run around a backup, not with `--dry-run`.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import TypeAlias

from kluis.errors import UsageError
from kluis.frozen import field, frozen
from kluis_cli.parser import Parser, actions

Table: TypeAlias = "Mapping[str, object]"

REPOSITORY_KEYS = ("repository", "repository-file")
SECRET_KEYS = ("password-file", "password-command", "key-file")
OTHER_GLOBAL_KEYS = ("cache-dir", "quiet", "verbose", "json")
BACKUP_KEYS = {"excludes": "exclude", "tags": "tag"}
HOOK_KEYS = ("before", "after", "on-failure")
FILE_KEYS = ("repository", "repository-file", "password-file", "key-file", "cache-dir")

REPOSITORY_VARIABLES = ("KLUIS_REPOSITORY", "KLUIS_REPOSITORY_FILE")
SECRET_VARIABLES = (
    "KLUIS_PASSWORD",
    "KLUIS_PASSWORD_FILE",
    "KLUIS_PASSWORD_COMMAND",
    "KLUIS_KEY_FILE",
)


@frozen
class Hooks:
    """Shell commands around a backup."""

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    on_failure: tuple[str, ...] = ()


@frozen
class Profile:
    """What applies to one verb: flags as on the command line, paths, hooks."""

    where: str
    flags: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    hooks: Hooks = field(default_factory=Hooks)


def files(environ: Mapping[str, str]) -> list[str]:
    """Where profiles are looked for; the first file that exists counts."""
    if environ.get("KLUIS_PROFILES"):
        return [environ["KLUIS_PROFILES"]]
    home = environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return [os.path.join(home, "kluis", "profiles.toml"), "/etc/kluis/profiles.toml"]


def _read(environ: Mapping[str, str], name: str | None) -> tuple[str, Table]:
    for path in files(environ):
        try:
            with open(path, encoding="utf-8") as file:
                return path, _parsed(file.read(), path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise UsageError(
                f"cannot read the profiles in {path}: {error.strerror}. Nothing was done. Next: "
                "let this user read it, or name another file in KLUIS_PROFILES"
            ) from error
        except UnicodeDecodeError as error:
            raise _no_toml(path, error) from error
    if name is not None or environ.get("KLUIS_PROFILES"):
        looked = " and ".join(files(environ))
        raise UsageError(f"there is no file with profiles; looked for {looked}")
    return "", {}


def _parsed(text: str, path: str) -> Table:
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _no_toml(path, error) from error


def _no_toml(path: str, error: ValueError) -> UsageError:
    return UsageError(
        f"the profiles in {path} are no TOML in UTF-8: {error}. Nothing was done. Next: "
        "mend that place in the file"
    )


def _table(value: object, where: str) -> Table:
    if not isinstance(value, dict):
        raise UsageError(f"{where} has to be a table")
    return value


def _words(value: object, where: str) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(word, str) and "\0" not in word for word in values):
        raise UsageError(f"{where} has to be text, or a list of texts, without zero bytes")
    return tuple(values)


def _flags(key: str, value: object, where: str) -> list[str]:
    if isinstance(value, bool):
        return [f"--{key}"] if value else []
    if isinstance(value, int) and key == "verbose":
        return ["--verbose"] * value
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(word, str | int | float) for word in values):
        raise UsageError(f"{where}: {key} has to be text, a number, true, or a list of them")
    if any("\0" in str(word) for word in values):
        raise UsageError(f"{where}: {key} holds a zero byte, which no flag can hold")
    flag = "--repo" if key == "repository" else f"--{key}"
    texts = [os.path.expanduser(str(word)) if key in FILE_KEYS else str(word) for word in values]
    return [f"{flag}={word}" for word in texts]


def _hooks(value: object, where: str) -> Hooks:
    table = _table(value, where)
    for key in table:
        if key not in HOOK_KEYS:
            raise UsageError(f"{where} knows no {key!r}; there are {', '.join(HOOK_KEYS)}")
    before, after, on_failure = (_words(table.get(key, []), f"{where}.{key}") for key in HOOK_KEYS)
    return Hooks(before, after, on_failure)


def _one(table: Table, verb: str, where: str) -> Profile:
    flags: list[str] = []
    paths: tuple[str, ...] = ()
    hooks = Hooks()
    for key, value in table.items():
        inside = f"{where}, [{key}]"
        if key in (*REPOSITORY_KEYS, *SECRET_KEYS, *OTHER_GLOBAL_KEYS):
            flags += _flags(key, value, where)
        elif key == "hooks":
            hooks = _hooks(value, inside)
        elif key == "paths":
            paths = tuple(os.path.expanduser(path) for path in _words(value, inside))
        elif key in BACKUP_KEYS:
            flags += _flags(BACKUP_KEYS[key], value, where) if verb == "backup" else []
        elif isinstance(value, dict):
            for name, setting in value.items() if key == verb else ():
                flags += _flags(name, setting, inside)
        else:
            raise UsageError(f"{where} knows no {key!r}; put flags of a verb into a table [.VERB]")
    return Profile(where, tuple(flags), paths, hooks)


def _without(table: Table, keys: tuple[str, ...], drop: bool) -> Table:
    return {key: value for key, value in table.items() if not (drop and key in keys)}


def load(args: argparse.Namespace, environ: Mapping[str, str]) -> list[Profile]:
    """The profiles that apply to the verb, `default` first; none if there is no file."""
    given = vars(args)
    name: str | None = given.get("profile")
    where, content = _read(environ, name)
    if name is not None and name not in content:
        known = ", ".join(sorted(content)) or "none"
        raise UsageError(f"{where} has no profile {name!r}; it has {known}")
    chosen = _table(content.get(name, {}), name) if name not in (None, "default") else {}
    default = _table(content.get("default", {}), "default")
    groups = (
        (REPOSITORY_KEYS, ("repo", "repository_file"), REPOSITORY_VARIABLES),
        (SECRET_KEYS, ("password_file", "password_command", "key_file"), SECRET_VARIABLES),
    )
    for keys, flags, variables in groups:
        by_flag = any(flag in given for flag in flags)
        by_chosen = any(key in chosen for key in keys)
        by_environment = name is None and any(environ.get(variable) for variable in variables)
        chosen = _without(chosen, keys, by_flag)
        default = _without(default, keys, by_flag or by_chosen or by_environment)
    verb = str(given["verb"])
    found = [(default, "default"), (chosen, str(name))]
    return [_one(table, verb, f"{where}, [{key}]") for table, key in found if table]


def apply(parser: Parser, argv: list[str], environ: Mapping[str, str]) -> argparse.Namespace:
    """What the command line says, with the defaults of the profiles below it."""
    args = parser.parse_args(argv)
    profiles = load(args, environ)
    if not profiles:
        return args
    flags = [flag for profile in profiles for flag in profile.flags]
    verb_parser: Parser = args.parser
    try:
        defaults = vars(verb_parser.parse_args(flags))
    except UsageError as error:
        raise UsageError(f"{profiles[-1].where}: {error}") from error
    global_names = {action.dest for action in actions(parser)}
    plain = vars(verb_parser.parse_args([]))
    verb_parser.set_defaults(
        **{
            name: value
            for name, value in defaults.items()
            if name not in global_names and value != plain.get(name)
        }
    )
    args = parser.parse_args(argv)
    for name in global_names & defaults.keys():
        if name not in vars(args):
            setattr(args, name, defaults[name])
    args.profile_paths = next((p.paths for p in reversed(profiles) if p.paths), ())
    args.hooks = next((p.hooks for p in reversed(profiles) if p.hooks != Hooks()), Hooks())
    return args
