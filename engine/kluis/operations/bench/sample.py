"""What is to be backed up, as far as a bounded look at it tells: how many, how large, how fast."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from kluis._native import scan
from kluis.errors import KluisError, NotFoundError
from kluis.events import Context, FileProblem, Stage
from kluis.frozen import frozen
from kluis.operations.bench.cpu import frame
from kluis.operations.bench.measuring import Clock
from kluis.options import Excludes
from kluis.results import Measurement, Span
from kluis.source import records as listing
from kluis.source.exclude import Exclusions
from kluis.source.openat import open_directory
from kluis.source.problem import Problem
from kluis.source.read import open_file, small_files
from kluis.source.walk import Directory, WalkOptions, walk

# A backup reads files up to this size many a call, larger ones each by itself.
SMALL_LIMIT_BYTES = 256 << 10
WALK_SECONDS = 20.0
READ_SECONDS = 6.0
FOLDERS_READ = 64
FILES_A_FOLDER = 64
LARGE_READ = 32
WINDOW_BYTES = 512 << 10
SAMPLE_BYTES = 16 << 20  # of each stratum: with what it becomes, far below any bound on memory
# Without a source: a frame of words and noise, and files of which half is small.
MADE_FRAMES = 12
MADE_SMALL_BYTES = 20 << 10


@frozen
class Piece:
    """Contents back to back, as a backup stores them in one go, and the length of each."""

    data: bytes | bytearray
    lengths: list[int]


@frozen
class Stratum:
    """Pieces of files that are alike in how they are read."""

    words: str
    pieces: list[Piece]


@dataclass
class Count:
    """Totals over what was walked."""

    entries: int = 0
    folders: int = 0
    small: int = 0
    small_bytes: int = 0
    large: int = 0
    large_bytes: int = 0

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return self.small_bytes + self.large_bytes


@dataclass
class Sample:
    """What was learned; without a source only contents that were made up."""

    strata: dict[str, Stratum]
    count: Count = field(default_factory=Count)
    whole: bool = True
    """False: the walk was broken off, so that the counts are less than there is."""
    walk: Span | None = None
    """Seconds for an entry."""
    read_small: Span | None = None
    """Seconds for a small file, its bytes included."""
    read_large: Span | None = None
    """Seconds for a byte of a large file."""
    measurements: list[Measurement] = field(default_factory=list)

    @property
    def small_mean_bytes(self) -> int:
        """Of a small file."""
        if not self.count.small:
            return MADE_SMALL_BYTES
        return max(1, self.count.small_bytes // self.count.small)


def made_sample(context: Context) -> Sample:
    """Contents made up, which compress about as office files do."""
    frames = [Piece(data, [len(data)]) for data in (frame(context) for _ in range(MADE_FRAMES))]
    return Sample({"large": Stratum("made-up data", frames)})


def sample_of(path: bytes, context: Context) -> Sample:
    """What a walk over `path` and some of its files tell; nothing is changed there."""
    context.events(Stage("walking the source"))
    walker = _Walker(path, context)
    first = walker.pass_through(choose=True)
    second = walker.pass_through(choose=False)  # with what the system remembers now
    found = Sample({}, walker.count, walker.whole)
    entries = max(1, walker.count.entries)
    low, high = sorted((first.seconds, second.seconds))
    found.walk = Span(low / entries, second.seconds / entries, high / entries)
    words = f"{entries} entries, {walker.count.size} bytes"
    found.measurements.append(
        Measurement("source walk", 0, second.seconds, second.cpu_seconds, words, (low, high))
    )
    context.events(Stage("reading a sample of the source"))
    _read_small(walker, found, context)
    _read_large(walker, found, context)
    if not found.strata:  # empty files, or nothing that can be read
        found.strata = made_sample(context).strata
    return found


@dataclass(order=True)
class _Folder:
    """A folder that is read: `key` decides which ones are."""

    key: float
    directory: Directory = field(compare=False)
    indexes: list[int] = field(compare=False)


class _Walker:
    """Counts everything below a path, and chooses, by weight, what is to be read."""

    def __init__(self, path: bytes, context: Context) -> None:
        self._path = path
        self._context = context
        self.count = Count()
        self.whole = True
        self.folders: list[_Folder] = []
        self.large: list[tuple[float, bytes, bytes, int]] = []

    def pass_through(self, choose: bool) -> Clock:
        """One walk."""
        limit = self._context.surroundings.monotonic() + WALK_SECONDS
        with Clock(self._context) as clock:
            for directory in self._walk(choose):
                self._context.cancel.check()
                if choose:
                    self._take(directory)
                if self._context.surroundings.monotonic() > limit:
                    self.whole = False
                    break
        return clock

    def _walk(self, choose: bool) -> Iterator[Directory]:
        def report(problem: Problem) -> None:
            if choose:
                self._context.events(FileProblem(problem.event()))
                if problem.path == os.path.abspath(self._path):
                    raise NotFoundError(
                        f"the source {problem.path.decode(errors='backslashreplace')} cannot be "
                        f"read: {problem.reason.lower()}; nothing was measured"
                    )

        rules = Exclusions(Excludes())
        return (
            directory
            for directory in walk([self._path], rules, WalkOptions(), report)
            if not directory.partial
        )

    def _take(self, directory: Directory) -> None:
        count = self.count
        marks, sizes = listing.file_marks(directory.records), listing.sizes(directory.records)
        small = []
        count.folders += 1
        count.entries += len(marks)
        for index, (is_file, size) in enumerate(zip(marks, sizes, strict=True)):
            if not is_file:
                continue
            if size <= SMALL_LIMIT_BYTES:
                count.small += 1
                count.small_bytes += size
                small.append(index)
            else:
                count.large += 1
                count.large_bytes += size
                self._take_large(directory, index, size)
        if small:
            self._take_folder(directory, small)

    def _key(self, weight: int) -> float:
        """Of the largest of these keys each thing has its chance by its weight."""
        number = int.from_bytes(self._context.surroundings.random(7), "little") + 1
        return float((number / (1 << 56)) ** (1 / weight))

    def _take_folder(self, directory: Directory, small: list[int]) -> None:
        key = self._key(len(small))
        if len(self.folders) == FOLDERS_READ and key < self.folders[0].key:
            return
        start = int(key * 1e6) % len(small)
        kept = (small[start:] + small[:start])[:FILES_A_FOLDER]
        mask = bytearray(listing.entry_count(directory.records))
        for index in kept:
            mask[index] = 1
        records, names = scan.select(directory.records, directory.names, bytes(mask))
        chosen = Directory(directory.path, records, names, b"", -1, False, False, frozenset())
        folder = _Folder(key, chosen, list(range(len(kept))))
        if len(self.folders) < FOLDERS_READ:
            heapq.heappush(self.folders, folder)
        else:
            heapq.heapreplace(self.folders, folder)

    def _take_large(self, directory: Directory, index: int, size: int) -> None:
        key = self._key(size)
        if len(self.large) == LARGE_READ and key < self.large[0][0]:
            return
        name = listing.split_names(directory.records, directory.names)[index]
        item = (key, directory.path, name, size)
        if len(self.large) < LARGE_READ:
            heapq.heappush(self.large, item)
        else:
            heapq.heapreplace(self.large, item)


def _read_small(walker: _Walker, found: Sample, context: Context) -> None:
    """Folder by folder, as a backup does, once the system has let go of what it remembers."""
    rounds: list[tuple[float, int]] = []
    pieces: list[Piece] = []
    size, cpu, left = 0, 0.0, READ_SECONDS
    for folder in sorted(walker.folders, key=lambda one: one.directory.path):
        if left <= 0 or size >= SAMPLE_BYTES:
            break
        context.cancel.check()
        piece, clock, count = _read_folder(folder, context)
        if count:
            rounds.append((clock.seconds, count))
            left -= clock.seconds
            cpu += clock.cpu_seconds
            size += len(piece.data)
            pieces.append(piece)
    if not rounds:
        return
    found.read_small = spread(rounds)
    files = sum(count for _, count in rounds)
    seconds = sum(seconds for seconds, _ in rounds)
    words = f"small files, {files} of up to {SMALL_LIMIT_BYTES >> 10} KiB, past the cache"
    found.measurements.append(Measurement("source read", size, seconds, cpu, words))
    if any(piece.data for piece in pieces):
        found.strata["small"] = Stratum("small files", [one for one in pieces if one.data])


def _read_folder(folder: _Folder, context: Context) -> tuple[Piece, Clock, int]:
    directory = folder.directory
    clock = Clock(context)
    try:
        descriptor = open_directory(directory.path)
    except OSError:
        return Piece(b"", []), clock, 0
    try:
        for name in listing.split_names(directory.records, directory.names):
            _uncache(descriptor, name)
        opened = Directory(
            directory.path, directory.records, directory.names, b"", descriptor, False, False,
            frozenset(),
        )  # fmt: skip
        wanted = b"".join(index.to_bytes(4, "little") for index in folder.indexes)
        with clock:
            data, answers = small_files(opened, wanted, SMALL_LIMIT_BYTES)
    finally:
        os.close(descriptor)
    each = len(answers) // max(1, len(folder.indexes)) // 4
    lengths = memoryview(answers).cast("i")[::each].tolist()
    return Piece(data, [length for length in lengths if length > 0]), clock, len(lengths)


def _read_large(walker: _Walker, found: Sample, context: Context) -> None:
    rounds: list[tuple[float, int]] = []
    pieces: list[Piece] = []
    cpu, left = 0.0, READ_SECONDS
    for _, folder, name, size in sorted(walker.large, key=lambda one: one[1:3]):
        if left <= 0 or len(pieces) * WINDOW_BYTES >= SAMPLE_BYTES:
            break
        context.cancel.check()
        try:
            piece, clock = _read_window(folder, name, size, context)
        except (OSError, KluisError):
            continue
        rounds.append((clock.seconds, len(piece.data)))
        left -= clock.seconds
        cpu += clock.cpu_seconds
        pieces.append(piece)
    rounds = [(seconds, count) for seconds, count in rounds if count]
    if not rounds:
        return
    found.read_large = spread(rounds)
    done = sum(count for _, count in rounds)
    seconds = sum(seconds for seconds, _ in rounds)
    words = f"large files, {len(rounds)} stretches, past the cache"
    found.measurements.append(Measurement("source read", done, seconds, cpu, words))
    found.strata["large"] = Stratum("large files", [one for one in pieces if one.data])


def _read_window(folder: bytes, name: bytes, size: int, context: Context) -> tuple[Piece, Clock]:
    """A stretch somewhere in the file; where it begins the medium has positioned already."""
    descriptor = open_directory(folder)
    try:
        with open_file(descriptor, name) as opened:
            os.posix_fadvise(opened.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            below = max(1, size - WINDOW_BYTES)
            at = int.from_bytes(context.surroundings.random(7), "little") % below
            buffer = bytearray(WINDOW_BYTES)
            clock = Clock(context)
            with clock:
                count = opened.read_at(memoryview(buffer), at)
    finally:
        os.close(descriptor)
    del buffer[count:]
    return Piece(buffer, [count]), clock


def _uncache(descriptor: int, name: bytes) -> None:
    try:
        with open_file(descriptor, name) as opened:
            os.posix_fadvise(opened.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    except OSError:
        return  # read, it says why


def spread(rounds: list[tuple[float, int]]) -> Span:
    """Seconds for one unit, of rounds (seconds, units): the mean, and those of its halves.

    A single round says little, as one may be all seek and another none.
    """
    whole = sum(seconds for seconds, _ in rounds) / sum(count for _, count in rounds)
    halves = [
        sum(seconds for seconds, _ in part) / sum(count for _, count in part)
        for part in (rounds[::2], rounds[1::2])
        if part
    ]
    return Span(min(halves), whole, max(halves))
