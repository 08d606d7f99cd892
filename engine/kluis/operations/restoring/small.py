"""Spans of small files put into the target, many files a call."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kluis._native import plan
from kluis.operations.restoring.chunks import reason_of
from kluis.operations.restoring.outcome import LOST_FILE, Outcome
from kluis.operations.restoring.spans import File, Span
from kluis.source.batch import SmallFailure
from kluis.source.paths import joined
from kluis.source.problem import Problem
from kluis.source.target import Target


class SpanWriter:
    """Creates the files of spans; `verify` is called with each that is there, if it is to be."""

    def __init__(
        self, target: Target, outcome: Outcome, verify: Callable[[bytes, File], None] | None
    ) -> None:
        self._target = target
        self._outcome = outcome
        self._verify = verify

    def write(
        self, spans: Sequence[Span], states: Sequence[bytes], plain: bytes, where: str
    ) -> None:
        """Creates the files of one frame whose content is right, and notes the others as lost."""
        for span, found in zip(spans, states, strict=True):
            if found.count(plan.RIGHT) == span.count:
                self._write(span, plain)
                continue
            for file, state in zip(span.files(), found, strict=True):
                if state != plan.RIGHT:
                    different = state == plan.DIFFERENT
                    at = self._outcome.snapshot if different else where
                    self._lose(span.folder, file.name, at, reason_of(state))
            right = span.without(found)
            if right.count:
                self._write(right, plain)

    def write_empty(self, spans: Sequence[Span]) -> None:
        """Creates files without content."""
        for span in spans:
            self._write(span, b"")

    def lose(self, spans: Sequence[Span], where: str, reason: str) -> None:
        """Notes that the frame of these files is not to be had."""
        for span in spans:
            for file in span.files():
                self._lose(span.folder, file.name, where, reason)

    def _write(self, span: Span, plain: bytes) -> None:
        outcome = self._outcome
        try:
            failures = self._target.write_files(span.folder, span.names, span.fields, plain)
        except OSError as failure:
            for file in span.files():
                outcome.failed(span.folder, file.name, "create", failure)
            return
        if failures:
            note_failures(outcome, span.folder, failures)
        elif not outcome.context.each_file and self._verify is None:
            outcome.many_files(span.folder, span.count, span.size)
            return
        refused = {failure.name for failure in failures}
        for file in span.files():
            if file.name not in refused:
                outcome.file(span.folder, file.name, "restored", file.content.size)
                if self._verify is not None:
                    self._verify(span.folder, file)

    def _lose(self, folder: bytes, name: bytes, where: str, reason: str) -> None:
        self._outcome.lost(self._outcome.path(folder, name), where, reason, LOST_FILE)


def note_failures(outcome: Outcome, folder: bytes, failures: Sequence[SmallFailure]) -> None:
    """Tells of the files that could not be created."""
    for failed in failures:
        step = "create" if failed.step == "open" else failed.step
        path = joined(joined(outcome.target, folder), failed.name)
        outcome.problem(Problem(path, step, failed.errno))
