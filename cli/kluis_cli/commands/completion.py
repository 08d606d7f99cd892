"""`kluis completion`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from kluis_cli.parser import Verbs, add_verb

if TYPE_CHECKING:
    from kluis_cli.session import Session

_BASH_RULE = "complete -F _shtab_kluis -o bashdefault"
FILE_METAVARS = ("FILE", "PATH")
FOLDER_METAVARS = ("DIR", "REPO", "FOLDER")


def add(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "completion",
        "print a script that completes words in a shell",
        """
        kluis completion bash > /etc/bash_completion.d/kluis
        kluis completion zsh > ~/.zfunc/_kluis
        source <(kluis completion bash)
        """,
    )
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell")
    parser.set_defaults(run=run, parser=parser)


def script(shell: str) -> str:
    """The completion script, made from the one parser."""
    import shtab

    from kluis_cli.parser import actions, build_parser, parsers

    parser = build_parser()
    for one in parsers(parser):
        for action in actions(one):
            if action.metavar in FILE_METAVARS:
                vars(action)["complete"] = shtab.FILE
            elif action.metavar in FOLDER_METAVARS:
                vars(action)["complete"] = shtab.DIRECTORY
    script: str = shtab.complete(parser, shell=shell)
    # `complete -F` is what those look for who load completions; the order means nothing to bash.
    return script.replace("complete -o bashdefault -F _shtab_kluis", _BASH_RULE)


def run(args: argparse.Namespace, session: Session) -> int:
    session.output.line(script(args.shell).rstrip("\n"))
    return 0
