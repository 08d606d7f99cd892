"""The shell commands that a profile wants run around a backup."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from kluis.errors import KluisError
from kluis_cli.output import Output
from kluis_cli.signals import run_command

if TYPE_CHECKING:
    from kluis_cli.profiles import Hooks

MADE_STATUSES = (0, 3)
"""With these a snapshot was made."""


STANDARD_ERROR = 2


def _run(command: str, status: int | None) -> int:
    environment = dict(os.environ)
    if status is not None:
        environment["KLUIS_EXIT_STATUS"] = str(status)
    sys.stdout.flush()
    code, _ = run_command(command, stdout=STANDARD_ERROR, environment=environment)
    return code


def _run_all(commands: tuple[str, ...], status: int, output: Output) -> bool:
    failed = [command for command in commands if _run(command, status)]
    for command in failed:
        output.warning(f"the hook {command!r} failed", "hook")
    return not failed


def around(operation: Callable[[], int], hooks: Hooks | None, output: Output) -> int:
    """The exit code of `operation`, run between its hooks.

    If a `before` fails, nothing is backed up. `after` runs once a snapshot was made,
    `on_failure` in all other cases; both find the exit code in KLUIS_EXIT_STATUS.
    A hook that fails after a good backup makes the exit code 1.
    """
    if hooks is None:
        return operation()
    try:
        for command in hooks.before:
            if _run(command, None):
                raise KluisError(f"the hook {command!r} failed; nothing was backed up")
        status = operation()
    except KluisError as error:
        _run_all(hooks.on_failure, error.exit_status, output)
        raise
    except BaseException:
        _run_all(hooks.on_failure, KluisError.exit_status, output)
        raise
    commands = hooks.after if status in MADE_STATUSES else hooks.on_failure
    fine = _run_all(commands, status, output)
    return status if fine or status else KluisError.exit_status
