"""Where a walk through a snapshot is: the folders from the first one down to the current one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from kluis.errors import DamageError, StorageError
from kluis.format.tree import Entry
from kluis.operations.restoring.spans import Files
from kluis.source.folders import Mark
from kluis.source.setting import Metadata, Owners
from kluis.source.target import Placed

# A path longer than this is put together again when it is needed: 10,000 levels share one buffer.
KEPT_PATH_BYTES = 1 << 10


@dataclass(slots=True)
class Level:
    """A folder of the snapshot that is being gone through."""

    path_bytes: int
    """How much of the walk's path is this folder's, relative to the target."""
    wanted: Metadata | None
    """Its own metadata; None for the folder restored into, which keeps its own."""
    chosen: bool
    """Asked for itself, not only looked into for what is."""
    covered: bool
    """All of it was backed up, not only what leads to the paths that were asked for."""
    owners: Owners = field(default_factory=Owners)
    made: bool = False
    fresh: bool = False
    """It was not there before, so nothing is in it that this restore did not put there."""
    whole: bool = True
    """Its tree was read to the end: what it does not name was not there."""
    folds: bool = False
    """The target may take two names in it for one, by case."""
    taken: dict[str, bytes] = field(default_factory=dict)
    """Names that were placed in it, by what such a target may take them for."""
    names: set[bytes] | None = None
    """All names that the snapshot has in it, where others are to be deleted."""
    _mark: Mark | None = None
    _placed_fresh: bool = False
    _entries: Iterator[Entry | Files] | None = None
    _following: Entry | Files | None = None
    _failure: Exception | None = None
    _path: bytes | None = None

    def in_bulk(self) -> bool:
        """Whether small files can be put into it unseen: none is there, and none is taken for one.

        Of names that differ in more than case a target takes none for another if they are ASCII.
        """
        return self.made and self.fresh and self.chosen and not self.folds

    @property
    def mtime(self) -> tuple[int, int]:
        """When it was changed last."""
        return (self.wanted.mtime_s, self.wanted.mtime_ns) if self.wanted is not None else (0, 0)

    def begin(self, entries: Iterator[Entry | Files]) -> None:
        """Gives it its entries."""
        self._entries, self._failure = entries, None
        self._advance()

    def take(self) -> Entry | Files | None:
        """The next entry, or small files; None at the end.

        Raises what reading them on raised, after those that had been read. Holds on to nothing
        once the last one is taken.
        """
        found, failure = self._following, self._failure
        if found is None and failure is not None:
            self._failure = None
            raise failure
        self._advance()
        if self.names is not None and isinstance(found, Entry):
            self.names.add(found.name)
        return found

    def _advance(self) -> None:
        self._following = None
        if self._entries is not None:
            try:
                self._following = next(self._entries, None)
            except (DamageError, StorageError) as failure:
                self._failure = failure
        if self._following is None:
            self._entries = None

    def path(self, where: bytearray) -> bytes:
        """Its path relative to the target, from the walk's buffer."""
        if self._path is not None:
            return self._path
        path = bytes(where[: self.path_bytes])
        if len(path) <= KEPT_PATH_BYTES:
            self._path = path
        return path

    def place(self, placed: Placed) -> None:
        """Remembers which folder of the target it is."""
        self.made = True
        self._mark, self._placed_fresh = placed.mark, placed.fresh

    def placed(self, where: bytearray) -> Placed:
        """The same again."""
        assert self._mark is not None
        folder, _, name = self.path(where).rpartition(b"/")
        return Placed(folder, name, self._mark, self._placed_fresh)
