"""A batch: files that are restored together, planned by the frames that they need."""

from __future__ import annotations

from dataclasses import dataclass, field

from kluis.format.tree import Extent
from kluis.operations.restoring.chunks import Stretch
from kluis.operations.restoring.fetch import Wanted
from kluis.operations.restoring.spans import Frame, Span, is_empty
from kluis.repository.content import Content
from kluis.source.setting import Metadata
from kluis.source.target import Placed

# More in a batch: fewer frames that two batches need. Less: less memory (1 KB a file at most).
BATCH_BYTES = 128 << 20
BATCH_ITEMS = 8192
BATCH_PATH_BYTES = 4 << 20
# So many files of a span take the memory of one item.
FILES_AN_ITEM = 8

# More folders: more of them are opened again, as only so many stay open.
BATCH_FOLDERS = 256


@dataclass(slots=True)
class Small:
    """A file without more than content and a stat record, whose content is one extent or none."""

    folder: bytes
    name: bytes
    wanted: Metadata
    content: Content
    replace: bool


@dataclass(slots=True)
class Block:
    """Extents that one digest covers, and the records of their chunks as they come in."""

    digest: bytes
    records: list[bytes]
    missing: int


@dataclass(slots=True, eq=False)
class Large:
    """A file that is written in parts, in the order in which their frames are read."""

    folder: bytes
    name: bytes
    wanted: Metadata
    content: Content
    replace: bool = False
    reuse: bool = False
    """Only what is wrong of the file that is there gets written."""
    key: tuple[int, int] | None = None
    """(device, inode) that other names share."""
    zeros: list[tuple[int, int]] = field(default_factory=list)
    """(offset, length) of what has to be zero in a file that is reused."""
    placed: Placed | None = None
    waiting: int = 0
    """Parts that are planned and not written yet."""
    written: int = 0
    loss: tuple[str, str] | None = None
    """(object, reason) if its content is not to be had."""
    refused: bool = False
    """The target did not take it."""

    @property
    def failed(self) -> bool:
        """Whether it will not be there."""
        return self.refused or self.loss is not None


@dataclass(slots=True)
class Part:
    """A stretch of a frame that goes to an offset of a file; `block` is None if proved before."""

    file: Large
    offset: int
    stretch: Stretch
    block: Block | None = None
    slot: int = 0


@dataclass(slots=True)
class Link:
    """One more name for a file of this or an earlier batch."""

    first: Large | Placed
    as_file: Large
    """What it becomes if the target takes no further name."""


@dataclass(slots=True)
class Needed:
    """What files of a batch need of one frame."""

    small: list[Small] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)

    def wanted(self) -> Wanted:
        """What to ask for: of the small files first, then of the parts."""
        stretches = [small.content.extents[0][2:] for small in self.small]
        return Wanted(stretches + [part.stretch for part in self.parts], self.spans)


@dataclass
class Batch:
    """Work that is planned and not done. Folders are finished after all else, in order."""

    frames: dict[Frame, Needed] = field(default_factory=dict)
    empty: list[Small] = field(default_factory=list)
    empty_spans: list[Span] = field(default_factory=list)
    large: list[Large] = field(default_factory=list)
    """Those of which no further part will come."""
    links: list[Link] = field(default_factory=list)
    folders: list[tuple[Placed, Metadata]] = field(default_factory=list)
    _bytes: int = 0
    _items: int = 0
    _path_bytes: int = 0

    @property
    def full(self) -> bool:
        """Whether it is time to do the work."""
        return (
            self._bytes >= BATCH_BYTES
            or self._items >= BATCH_ITEMS
            or self._path_bytes >= BATCH_PATH_BYTES
            or len(self.folders) >= BATCH_FOLDERS
        )

    @property
    def is_empty(self) -> bool:
        """Whether nothing is planned."""
        return not self._items

    def add_small(self, small: Small) -> None:
        """Plans a file that one frame holds, or that is empty."""
        content = small.content
        if content.extents:
            run, n, _, _ = content.extents[0]
            self._needed((run, n)).small.append(small)
        else:
            self.empty.append(small)
        self._count(content.size, small.folder)

    def add_span(self, span: Span) -> None:
        """Plans small files of one folder that one frame holds, or that are empty."""
        if is_empty(span):
            self.empty_spans.append(span)
        else:
            self._needed(span.frame).spans.append(span)
        self._count(span.size, span.folder)
        self._items += span.count // FILES_AN_ITEM

    def add_part(self, part: Part, extent: Extent) -> None:
        """Plans a part of a file."""
        self._needed((extent.run, extent.n)).parts.append(part)
        part.file.waiting += 1
        self._count(extent.length, b"")

    def add_large(self, large: Large) -> None:
        """All parts of the file are planned."""
        self.large.append(large)
        self._count(0, large.folder)

    def add_link(self, link: Link) -> None:
        """Plans a further name."""
        self.links.append(link)
        self._count(0, link.as_file.folder)

    def add_folder(self, placed: Placed, wanted: Metadata) -> None:
        """The folder is finished once all that lies in it is there."""
        self.folders.append((placed, wanted))
        self._count(0, placed.folder)

    def _needed(self, frame: Frame) -> Needed:
        found = self.frames.get(frame)
        if found is None:
            found = self.frames[frame] = Needed()
        return found

    def _count(self, size: int, folder: bytes) -> None:
        self._bytes += size
        self._items += 1
        self._path_bytes += len(folder)
