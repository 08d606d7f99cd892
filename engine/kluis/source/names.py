"""Users and groups of this machine: numbers to names, and back for a restore."""

from __future__ import annotations

import functools
import grp
import pwd


@functools.cache
def user_name(number: int) -> str:
    """The user's name; empty if this machine knows none."""
    try:
        return pwd.getpwuid(number).pw_name
    except (KeyError, OverflowError):
        return ""


@functools.cache
def group_name(number: int) -> str:
    """The group's name; empty if this machine knows none."""
    try:
        return grp.getgrgid(number).gr_name
    except (KeyError, OverflowError):
        return ""


@functools.cache
def user_number(name: str) -> int | None:
    """The number of the user of that name here, if there is one."""
    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError):
        return None


@functools.cache
def group_number(name: str) -> int | None:
    """The number of the group of that name here, if there is one."""
    try:
        return grp.getgrnam(name).gr_gid
    except (KeyError, ValueError):
        return None


def forget_names() -> None:
    """Makes the next question ask the machine again: a long-lived process may need it."""
    for cached in (user_name, group_name, user_number, group_number):
        cached.cache_clear()
