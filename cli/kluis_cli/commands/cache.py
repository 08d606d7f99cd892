"""`kluis cache clear`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from kluis.errors import NoRepositoryError
from kluis_cli.output import Output
from kluis_cli.parser import Parser, Verbs, add_verb
from kluis_cli.records import names_fields, shown

if TYPE_CHECKING:
    from kluis.options import CacheClearOptions
    from kluis.results import CacheClearResult
    from kluis_cli.session import Session


def add(verbs: Verbs) -> None:
    parser = add_verb(
        verbs, "cache", "clear what this client keeps", "kluis cache clear -r /mnt/disk/backup"
    )
    words = parser.add_subparsers(
        title="verbs", dest="cache_verb", metavar="VERB", required=True, parser_class=Parser
    )
    clearing = add_verb(
        words,
        "clear",
        "delete the cache, of one repository or of all; the next backup reads every file again",
        """
        kluis cache clear
        kluis cache clear -r /mnt/disk/backup
        """,
        prog="kluis cache clear",
    )
    clearing.add_argument(
        "--forget-client",
        action="store_true",
        help="also who this client is and what it has seen of each store",
    )
    clearing.set_defaults(run=run, parser=clearing)


def options(args: argparse.Namespace, session: Session) -> CacheClearOptions:
    from kluis.options import CacheClearOptions

    try:
        location = session.location()
    except NoRepositoryError:
        location = None
    return CacheClearOptions(
        cache_folder=session.cache_folder(), location=location, forget_client=args.forget_client
    )


def show(result: CacheClearResult, output: Output) -> None:
    from kluis.units import format_size

    if output.as_json:
        folders = names_fields("folders", result.folders)
        output.event("summary", {"verb": "cache", "size": result.size, **folders})
        return
    for folder in result.folders:
        output.note(f"deleted {shown(folder)}")
    output.note(f"{format_size(result.size)} freed")


def run(args: argparse.Namespace, session: Session) -> int:
    import kluis

    with session.context() as context:
        result = kluis.cache_clear(options(args, session), context)
    show(result, session.output)
    return result.exit_status
