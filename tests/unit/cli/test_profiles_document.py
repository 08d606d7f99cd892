"""docs/profiles.md and the help tell the truth about profiles."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from kluis_cli import profiles
from kluis_cli.commands import backup, forget
from kluis_cli.parser import EPILOG, build_parser
from kluis_cli.profiles import HOOK_KEYS, OTHER_GLOBAL_KEYS, REPOSITORY_KEYS, SECRET_KEYS, Hooks

ROOT = Path(__file__).resolve().parents[3]
DOCUMENT = (ROOT / "docs" / "profiles.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
(EXAMPLE,) = (text for kind, text in BLOCKS if kind == "toml")


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("HOME", "/home/ann")
    (tmp_path / "profiles.toml").write_text(EXAMPLE)
    return {"KLUIS_PROFILES": str(tmp_path / "profiles.toml")}


def test_the_example_gives_the_flags_that_the_document_says(environ: dict[str, str]) -> None:
    (said,) = (text for kind, text in BLOCKS if kind == "sh" and "--repo=" in text)
    parser = build_parser()
    by_hand = parser.parse_args(said.split()[1:])
    made = profiles.apply(parser, ["-p", "office", "backup"], environ)
    assert backup.options(made) == backup.options(by_hand)
    for name in ("repo", "password_file", "cache_dir"):
        assert getattr(made, name) == getattr(by_hand, name)
    assert made.hooks == Hooks(
        ("systemctl stop invoices",),
        ("systemctl start invoices", "logger backup is done"),
        ("systemctl start invoices",),
    )


def test_the_example_gives_the_policy_that_the_document_says(environ: dict[str, str]) -> None:
    words = ["forget", "--keep-daily=14", "--keep-monthly=12"]
    assert "`kluis " + " ".join(words) + "`" in DOCUMENT
    made = profiles.apply(build_parser(), ["-p", "office", "forget"], environ)
    assert forget.options(made) == forget.options(build_parser().parse_args(words))


def test_the_document_has_every_key_and_every_place() -> None:
    keys = (*REPOSITORY_KEYS, *SECRET_KEYS, *OTHER_GLOBAL_KEYS, *profiles.BACKUP_KEYS)
    for key in (*keys, "paths", *HOOK_KEYS):
        assert f"`{key}`" in DOCUMENT
    (place,) = profiles.files({"KLUIS_PROFILES": "/x"})
    assert place == "/x"
    for place in profiles.files({}):
        assert place.replace(str(Path.home()), "~") in DOCUMENT


def test_the_help_shows_a_profile_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    shown = EPILOG[EPILOG.index("    [office]") : EPILOG.index("  [default]")]
    (tmp_path / "profiles.toml").write_text(shown)
    assert tomllib.loads(shown)["office"]["hooks"] == {"before": "systemctl stop invoices"}
    environ = {"KLUIS_PROFILES": str(tmp_path / "profiles.toml")}
    options = backup.options(profiles.apply(build_parser(), ["-p", "office", "backup"], environ))
    assert (options.paths, options.tags) == ((b"/home/ann/Documents",), ("office",))
