"""`kluis key list`, `kluis key add`, `kluis key passwd`, `kluis key remove`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from kluis_cli import access
from kluis_cli.arguments import text
from kluis_cli.output import Output
from kluis_cli.parser import Parser, Verbs, add_verb
from kluis_cli.records import printable, table_rows

if TYPE_CHECKING:
    from kluis.listing import KeyInfo
    from kluis.results import KeysResult
    from kluis_cli.session import Session


def add(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "key",
        "list and change what opens the repository",
        """
        kluis key list
        kluis key add --name partner
        kluis key passwd --new-password-file new.txt
        kluis key remove partner
        """,
    )
    words = parser.add_subparsers(
        title="verbs", dest="key_verb", metavar="VERB", required=True, parser_class=Parser
    )
    listing = add_verb(
        words, "list", "list all keys", "kluis key list --json", prog="kluis key list"
    )
    listing.set_defaults(run=run_list, parser=listing)
    adding = add_verb(
        words,
        "add",
        "add a passphrase",
        "kluis key add --name partner --new-password-file new.txt",
        prog="kluis key add",
    )
    adding.add_argument("--name", type=text, default="", help="whose it is")
    adding.set_defaults(run=run_add, parser=adding)
    changing = add_verb(
        words,
        "passwd",
        "change the passphrase",
        "kluis key passwd --new-password-file new.txt",
        prog="kluis key passwd",
    )
    changing.set_defaults(run=run_passwd, parser=changing)
    for one in (adding, changing):
        one.add_argument(
            "--new-password-file", metavar="FILE", help="file that holds the new passphrase"
        )
    _add_removing(words)


def _add_removing(words: Verbs) -> None:
    removing = add_verb(
        words,
        "remove",
        "remove a passphrase; the others go on opening the repository",
        """
        kluis key remove partner
        kluis key remove 7k2m4qxa --json
        """,
        prog="kluis key remove",
    )
    removing.add_argument("name", metavar="NAME", help="its name or id, as `kluis key list` has it")
    removing.set_defaults(run=run_remove, parser=removing)


def new_passphrase(args: argparse.Namespace) -> bytes:
    """From the file that was named, else from the terminal, typed twice."""
    if args.new_password_file is not None:
        return access.passphrase_of_file(args.new_password_file)
    return access.ask("new passphrase: ", twice=True)


def _fields(key: KeyInfo) -> dict[str, object]:
    from kluis.units import format_rfc3339

    return {
        "id": key.id,
        "role": key.role,
        "name": key.name,
        "domain": key.domain,
        "created": None if key.created_ns is None else format_rfc3339(key.created_ns),
        "current": key.current,
    }


def show(result: KeysResult, output: Output) -> None:
    if output.as_json:
        for key in result.keys:
            output.event("key", _fields(key))
        return
    rows = [[("*" if key.current else " ") + key.id, key.role, key.name] for key in result.keys]
    for line in table_rows([" ID", "Role", "Name"], rows):
        output.line(line)


def run_list(args: argparse.Namespace, session: Session) -> int:  # noqa: ARG001 - as all verbs
    import kluis
    from kluis.options import KeyListOptions

    with session.open() as repository, session.context() as context:
        result = kluis.key_list(repository, KeyListOptions(), context)
    show(result, session.output)
    return result.exit_status


def run_add(args: argparse.Namespace, session: Session) -> int:
    import kluis
    from kluis.options import KeyAddOptions

    with session.open() as repository:
        options = KeyAddOptions(passphrase=new_passphrase(args), name=args.name)
        with session.context() as context:
            result = kluis.key_add(repository, options, context)
    show(result, session.output)
    return result.exit_status


def run_passwd(args: argparse.Namespace, session: Session) -> int:
    import kluis
    from kluis.options import KeyPasswdOptions

    with session.open() as repository:
        options = KeyPasswdOptions(passphrase=new_passphrase(args))
        with session.context() as context:
            result = kluis.key_passwd(repository, options, context)
    session.output.note("the passphrase is changed; the old one opens nothing any more")
    if session.output.as_json:
        show(result, session.output)
    return result.exit_status


def run_remove(args: argparse.Namespace, session: Session) -> int:
    import kluis
    from kluis.options import KeyRemoveOptions

    with session.open() as repository, session.context() as context:
        result = kluis.key_remove(repository, KeyRemoveOptions(args.name), context)
    session.output.note(
        f"the passphrase {printable(args.name)} is removed: it opens this repository no more. "
        "A copy that was made before still opens with it"
    )
    if session.output.as_json:
        show(result, session.output)
    return result.exit_status
