"""Appending to the ledger: decide on what was read, and decide again when others were first."""

from __future__ import annotations

from collections.abc import Callable

from kluis.errors import KluisError
from kluis.format.ledger import Event
from kluis.repository.access import Repository
from kluis.repository.ledger import LedgerMovedError
from kluis.repository.reserve import append_deletion

ATTEMPTS = 8


def append_decided(
    repository: Repository,
    decide: Callable[[], tuple[Event, ...]],
    tired: type[KluisError] = KluisError,
) -> bool:
    """Appends what `decide` makes of the ledger as read; False if that is nothing.

    Whenever somebody else appended first, the ledger is read on and `decide` is asked again;
    after some times `tired` is raised.
    """
    for _ in range(ATTEMPTS):
        events = decide()
        if not events:
            return False
        try:
            append_deletion(repository, events)
        except LedgerMovedError:
            repository.ledger.read_on()
            continue
        repository.remember()
        return True
    raise tired(
        "others wrote to the repository each time that this command was about to; nothing was "
        "changed. Next: run it again"
    )
