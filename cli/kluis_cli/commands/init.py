"""`kluis init`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from kluis_cli.arguments import text
from kluis_cli.output import Output
from kluis_cli.parser import Verbs, add_verb
from kluis_cli.records import printable

if TYPE_CHECKING:
    from kluis.results import InitResult
    from kluis_cli.session import Session


def add(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "init",
        "make a new repository in an empty or new folder",
        """
        kluis init -r /mnt/disk/backup
        kluis init -r /mnt/disk/backup --password-file ~/.config/kluis/password
        kluis init -r /mnt/stick/backup --label "blue stick"
        """,
    )
    parser.add_argument("--label", type=text, default="", help="what stands on the medium")
    parser.set_defaults(run=run, parser=parser)


def show(result: InitResult, output: Output) -> None:
    if output.as_json:
        fields = {"repository": result.location, "vault": result.vault, "store": result.store}
        output.event("initialized", {**fields, "id": result.vault})
        return
    output.note(f"made repository {result.vault[:8]} at {printable(result.location)}")
    output.note("Keep its passphrase apart from it: without it nothing can be read, by anybody.")


def run(args: argparse.Namespace, session: Session) -> int:
    import kluis
    from kluis.options import InitOptions

    location = session.location()
    options = InitOptions(credentials=session.new_credentials(), label=args.label)
    with session.context() as context:
        result = kluis.init(location, options, context)
    show(result, session.output)
    return result.exit_status
