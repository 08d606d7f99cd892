"""Files put into the target: planned in batches by frame, then written, linked and finished."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from kluis.errors import DamageError, MediumGoneError, StorageError
from kluis.format.tree import HOLE_RUN, extent_length
from kluis.operations.restoring.chunks import DIFFERENT
from kluis.operations.restoring.existing import Comparer, Difference
from kluis.operations.restoring.fetch import Fetcher, Lost
from kluis.operations.restoring.large import KEPT_FILE, NO_HASH, LargeWriter
from kluis.operations.restoring.outcome import LOST_FILE, Outcome
from kluis.operations.restoring.plan import Batch, Block, Large, Link, Needed, Part, Small
from kluis.operations.restoring.small import SpanWriter, note_failures
from kluis.operations.restoring.spans import File, Files, spans_of
from kluis.options import RestoreOptions
from kluis.repository.content import Content, record, stream_digest
from kluis.repository.trees import TreeReader
from kluis.source.setting import Metadata
from kluis.source.target import Placed, SmallBatch, Target

READ_BACK = "What is read back is not what was written"


class FileWriter:
    """The files of one restore. What is planned is done by `flush`, or when enough is planned."""

    def __init__(
        self,
        target: Target,
        trees: TreeReader,
        comparer: Comparer,
        outcome: Outcome,
        options: RestoreOptions,
    ) -> None:
        self._target = target
        self._trees = trees
        self._comparer = comparer
        self._outcome = outcome
        self._verify = options.verify
        verify = self._read_back_file if options.verify else None
        self._spans = SpanWriter(target, outcome, verify)
        self._large = LargeWriter(target, outcome, trees, options.sparse)
        self._fetcher = Fetcher(trees, comparer.check)
        self._batch = Batch()
        self.firsts: dict[tuple[int, int], Large | Placed] = {}
        """What other names of a file are linked to, by (device, inode)."""

    def __enter__(self) -> Self:
        self._fetcher.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._fetcher.__exit__(kind, error, at)
        if error is not None:
            self._large.abandon()

    def add_small(self, small: Small) -> None:
        """Plans a file of one extent or none."""
        self._batch.add_small(small)
        self._flush_if_full()

    def add_files(self, folder: bytes, files: Files) -> None:
        """Plans small files of a folder in which nothing is yet."""
        for span in spans_of(folder, files):
            self._batch.add_span(span)
            self._outcome.files_total += span.count
            self._outcome.bytes_total += span.size
        self._flush_if_full()

    def add_large(self, large: Large, difference: Difference | None) -> None:
        """Plans any other file; of one that is reused only what differs."""
        if large.key is not None:
            self.firsts[large.key] = large
        several = large.content.listed or len(large.content.extents) > 1
        if large.replace and several:
            self._large.prove(large, self._fetcher)
        if not large.failed:
            if large.reuse and difference is not None:
                self._plan_difference(large, difference)
            else:
                self._plan_whole(large)
        self._batch.add_large(large)
        self._flush_if_full()

    def add_link(self, link: Link) -> None:
        """Plans a further name of a file that was planned or placed before."""
        self._batch.add_link(link)
        self._flush_if_full()

    def add_folder(self, placed: Placed, wanted: Metadata) -> None:
        """The folder gets its metadata once all that was planned so far is there."""
        self._batch.add_folder(placed, wanted)
        self._flush_if_full()

    def keep(self, folder: bytes, name: bytes, content: Content) -> None:
        """Counts a file that is there and right; reads it back if that was asked for."""
        self._outcome.file(folder, name, "unchanged", content.size)
        if self._verify:
            self._read_back(folder, name, content)

    def flush(self) -> None:
        """Does all that is planned."""
        batch, self._batch = self._batch, Batch()
        self._write_small(batch.empty, b"", "", [b""] * len(batch.empty))
        self._spans.write_empty(batch.empty_spans)
        wanted = {frame: needed.wanted() for frame, needed in batch.frames.items()}
        for opened in self._fetcher.fetch(wanted):
            needed = batch.frames.pop(opened.frame)
            if isinstance(opened, Lost):
                self._lose_needed(needed, opened)
                continue
            count, results = len(needed.small), opened.results
            self._write_small(needed.small, opened.plain, opened.where, results[:count])
            self._spans.write(needed.spans, opened.states, opened.plain, opened.where)
            self._large.write(needed.parts, opened.where, opened.plain, results[count:])
        for large in batch.large:
            self._complete(large)
        for link in batch.links:
            self._link(link)
        if not self._batch.is_empty:
            self.flush()  # files that could not be linked; there are no links among them
        for placed, metadata in batch.folders:
            self._finish_folder(placed, metadata)

    def _flush_if_full(self) -> None:
        if self._batch.full:
            self.flush()

    def _plan_whole(self, large: Large) -> None:
        position = 0
        for digest, extents in self._large.blocks(large):
            missing = sum(extent.run != HOLE_RUN for extent in extents)
            block = Block(digest, [b""] * len(extents), missing)
            for slot, extent in enumerate(extents):
                length = extent_length(extent)
                if extent.run == HOLE_RUN:
                    block.records[slot] = record(NO_HASH, length)
                else:
                    self._batch.add_part(Part(large, position, extent[2:], block, slot), extent)
                    self._flush_if_full()
                position += length
            if not missing:
                self._large.check_block(large, block)
            if large.failed:
                return
        if position != large.content.size:
            self._large.lose(large, self._outcome.snapshot, "a part of the content is missing")

    def _plan_difference(self, large: Large, difference: Difference) -> None:
        for offset, extent in difference.wrong:
            if extent.run == HOLE_RUN:
                large.zeros.append((offset, extent_length(extent)))
            else:
                self._batch.add_part(Part(large, offset, extent[2:]), extent)
                self._flush_if_full()

    def _lose_needed(self, needed: Needed, lost: Lost) -> None:
        """Notes all that needs a frame that cannot be had."""
        for small in needed.small:
            self._lose_small(small, lost.where, lost.reason)
        self._spans.lose(needed.spans, lost.where, lost.reason)
        self._large.write(needed.parts, lost.where, b"", [lost.reason] * len(needed.parts))

    def _write_small(
        self, files: list[Small], plain: bytes, where: str, results: Sequence[bytes | str]
    ) -> None:
        """Creates the small files of one frame whose content is right."""
        groups: dict[tuple[bytes, bool], tuple[SmallBatch, list[Small]]] = {}
        for small, result in zip(files, results, strict=True):
            content = small.content
            if isinstance(result, str):
                self._lose_small(small, where, result)
                continue
            if stream_digest(self._trees.keys, result) != content.digest:
                self._lose_small(small, self._outcome.snapshot, DIFFERENT)
                continue
            group = groups.get((small.folder, small.replace))
            if group is None:
                group = self._target.small_batch(), []
                groups[small.folder, small.replace] = group
            offset = content.extents[0].offset if content.extents else 0
            group[0].add(small.name, small.wanted, offset, content.size)
            group[1].append(small)
        for (folder, replace), (batch, members) in groups.items():
            self._write_batch(folder, replace, batch, members, plain)

    def _write_batch(
        self, folder: bytes, replace: bool, batch: SmallBatch, members: list[Small], plain: bytes
    ) -> None:
        outcome = self._outcome
        try:
            failures = self._target.write_small(folder, batch, plain, replace)
        except OSError as failure:
            for small in members:
                outcome.failed(folder, small.name, "create", failure)
            return
        refused = {failure.name for failure in failures}
        note_failures(outcome, folder, failures)
        for small in members:
            if small.name not in refused:
                outcome.file(folder, small.name, "restored", small.content.size)
                if self._verify:
                    self._read_back(folder, small.name, small.content)

    def _lose_small(self, small: Small, where: str, reason: str) -> None:
        path = self._outcome.path(small.folder, small.name)
        self._outcome.lost(path, where, reason, KEPT_FILE if small.replace else LOST_FILE)

    def _complete(self, large: Large) -> None:
        there = self._large.complete(large)
        if large.key is not None and large.placed is not None and there:
            self.firsts[large.key] = large.placed
        if there:
            size = large.content.size
            self._outcome.file(large.folder, large.name, "restored", size, large.written)
            if self._verify:
                self._read_back(large.folder, large.name, large.content)

    def _link(self, link: Link) -> None:
        """Makes the further name; where the target cannot, the file is written once more."""
        first, file = link.first, link.as_file
        if isinstance(first, Large):
            if first.loss is not None:
                self._large.lose(file, *first.loss)
                return
            if first.placed is None or first.refused:
                self.add_large(file, None)
                return
            first = first.placed
        try:
            there = self._target.look(file.folder, file.name) if file.replace else None
            if there is not None and there.identity == (first.mark.dev, first.mark.ino):
                self._outcome.file(file.folder, file.name, "unchanged", 0)
                return
            self._target.make_hard_link(first, file.folder, file.name, file.replace)
        except OSError as failure:
            self._outcome.failed(file.folder, file.name, "link", failure)
            file.key = None
            self.add_large(file, None)
            return
        self._outcome.file(file.folder, file.name, "restored", 0)

    def _finish_folder(self, placed: Placed, metadata: Metadata) -> None:
        try:
            self._target.finish_folder(placed, metadata)
        except OSError as failure:
            self._outcome.failed(placed.folder, placed.name, "metadata", failure)
            return
        self._outcome.folders += 1

    def _read_back_file(self, folder: bytes, file: File) -> None:
        self._read_back(folder, file.name, file.content)

    def _read_back(self, folder: bytes, name: bytes, content: Content) -> None:
        try:
            with self._target.existing_file(folder, name) as file:
                difference = self._comparer.compare(file, content)
        except OSError as failure:
            self._outcome.failed(folder, name, "verify", failure)
            return
        except MediumGoneError:
            raise
        except (DamageError, StorageError) as error:
            self._outcome.lost(
                self._outcome.path(folder, name),
                self._outcome.snapshot,
                str(error),
                "restored, but could not be compared any more",
            )
            return
        if difference.none:
            self._outcome.verified += 1
        else:
            self._outcome.differs(folder, name, READ_BACK)
