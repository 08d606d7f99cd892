"""Progress: redrawn in place on a terminal, nothing anywhere else."""

from __future__ import annotations

import io

from kluis.events import FileDone, FileProblem, Problem, Progress, Stage
from kluis_cli.output import Output
from kluis_cli.terminal import Reporter


def run(terminal: io.StringIO | None, *, as_json: bool = False, verbosity: int = 0) -> str:
    """What a short operation leaves on standard output."""
    stdout = io.BytesIO()
    output = Output(stdout, io.BytesIO(), as_json=as_json, verbosity=verbosity)
    reporter = Reporter(output, terminal)
    reporter(Stage("reading"))
    for number in range(5):
        reporter(Progress(number, number << 20, 4, 4 << 20, 1, b"/a"))
    reporter(FileProblem(Problem(b"/a", "read", "Permission denied")))
    reporter.finish()
    reporter.close()
    return stdout.getvalue().decode()


def test_a_terminal_shows_percent_files_bytes_errors_and_the_time_left() -> None:
    terminal = io.StringIO()
    run(terminal)
    drawn = terminal.getvalue()
    for word in ("100%", "4/4 files", "4.00 MiB of 4.00 MiB", "1 errors", "ETA"):
        assert word in drawn
    assert "\r" in drawn
    assert drawn.rstrip().endswith("\x1b[2K"), "the line is taken away at the end"


def test_the_end_is_100_percent_even_if_no_total_was_known() -> None:
    terminal = io.StringIO()
    reporter = Reporter(Output(io.BytesIO(), io.BytesIO(), as_json=False, verbosity=0), terminal)
    reporter(Progress(1, 5))
    assert "%" not in terminal.getvalue()
    reporter.finish()
    reporter.close()
    assert "100%" in terminal.getvalue()


def test_quiet_and_pipes_show_nothing() -> None:
    terminal = io.StringIO()
    assert run(terminal, verbosity=-1) == ""
    assert terminal.getvalue() == ""
    assert run(None) == ""


def test_json_shows_a_status_and_no_line() -> None:
    terminal = io.StringIO()
    printed = run(terminal, as_json=True)
    assert terminal.getvalue() == ""
    assert printed.count('"status"') == 1, "at most one a second"


def test_verbose_names_the_stages() -> None:
    assert run(None, verbosity=1) == "reading\n"


def test_each_file_that_is_told_is_named() -> None:
    stdout = io.BytesIO()
    reporter = Reporter(Output(stdout, io.BytesIO(), as_json=False, verbosity=2), None)
    reporter(FileDone(b"/a\n\xff", "new", 5))
    assert stdout.getvalue() == b"new        /a\\n\xff\n"
