"""What became of a restore: counts, problems, losses, and what the caller is told meanwhile."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from typing import Literal

from kluis import events
from kluis.errors import KluisError, NoSpaceError
from kluis.events import Context, Damage, DamageFound, FileDone, FileProblem, Progress, Warning_
from kluis.options import RestoreOptions
from kluis.results import RestoreResult
from kluis.source.paths import joined
from kluis.source.problem import Problem, reason_of
from kluis.surroundings import Surroundings

PROGRESS_SECONDS = 0.2
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
# Setting an xattr that a file system has no room for fails alike, on a medium that is not full.
WRITING = frozenset({"create", "write", "link"})
FORBIDDEN = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
TAKEN = "the target takes its name for {}, which is restored; it needs another --target"
LOST_FILE = "not restored; all others are"

Action = Literal["restored", "unchanged", "skipped", "deleted"]

NAMED = 5
SOCKETS = "sockets are left out, as only the program that listens on one can make it: {}"


@dataclass
class Outcome:
    """Gathers what happens. `source` is the path in the snapshot of what goes to `target`."""

    context: Context
    machine: Surroundings
    source: bytes
    target: bytes
    snapshot: str
    """The snapshot's object, for what no pack is to blame for."""
    files_expected: int | None = None
    bytes_expected: int | None = None
    files: dict[Action, int] = field(default_factory=lambda: dict.fromkeys(_ACTIONS, 0))
    files_total: int = 0
    bytes_total: int = 0
    bytes_restored: int = 0
    folders: int = 0
    others: int = 0
    verified: int = 0
    problems: list[events.Problem] = field(default_factory=list)
    _losses: dict[tuple[str, str, str], list[bytes]] = field(default_factory=dict)
    _sockets: list[bytes] = field(default_factory=list)
    _files_done: int = 0
    _bytes_done: int = 0
    _told: float = 0.0

    def path(self, folder: bytes, name: bytes = b"") -> bytes:
        """The path in the snapshot of what has this place in the target."""
        return joined(joined(self.source, folder), name) or b"/"

    def problem(self, problem: Problem) -> None:
        """Notes what could not be made or set; raises if nothing at all can be written."""
        if problem.errno in FULL and problem.operation in WRITING:
            raise self._full(problem)
        if problem.errno in FORBIDDEN and self._nothing_written() and self._at_top(problem):
            raise KluisError(
                f"cannot write into the target {_shown(self.target)}: {problem.reason}; nothing "
                "was restored. Next: choose another --target, or another user"
            )
        self._note(problem.event())

    def failed(self, folder: bytes, name: bytes, operation: str, failure: OSError) -> None:
        """The same, for an entry of the target that an error of the system hit."""
        path = joined(joined(self.target, folder), name)
        self.problem(Problem(path, operation, failure.errno or errno.EIO))

    def differs(self, folder: bytes, name: bytes, reason: str) -> None:
        """Notes that a file read back from the target is not what was written."""
        path = joined(joined(self.target, folder), name)
        self._note(events.Problem(path, "verify", reason))

    def taken(self, folder: bytes, name: bytes, first: bytes) -> None:
        """Notes that the target takes the name of an entry for another's, which is restored."""
        path = joined(joined(self.target, folder), name)
        self._note(events.Problem(path, "create", TAKEN.format(_shown(first))))

    def lost(self, path: bytes, where: str, what: str, means: str = LOST_FILE) -> None:
        """Notes that what the snapshot has at `path` cannot be had from the repository."""
        self._losses.setdefault((where, what, means), []).append(path)

    def warn(self, code: str, message: str) -> None:
        """Tells something that is no failure."""
        self.context.events(Warning_(code, message))

    def file(self, folder: bytes, name: bytes, action: Action, size: int, written: int = 0) -> None:
        """Counts a file that was dealt with; `written` bytes of it were counted as they came."""
        self.files[action] += 1
        self._files_done += 1
        if action == "restored":
            self.bytes_restored += size
        if self.context.each_file:
            self.context.events(FileDone(self.path(folder, name), action, size))
        self.wrote(folder, name, size - written)

    def many_files(self, folder: bytes, count: int, size: int) -> None:
        """Counts files of a folder that were restored, where none is told of by itself."""
        self.files["restored"] += count
        self._files_done += count
        self.bytes_restored += size
        self.wrote(folder, b"", size)

    def wrote(self, folder: bytes, name: bytes, size: int) -> None:
        """Counts bytes of a file, for the progress."""
        self._bytes_done += size
        now = self.machine.monotonic()
        if now - self._told >= PROGRESS_SECONDS:
            self._told = now
            self.context.events(
                Progress(
                    self._files_done,
                    self._bytes_done,
                    self.files_expected,
                    self.bytes_expected,
                    len(self.problems),
                    self.path(folder, name),
                )
            )

    def cancelled(self) -> str:
        """What a restore leaves that is stopped."""
        return (
            f"cancelled: {self.files['restored']} files are restored, each whole. Next: repeat the "
            "command: what is there and right is not written again"
        )

    def other(self, folder: bytes, name: bytes, action: Action) -> None:
        """Counts a link, fifo or device that was dealt with."""
        if action == "restored":
            self.others += 1
        if self.context.each_file:
            self.context.events(FileDone(self.path(folder, name), action))

    def socket(self, folder: bytes, name: bytes) -> None:
        """Notes a socket, which only the program that listens on it can make."""
        self._sockets.append(self.path(folder, name))
        self.other(folder, name, "skipped")

    def deleted(self, folder: bytes, name: bytes) -> None:
        """Counts an entry that the snapshot does not have."""
        self.files["deleted"] += 1
        if self.context.each_file:
            self.context.events(FileDone(joined(joined(self.target, folder), name), "deleted"))

    def result(self, snapshot: str, options: RestoreOptions, seconds: float) -> RestoreResult:
        """All of it; tells of the losses."""
        damages = tuple(
            Damage(where, what, means, tuple(sorted(paths)), "kluis repair")
            for (where, what, means), paths in self._losses.items()
        )
        for damage in damages:
            self.context.events(DamageFound(damage))
        if self._sockets:
            self.warn("socket", SOCKETS.format(_some(self._sockets)))
        return RestoreResult(
            snapshot_id=snapshot,
            target=self.target,
            files_total=self.files_total,
            files_restored=self.files["restored"],
            files_unchanged=self.files["unchanged"],
            files_skipped=self.files["skipped"],
            dirs_restored=self.folders,
            others_restored=self.others,
            deleted=self.files["deleted"],
            bytes_total=self.bytes_total,
            bytes_restored=self.bytes_restored,
            problems=tuple(self.problems),
            damages=damages,
            files_verified=self.verified,
            dry_run=options.dry_run,
            duration_seconds=seconds,
        )

    def _note(self, problem: events.Problem) -> None:
        self.problems.append(problem)
        self.context.events(FileProblem(problem))

    def _nothing_written(self) -> bool:
        done = self.files["restored"] + self.files["unchanged"] + self.others + self.folders
        return not done

    def _at_top(self, problem: Problem) -> bool:
        """Whether it is the target itself that refuses a new entry."""
        return problem.operation == "create" and problem.path.rpartition(b"/")[0] == (
            self.target.rstrip(b"/")
        )

    def _full(self, problem: Problem) -> NoSpaceError:
        return NoSpaceError(
            f"no space left in the target {_shown(self.target)} for {_shown(problem.path)}: "
            f"{reason_of(problem.errno)}; {self.files['restored']} files are restored. Next: free "
            "some space and repeat the command: what is there and right is not written again"
        )


_ACTIONS: tuple[Action, ...] = ("restored", "unchanged", "skipped", "deleted")


def _shown(path: bytes) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _some(paths: list[bytes]) -> str:
    """The first few paths, and how many more there are."""
    shown = ", ".join(_shown(path) for path in paths[:NAMED])
    return shown + (f" and {len(paths) - NAMED} more" if len(paths) > NAMED else "")
