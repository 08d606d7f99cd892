"""What a verb's `run` works with: where to print, how to stop, what to open."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from kluis.errors import PasswordError
from kluis_cli import access
from kluis_cli.output import Output
from kluis_cli.records import WENT_BACK_NEXT
from kluis_cli.signals import cancelling
from kluis_cli.terminal import Reporter

if TYPE_CHECKING:
    from kluis import Repository
    from kluis.events import Context
    from kluis.options import Credentials

EACH_FILE_VERBOSITY = 2


class Session:
    """One command: its arguments, its output, its environment."""

    def __init__(
        self, args: argparse.Namespace, output: Output, environ: Mapping[str, str]
    ) -> None:
        self.args = args
        self.output = output
        self.environ = environ

    def location(self) -> str:
        """The repository that is meant."""
        return access.location(self.args, self.environ)

    def cache_folder(self) -> str | None:
        """Where the cache lies, if that was said."""
        return access.cache_folder(self.args, self.environ)

    def new_credentials(self) -> Credentials:
        """A passphrase for a new repository."""
        from kluis.options import Credentials

        given = access.given_credentials(self.args, self.environ)
        if given is not None:
            return given
        question = "passphrase for the new repository (without it nothing can be read): "
        return Credentials(passphrase=access.ask(question, twice=True))

    def open(self) -> Repository:
        """The repository, opened; says so if it went back, or if that could not be noticed."""
        repository = self._open()
        repository.tell_of_cache(lambda trouble: self.output.warning(trouble, "cache"))
        for regression in repository.regressions:
            self.output.warning(f"{regression}; {WENT_BACK_NEXT}", "went_back")
        return repository

    def _open(self) -> Repository:
        """Asks for the passphrase only once the repository is known to be there."""
        import kluis
        from kluis.options import Credentials

        location, cache = self.location(), self.cache_folder()
        given = access.given_credentials(self.args, self.environ)
        if given is not None:
            return kluis.open(location, given, cache_folder=cache)
        try:
            return kluis.open(location, Credentials(), cache_folder=cache)
        except PasswordError:
            secret = access.ask(f"passphrase for {location}: ")
        return kluis.open(location, Credentials(passphrase=secret), cache_folder=cache)

    @contextmanager
    def context(self, *, each_file: bool = False) -> Iterator[Context]:
        """A context that shows events and that signals cancel."""
        from kluis.events import Cancel, Context

        reporter = Reporter(self.output, self._terminal())
        wanted = each_file or self.output.verbosity >= EACH_FILE_VERBOSITY
        try:
            with cancelling(Cancel()) as cancel:
                yield Context(events=reporter, cancel=cancel, each_file=wanted)
            reporter.finish()
        finally:
            reporter.close()

    def _terminal(self) -> TextIO | None:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and stream.isatty():
                return stream
        return None
