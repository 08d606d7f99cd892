"""Hold: snapshots that no policy removes until they are released."""

from __future__ import annotations

from kluis.errors import NotFoundError, UsageError
from kluis.events import Context
from kluis.format import names
from kluis.format.ledger import Event, Held, Released
from kluis.options import HoldOptions, SnapshotFilter
from kluis.repository.access import Repository
from kluis.repository.deciding import append_decided
from kluis.repository.selection import choose
from kluis.repository.snapshots import find_run
from kluis.results import HoldResult


def hold(repository: Repository, options: HoldOptions, context: Context) -> HoldResult:
    """The chosen snapshots are held, or released, when this returns.

    `NotFoundError` for one that is not there or was forgotten; then nothing is changed.
    """
    if not options.ids and options.filter == SnapshotFilter():
        raise UsageError("no snapshot was chosen: name one, or choose by tag, host or path")
    changed: list[bytes] = []
    already: list[bytes] = []

    def decide() -> tuple[Event, ...]:
        changed.clear()
        already.clear()
        held = repository.ledger.state.held
        for run in _chosen(repository, options):
            context.cancel.check()
            (changed if (run in held) == options.release else already).append(run)
        if options.release:
            return tuple(Released(run) for run in changed)
        return tuple(Held(run, options.reason) for run in changed)

    append_decided(repository, decide)
    return HoldResult(
        tuple(map(names.base32, changed)), tuple(map(names.base32, already)), options.release
    )


def _chosen(repository: Repository, options: HoldOptions) -> list[bytes]:
    """Their runs, each once. An id holds a snapshot that cannot be opened as well."""
    runs: dict[bytes, None] = {}
    words = [word for word in options.ids if word.startswith("latest")]
    if words or not options.ids:
        snapshots, _ = choose(repository, words, options.filter)
        runs.update((snapshot.mark.run, None) for snapshot in snapshots)
    state = repository.ledger.state
    for word in options.ids:
        if not word.startswith("latest"):
            runs[find_run(state, word)] = None
    for run in runs:
        if run not in state.live:
            raise NotFoundError(
                f"snapshot {names.base32(run)} was forgotten; nothing was changed. Next: "
                f"kluis forget --undo {names.base32(run)[:8]}, then hold it"
            )
    return list(runs)
