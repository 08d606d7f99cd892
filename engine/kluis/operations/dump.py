"""Dump: a stored file's bytes, or a folder as an archive, into a sink."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from kluis.errors import DamageError, NotFoundError
from kluis.events import Context, Damage, DamageFound, FileProblem, Problem, Progress, Warning_
from kluis.format import names, tree
from kluis.format.tree import Entry
from kluis.options import DumpOptions, Sink
from kluis.repository.access import Repository
from kluis.repository.archives import Archive, TarArchive, ZipArchive
from kluis.repository.content import Content
from kluis.repository.listing import (
    KIND_NAMES,
    Losses,
    Readers,
    Visited,
    Walk,
    everywhere,
    locate,
    root_of,
    shown,
)
from kluis.repository.selection import pick
from kluis.repository.trees import TreeReader, content_of, root_content
from kluis.results import DumpResult

PROGRESS_SECONDS = 0.2
SOCKETS_SHOWN = 3
SOCKETS = "sockets are left out, as only the program that listens on one can make it: {}"


def dump(repository: Repository, options: DumpOptions, context: Context) -> DumpResult:
    """Writes what lies at the path; `NotFoundError` if that is neither file nor folder.

    Wrong bytes are never written: what is damaged ends a file, is zeros in an archive, and
    is named in the result.
    """
    snapshot = pick(repository, options.snapshot, options.filter)
    trees, root = Readers(repository, context).of(snapshot), root_of(snapshot)
    try:
        found = locate(trees, root, options.path)
    except DamageError as error:
        raise DamageError(
            f"the folders of the snapshot that lead to {shown(options.path) or '/'} are lost, so "
            f"nothing was dumped: {error}. Next: kluis repair"
        ) from error
    work = Dumping(repository, Deaf(options.sink), options, context, trees, snapshot.id())
    if found is None:
        work.folder(b"", None, root_content(root))
    elif found.entry.kind == tree.DIRECTORY:
        work.folder(found.path, found, content_of(found.entry))
    elif found.entry.kind == tree.FILE:
        work.file(found)
    else:
        raise NotFoundError(
            f"{shown(found.path)} is a {KIND_NAMES[found.entry.kind]}: only files and folders "
            "can be dumped"
        )
    return DumpResult(work.files, work.size, tuple(work.problems), tuple(work.damages))


class Deaf:
    """A sink that passes bytes on until that fails once, and then takes all and does nothing.

    An archive that is thrown away is still closed, and would fail a second time.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._failed = False

    def write(self, data: bytes, /) -> None:
        """Passes `data` on; what goes wrong is raised once."""
        if self._failed:
            return
        try:
            self._sink.write(data)
        except BaseException:
            self._failed = True
            raise


@dataclass
class Dumping:
    """One dump while it runs."""

    repository: Repository
    sink: Deaf
    options: DumpOptions
    context: Context
    trees: TreeReader
    snapshot: str
    files: int = 0
    size: int = 0
    problems: list[Problem] = field(default_factory=list)
    damages: list[Damage] = field(default_factory=list)
    _sockets: list[bytes] = field(default_factory=list)
    _told: float = 0.0

    def file(self, found: Visited) -> None:
        """The bytes of one file, up to the first that is damaged."""
        try:
            for piece in self._content(found.entry):
                self.sink.write(bytes(piece))
                self.size += len(piece)
        except DamageError as error:
            self._damaged(found.path, error)
            return
        self.files = 1

    def folder(self, path: bytes, top: Visited | None, content: Content) -> None:
        """A folder and all below it as an archive."""
        kind = TarArchive if self.options.archive == "tar" else ZipArchive
        archive: Archive = kind(self.sink, self._content, self._problem, self._damaged)
        losses = Losses()
        if top is not None:
            self._add(archive, top)
        walk = Walk(self.trees, losses, self.context.cancel, self.snapshot)
        for visited in walk.below(path, content, everywhere):
            self._add(archive, visited)
        archive.close()
        for damage in losses.damages:
            self._found(damage)
        if self._sockets:
            self.context.events(Warning_("socket", SOCKETS.format(_some(self._sockets))))

    def _add(self, archive: Archive, visited: Visited) -> None:
        if visited.entry.kind == tree.SOCKET:
            self._sockets.append(visited.path)
            return
        self.size += archive.add(visited)
        self.files += visited.entry.kind == tree.FILE
        now = self.repository.surroundings.monotonic()
        if now - self._told >= PROGRESS_SECONDS:
            self._told = now
            self.context.events(Progress(self.files, self.size, current=visited.path))

    def _content(self, entry: Entry) -> Iterator[bytes | memoryview]:
        for piece in self.trees.stream(content_of(entry)):
            self.context.cancel.check()
            yield piece

    def _problem(self, path: bytes, operation: str, reason: str) -> None:
        problem = Problem(path, operation, reason)
        self.problems.append(problem)
        self.context.events(FileProblem(problem))

    def _damaged(self, path: bytes, error: DamageError) -> None:
        self._found(
            Damage(
                f"{names.SNAPSHOTS}/{self.snapshot}",
                str(error),
                "this file could not be dumped whole",
                (path,),
                "kluis repair",
            )
        )

    def _found(self, damage: Damage) -> None:
        self.damages.append(damage)
        self.context.events(DamageFound(damage))


def _some(paths: list[bytes]) -> str:
    """The first of the paths, and how many more there are."""
    named = ", ".join(shown(path) for path in paths[:SOCKETS_SHOWN])
    more = len(paths) - SOCKETS_SHOWN
    return f"{named} and {more} more" if more > 0 else named
