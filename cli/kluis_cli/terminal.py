"""What runs while an operation runs: a line redrawn in place, or JSON status events."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TextIO

from kluis.frozen import replace
from kluis_cli.output import Output
from kluis_cli.records import name_fields, printable, shown

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from kluis.events import Event, FileDone, Progress

REDRAW_SECONDS = 0.1
"""Ten times a second looks smooth; more costs CPU that the backup needs."""

STATUS_SECONDS = 1.0
"""Between two JSON status events, as a log keeps them all."""


class Reporter:
    """Takes the events of an operation; `terminal` is None where nothing is to be redrawn."""

    def __init__(self, output: Output, terminal: TextIO | None) -> None:
        self._output = output
        self._terminal = terminal if output.verbosity >= 0 and not output.as_json else None
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._stage = ""
        self._started = time.monotonic()
        self._next_draw = 0.0
        self._last: Progress | None = None
        self._visible = False

    def __call__(self, event: Event) -> None:
        """Shows the event."""
        from kluis import events

        if isinstance(event, events.Progress):
            self._progress(event)
        elif isinstance(event, events.Stage):
            self._stage = event.name
            if self._output.verbosity > 0:
                self._above(printable(event.name))
        elif isinstance(event, events.FileDone):
            self._file(event)
        elif isinstance(event, events.FileProblem):
            self._hide()
            self._output.problem(event.problem)
        elif isinstance(event, events.DamageFound):
            self._hide()
            self._output.damage(event.damage)
        elif isinstance(event, events.Warning_):
            self._hide()
            self._output.warning(event.message, event.code)

    def finish(self) -> None:
        """Draws the end; a total that was never known is what was done."""
        if self._last is not None and self._terminal is not None:
            files, size = self._last.files_done, self._last.bytes_done
            self._draw(replace(self._last, files_total=files, bytes_total=size))

    def close(self) -> None:
        """Takes the line away."""
        self._hide()

    def _progress(self, event: Progress) -> None:
        now = time.monotonic()
        self._last = event
        if now < self._next_draw:
            return
        if self._output.as_json:
            self._next_draw = now + STATUS_SECONDS
            self._status(event, now - self._started)
        elif self._terminal is not None:
            self._next_draw = now + REDRAW_SECONDS
            self._draw(event)

    def _status(self, event: Progress, elapsed: float) -> None:
        fields: dict[str, object] = {
            "seconds_elapsed": round(elapsed, 1),
            "files_done": event.files_done,
            "bytes_done": event.bytes_done,
            "error_count": event.errors,
        }
        if event.files_total is not None:
            fields["total_files"] = event.files_total
        if event.bytes_total is not None:
            fields["total_bytes"] = event.bytes_total
            fields["percent_done"] = _share(event)
        if event.current:
            fields |= name_fields("current_file", event.current)
        self._output.event("status", fields)

    def _draw(self, event: Progress) -> None:
        from kluis.units import format_size

        if self._bar is None or self._task is None:
            self._bar = _new_bar(self._terminal)
            self._task = self._bar.add_task("", total=None, files="", size="", errors="")
        of_files = "" if event.files_total is None else f"/{event.files_total}"
        of_size = "" if event.bytes_total is None else f" of {format_size(event.bytes_total)}"
        self._bar.update(
            self._task,
            description=self._stage,
            completed=event.bytes_done,
            total=event.bytes_total,
            files=f"{event.files_done}{of_files} files",
            size=f"{format_size(event.bytes_done)}{of_size}",
            errors=f"{event.errors} errors",
        )
        if not self._visible:
            self._bar.start()
            self._visible = True
        self._bar.refresh()

    def _hide(self) -> None:
        """Clears the line so that words stand alone; the next event draws it again."""
        if self._bar is not None and self._visible:
            self._bar.stop()
            self._visible = False

    def _file(self, event: FileDone) -> None:
        if self._output.as_json:
            fields = {"action": event.action, "size": event.size, "data_added": event.bytes_added}
            self._output.event("verbose_status", {**fields, **name_fields("path", event.path)})
        else:
            self._above(f"{event.action:<10} {shown(event.path)}")

    def _above(self, text: str) -> None:
        self._hide()
        self._output.note(text)


def _share(event: Progress) -> float:
    if not event.bytes_total:
        return 1.0
    return round(min(event.bytes_done / event.bytes_total, 1.0), 4)


def _new_bar(terminal: TextIO | None) -> Bar:
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    return Bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TaskProgressColumn(),
        TextColumn("{task.fields[files]}  {task.fields[size]}  {task.fields[errors]}"),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        console=Console(file=terminal, force_terminal=True, legacy_windows=False),
        auto_refresh=False,
        transient=True,
    )
