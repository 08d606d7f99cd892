"""Files written part by part, as their frames come in; whole under their names, or not at all."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress

from kluis._native import scatter
from kluis.errors import DamageError, KluisError, MediumGoneError, StorageError
from kluis.format.frame import HASH_BYTES
from kluis.format.tree import HOLE_RUN, Extent, extent_length
from kluis.operations.restoring.chunks import DIFFERENT
from kluis.operations.restoring.fetch import Fetcher, Lost, Wanted
from kluis.operations.restoring.listings import blocks_of
from kluis.operations.restoring.outcome import LOST_FILE, Outcome
from kluis.operations.restoring.plan import Block, Large, Part
from kluis.repository.content import record, stream_digest
from kluis.repository.trees import TreeReader
from kluis.source.target import Target

# So many files of one call stay open: fewer than a target keeps (OPEN_FILES).
FILES_A_CALL = 32
_PART = struct.Struct(scatter.PART_FORMAT)
_ZEROS = bytes(1 << 20)
NO_HASH = bytes(HASH_BYTES)

KEPT_FILE = "not restored; what was there before is as it was"


class LargeWriter:
    """Creates and fills the large files of a restore."""

    def __init__(self, target: Target, outcome: Outcome, trees: TreeReader, sparse: bool) -> None:
        self._target = target
        self._outcome = outcome
        self._trees = trees
        self._sparse = sparse
        self._unfinished: dict[int, Large] = {}

    def blocks(self, large: Large) -> Iterator[tuple[bytes, tuple[Extent, ...]]]:
        """(digest, extents) of each block of the file; ends, and marks it as lost, at damage."""
        try:
            yield from blocks_of(self._trees, large.content)
        except MediumGoneError:
            raise
        except (DamageError, StorageError) as error:
            self.lose(large, self._outcome.snapshot, str(error))

    def prove(self, large: Large, fetcher: Fetcher) -> None:
        """Marks the file as lost unless all of it can be had: before another is given up for it."""
        for digest, extents in self.blocks(large):
            records = []
            for extent in extents:
                if extent.run == HOLE_RUN:
                    records.append(record(NO_HASH, extent_length(extent)))
                    continue
                found = fetcher.fetch_one(extent[:2], Wanted([extent[2:]]))
                reason = found.reason if isinstance(found, Lost) else found.results[0]
                if isinstance(reason, str):
                    self.lose(large, found.where, reason)
                    return
                records.append(reason)
            if stream_digest(self._trees.keys, b"".join(records)) != digest:
                self.lose(large, self._outcome.snapshot, DIFFERENT)
                return

    def write(
        self, parts: Sequence[Part], where: str, plain: bytes, results: Sequence[bytes | str]
    ) -> None:
        """Writes the parts of one frame; `results` are the records of each, or what is wrong."""
        ready: list[tuple[Part, int]] = []
        files: set[int] = set()
        for part, result in zip(parts, results, strict=True):
            large = part.file
            large.waiting -= 1
            if large.failed or not self._is_right(part, where, result):
                continue
            descriptor = self._descriptor(large)
            if descriptor is None:
                continue
            ready.append((part, descriptor))
            files.add(id(large))
            if len(files) >= FILES_A_CALL:
                self._scatter(ready, plain)
                ready, files = [], set()
        self._scatter(ready, plain)

    def lose(self, large: Large, where: str, reason: str) -> None:
        """Notes, once, that the file's content is not to be had."""
        if large.failed:
            return
        means = KEPT_FILE if large.replace and large.placed is None else LOST_FILE
        large.loss = where, reason
        path = self._outcome.path(large.folder, large.name)
        self._outcome.lost(path, where, reason, means)

    def check_block(self, large: Large, block: Block) -> bool:
        """Whether the chunks of a block, all of them known by now, are those recorded."""
        right = stream_digest(self._trees.keys, b"".join(block.records)) == block.digest
        block.records.clear()
        if not right:
            self.lose(large, self._outcome.snapshot, DIFFERENT)
        return right

    def complete(self, large: Large) -> bool:
        """Whether the file is there, whole, with its metadata; a part of it is removed."""
        if not large.failed and large.waiting:
            raise AssertionError("a file is completed before its last part was written")
        descriptor = None if large.failed else self._descriptor(large)
        if descriptor is None or large.placed is None:
            self._remove(large)
            return False
        try:
            for offset, length in large.zeros:
                _write_zeros(descriptor, offset, length)
            self._target.set_size(large.placed, large.content.size)
            self._target.finish(large.placed, large.wanted)
        except OSError as failure:
            self._refuse(large, "write", failure)
            self._remove(large)
            return False
        self._unfinished.pop(id(large), None)
        return True

    def abandon(self) -> None:
        """Removes what is not whole, after a failure that ends the restore.

        A file of which the greater part was right before stays for the next attempt.
        """
        for large in list(self._unfinished.values()):
            if not large.reuse:
                with suppress(OSError, KluisError):
                    self._remove(large)

    def _is_right(self, part: Part, where: str, result: bytes | str) -> bool:
        """Whether the part may be written: its chunks are right, and so far the whole is."""
        if isinstance(result, str):
            self.lose(part.file, where, result)
            return False
        block = part.block
        if block is None:
            return True
        block.records[part.slot] = result
        block.missing -= 1
        if block.missing:
            return True
        return self.check_block(part.file, block)

    def _descriptor(self, large: Large) -> int | None:
        """A descriptor to write with; None, and noted, if the target does not take the file."""
        try:
            if large.placed is None:
                if large.reuse:
                    large.placed = self._target.reuse_file(large.folder, large.name)
                else:
                    large.placed = self._target.create_file(
                        large.folder, large.name, large.replace, large.wanted.attributes
                    )
                self._unfinished[id(large)] = large
            return self._target.descriptor(large.placed)
        except OSError as failure:
            self._refuse(large, "create", failure)
            return None

    def _scatter(self, ready: list[tuple[Part, int]], plain: bytes) -> None:
        for sparse in {self._sparse and not part.file.reuse for part, _ in ready}:
            chosen = [item for item in ready if (self._sparse and not item[0].file.reuse) == sparse]
            packed = b"".join(
                _PART.pack(descriptor, 0, part.offset, *part.stretch) for part, descriptor in chosen
            )
            for number, error in scatter.scatter(plain, packed, sparse):
                self._refuse(chosen[number][0].file, "write", OSError(error, ""))
        for part, _ in ready:
            large, size = part.file, part.stretch[1]
            large.written += size
            self._outcome.wrote(large.folder, large.name, size)

    def _refuse(self, large: Large, operation: str, failure: OSError) -> None:
        if not large.failed:
            large.refused = True
            self._outcome.failed(large.folder, large.name, operation, failure)

    def _remove(self, large: Large) -> None:
        self._unfinished.pop(id(large), None)
        if large.placed is not None:
            self._target.remove(large.folder, large.name)


def _write_zeros(descriptor: int, offset: int, length: int) -> None:
    while length > 0:
        size = min(length, len(_ZEROS))
        scatter.write_at(descriptor, memoryview(_ZEROS)[:size], offset)
        offset += size
        length -= size
