"""`kluis dump`."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, BinaryIO

from kluis.errors import AlreadyExistsError, UsageError
from kluis_cli.arguments import add_filter, filter_of, split_snapshot
from kluis_cli.output import Output
from kluis_cli.parser import Verbs, add_verb
from kluis_cli.records import shown

if TYPE_CHECKING:
    from kluis.options import DumpOptions, Sink
    from kluis.results import DumpResult
    from kluis_cli.session import Session

DESCRIPTION = """Print a file, or a folder as an archive.

Standard output is the file itself, so with --json the events go to standard
error, one a line and no words beside them. With --target they go to standard
output, as those of every other verb."""


def add(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "dump",
        "print a file, or a folder as an archive",
        """
        kluis dump latest /home/ann/books.sqlite > books.sqlite
        kluis dump latest:/home/ann | tar -t
        kluis dump latest /home/ann --archive zip --target ann.zip
        """,
    )
    parser.description = DESCRIPTION
    parser.add_argument("snapshot", metavar="ID[:PATH]", help="a snapshot, latest or latest~1")
    parser.add_argument("file", nargs="?", metavar="PATH", help="the file or folder")
    parser.add_argument(
        "-a", "--archive", choices=("tar", "zip"), default="tar", help="what a folder becomes"
    )
    parser.add_argument("-t", "--target", metavar="FILE", help="write to FILE")
    add_filter(parser)
    parser.set_defaults(run=run, parser=parser)


def path_of(args: argparse.Namespace) -> tuple[str, bytes]:
    """The snapshot and the path below it, from either way to write them."""
    snapshot, path = split_snapshot(args.snapshot)
    if args.file is None:
        return snapshot, path or b"/"
    if not args.file:
        raise UsageError("an empty path names nothing in the snapshot")
    return snapshot, b"/".join((path.rstrip(b"/"), os.fsencode(args.file).lstrip(b"/")))


def options(args: argparse.Namespace, sink: Sink) -> DumpOptions:
    from kluis.options import DumpOptions

    snapshot, path = path_of(args)
    return DumpOptions(
        sink=sink, snapshot=snapshot, path=path, archive=args.archive, filter=filter_of(args)
    )


def show(result: DumpResult, output: Output) -> None:
    for problem in result.problems:
        output.problem(problem)
    for damage in result.damages:
        output.damage(damage)


def _dump(args: argparse.Namespace, session: Session, sink: Sink) -> int:
    import kluis

    wanted = options(args, sink)
    with session.open() as repository, session.context() as context:
        result = kluis.dump(repository, wanted, context)
    show(result, session.output)
    return result.exit_status


class _StandardOutput:
    """A sink that passes bytes on until that fails once: an archive is closed even then."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._failed = False

    def write(self, data: bytes, /) -> None:
        """Passes `data` on; after a failure, which is raised once, it goes nowhere."""
        if self._failed:
            return
        try:
            self._stream.write(data)
        except OSError:
            self._failed = True
            raise


class _NewFile:
    """A sink that makes its file when the first bytes come, so that a refusal leaves none."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._failed = False
        self._file: BinaryIO | None = None

    def write(self, data: bytes, /) -> None:
        """Appends `data`; raises `AlreadyExistsError` rather than touch a file that is there."""
        if self._failed:  # an archive is closed even then
            return
        if self._file is None:
            try:
                self._file = open(self._name, "xb")  # noqa: SIM115 - close() below ends it
            except FileExistsError as error:
                name = shown(os.fsencode(self._name))
                raise AlreadyExistsError(f"{name} is there already; nothing was written") from error
        try:
            self._file.write(data)
        except OSError:
            self._failed = True
            raise

    def close(self) -> None:
        """Ends the file, which is made even if it is empty."""
        self.write(b"")
        if self._file is not None:
            self._file.close()


def run(args: argparse.Namespace, session: Session) -> int:
    if args.target is None:
        session.output.stdout_is_data = True
        status = _dump(args, session, _StandardOutput(sys.stdout.buffer))
        sys.stdout.buffer.flush()
        return status
    file = _NewFile(args.target)
    status = _dump(args, session, file)
    file.close()
    return status
