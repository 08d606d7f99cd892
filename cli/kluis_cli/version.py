"""`kluis --version`, which scripts call often and which has to be quick."""

from __future__ import annotations


def print_version() -> None:
    """Prints the version of the engine."""
    from kluis import __version__

    print(f"kluis {__version__}")  # noqa: T201 - this is what --version is for
