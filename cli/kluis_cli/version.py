"""`kluis --version`, which scripts call often and which has to be quick."""

from __future__ import annotations


def print_version() -> None:
    """Prints the version of the installed package."""
    from importlib.metadata import version

    print(f"kluis {version('kluis')}")  # noqa: T201 - this is what --version is for
