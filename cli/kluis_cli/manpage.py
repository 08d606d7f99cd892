"""The man page, made from the one parser: `python -m kluis_cli.manpage > docs/man/kluis.1`.

The page is kept in the tree, so that a wheel can be built without argparse-manpage;
a test compares the two.
"""

from __future__ import annotations

import argparse
import os
import sys

from kluis_cli.parser import DESCRIPTION, actions, build_parser, parsers


def _single_flags() -> argparse.ArgumentParser:
    """The parser, with the global flags only where they are first explained."""
    parser = build_parser()
    names = {action.dest for action in actions(parser)}
    for verb in parsers(parser):
        for action in actions(verb):
            if verb is not parser and action.dest in names and action.option_strings:
                action.help = argparse.SUPPRESS
        verb._action_groups = [
            group
            for group in verb._action_groups
            if verb is parser or group.title != "global flags"
        ]
    return parser


def manpage() -> str:
    """The page in roff, without a date, which would change from build to build."""
    os.environ["SOURCE_DATE_EPOCH"] = "0"
    os.environ["COLUMNS"] = "80"
    from argparse_manpage.manpage import Manpage

    data = {
        "prog": "kluis",
        "project_name": "kluis",
        "manual_section": "1",
        "manual_title": "kluis",
        "description": DESCRIPTION,
    }
    page = str(Manpage(_single_flags(), _data=data, format="single-commands-section"))
    page = page.replace('"1970\\-01\\-01"', '""')
    return page.replace(".SH COMMENTS", ".SH USE")


if __name__ == "__main__":
    sys.stdout.write(manpage())
