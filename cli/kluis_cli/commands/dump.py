"""`kluis dump`."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, BinaryIO

from kluis.errors import AlreadyExistsError, KluisError, NotFoundError, UsageError
from kluis_cli.arguments import add_filter, filter_of, split_snapshot
from kluis_cli.output import Output
from kluis_cli.parser import Verbs, add_verb
from kluis_cli.records import shown

if TYPE_CHECKING:
    from kluis.options import DumpOptions, Sink
    from kluis.results import DumpResult
    from kluis_cli.session import Session

NOT_MADE = (FileExistsError, FileNotFoundError, NotADirectoryError, PermissionError)

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


class _NewFile:
    """A sink that makes its file when the first bytes come, so that a refusal leaves none."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._file: BinaryIO | None = None

    def write(self, data: bytes, /) -> None:
        """Appends `data`; raises `AlreadyExistsError` rather than touch a file that is there."""
        if self._file is None:
            try:
                self._file = open(self._name, "xb")  # noqa: SIM115 - close() below ends it
            except NOT_MADE as error:
                raise _not_made(self._name, error) from error
        self._file.write(data)

    def close(self) -> None:
        """Ends the file, which is made even if it is empty."""
        self.write(b"")
        if self._file is not None:
            self._file.close()


def _not_made(name: str, error: OSError) -> KluisError:
    """Why the file of a dump could not be made, for one of `NOT_MADE`."""
    what, folder = shown(os.fsencode(name)), shown(os.fsencode(os.path.dirname(name) or "."))
    if isinstance(error, FileExistsError) and os.path.isdir(name):
        return AlreadyExistsError(
            f"{what} is a folder, and --target names the new file; nothing was written. "
            f"Next: name a file in it, such as {os.path.join(what, 'dump.tar')}"
        )
    if isinstance(error, FileExistsError):
        return AlreadyExistsError(
            f"{what} is there already; nothing was written. Next: name another file, or remove it"
        )
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return NotFoundError(
            f"{what} cannot be made, as {folder} is no folder; nothing was written. "
            f"Next: mkdir -p {folder}, or name a file elsewhere"
        )
    return KluisError(
        f"{what} cannot be made: {error.strerror}; nothing was written. Next: name a file in "
        "a folder that this user may write to"
    )


def run(args: argparse.Namespace, session: Session) -> int:
    if args.target is None:
        session.output.stdout_is_data = True
        status = _dump(args, session, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return status
    file = _NewFile(args.target)
    status = _dump(args, session, file)
    file.close()
    return status
