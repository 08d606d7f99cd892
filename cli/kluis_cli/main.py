"""The entry point: parse, call, and turn every error into an exit code, here and nowhere else."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from kluis.errors import CancelledError, KluisError, NoSpaceError, UsageError
from kluis_cli.version import print_version

TYPE_CHECKING = False  # to type checkers it is true; `typing` takes 5 ms, and --version none of it
if TYPE_CHECKING:
    import argparse
    from types import FrameType

    from kluis_cli.output import Output

FAILED_STATUS = KluisError.exit_status
TRACEBACK_VERBOSITY = 2


def _terminate(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - as signal wants it
    raise KeyboardInterrupt


def _hear_signals() -> None:
    """From now on SIGINT and SIGTERM raise `KeyboardInterrupt`; before, `start` answers them."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _terminate)


def _output(argv: Sequence[str]) -> Output:
    """Printing for the time before the command line is understood."""
    from kluis_cli.output import Output

    before_words = argv[: argv.index("--")] if "--" in argv else argv
    as_json = "--json" in before_words
    output = Output(sys.stdout.buffer, sys.stderr.buffer, as_json=as_json, verbosity=0)
    output.stdout_is_data = as_json and _dumps_to_stdout(before_words)
    return output


def _dumps_to_stdout(words: Sequence[str]) -> bool:
    """As far as that can be told before the command line is understood."""
    from kluis_cli.parser import VERB_MODULES

    verb = next((word for word in words if word in VERB_MODULES), "")
    return verb == "dump" and not any(word.startswith(("-t", "--target")) for word in words)


def _run(argv: list[str], output: Output) -> int:
    from kluis_cli.session import Session

    args = _parsed(argv)
    if args is None:
        return 0
    output.as_json, output.stdout_is_data = getattr(args, "json", False), False
    output.verbosity = -1 if getattr(args, "quiet", False) else getattr(args, "verbose", 0)
    session = Session(args, output, os.environ)
    _hear_signals()
    status: int = args.run(args, session)
    output.flush()
    return status


def _parsed(argv: list[str]) -> argparse.Namespace | None:
    """What the command line says; None where it says nothing, and was told what it could."""
    from kluis_cli import profiles
    from kluis_cli.parser import build_parser, parser_for

    parser = parser_for(argv)
    if not argv:
        parser.print_help()
        return None
    try:
        args = profiles.apply(parser, argv, os.environ)
    except UsageError:
        args = profiles.apply(build_parser(), argv, os.environ)
    if "run" not in args:
        parser.error("no verb was given")
    return args


def _guarded(argv: list[str], output: Output) -> int:
    try:
        return _run(argv, output)
    except KluisError as error:
        output.error(error)
        return error.exit_status
    except KeyboardInterrupt:
        output.error(CancelledError("cancelled; what was stored before is as it was"))
        # Where it fell into an import, Python would remember that and end as killed by SIGINT.
        os._exit(_last_words(output, CancelledError.exit_status))
    except BrokenPipeError:
        output.closed = True
        return 0
    except MemoryError:
        output.error(KluisError("there is not enough memory; nothing that was stored is lost"))
        return FAILED_STATUS
    except OSError as error:
        output.error(_from_system(error))
        return _from_system(error).exit_status
    except Exception as error:  # noqa: BLE001 - whatever it is, a person gets a sentence
        output.error(_FaultError(_fault_words(error)))
        if os.environ.get("KLUIS_DEBUG") or output.verbosity >= TRACEBACK_VERBOSITY:
            output.say(_traceback(error))
        return _FaultError.exit_status


class _FaultError(KluisError):
    """A fault of kluis itself."""

    code = "fault"


def _fault_words(error: Exception) -> str:
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return (
        f"this is a fault of kluis, not of your data ({what}); snapshots made before are as they "
        "were. Next: please report it as CONTRIBUTING.md says, with the command, what "
        "`kluis --version` prints, and what the command prints with KLUIS_DEBUG=1 set"
    )


def _traceback(error: Exception) -> str:
    import traceback

    return "".join(traceback.format_exception(error)).rstrip()


def _from_system(error: OSError) -> KluisError:
    import errno

    where = f"{os.fsdecode(error.filename)}: " if error.filename is not None else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return NoSpaceError(f"{where}no space is left; free some and try again")
    return KluisError(f"{where}{error.strerror or error}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    _open_closed_streams()
    if words == ["--version"]:  # needs nothing of what takes time to load
        return _version()
    output = _output(words)
    try:
        status = _guarded(words, output)
    except SystemExit as done:  # --help and --version end this way
        status = done.code if isinstance(done.code, int) else 0
    return _last_words(output, status)


def _version() -> int:
    try:
        print_version()
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python would try again at exit
        return 0 if isinstance(error, BrokenPipeError) else FAILED_STATUS
    return 0


def _open_closed_streams() -> None:
    """After `kluis >&-`, Python has no stream, and the next file opened would become one."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def _last_words(output: Output, status: int) -> int:
    """Flushes standard output, where the last error of a command may still hide."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        output.closed = True
    except OSError as error:
        output.closed = True
        output.failure = error.strerror or str(error)
    output.flush()
    if output.failure:
        problem = f"standard output: {output.failure}; what it got is incomplete"
        output.error(KluisError(problem))
    if output.closed:  # or Python would try again at exit, and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return FAILED_STATUS if output.failure and status == 0 else status
