"""Names are printed so that nothing moves the cursor, and JSON carries their exact bytes."""

from __future__ import annotations

import base64
import json
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kluis.events import Damage, Problem
from kluis.listing import ListedEntry
from kluis_cli import records


@given(st.binary())
def test_json_gives_back_every_name(name: bytes) -> None:
    fields = json.loads(json.dumps(records.name_fields("path", name)))
    exact = fields.get("path_base64")
    found = fields["path"].encode() if exact is None else base64.b64decode(exact)
    assert found == name


@given(st.lists(st.binary()))
def test_json_gives_back_every_list_of_names(names: list[bytes]) -> None:
    fields = json.loads(json.dumps(records.names_fields("paths", names)))
    exact = fields.get("paths_base64")
    if exact is None:
        assert [name.encode() for name in fields["paths"]] == names
    else:
        assert [base64.b64decode(name) for name in exact] == names


@given(st.binary())
def test_no_name_prints_a_control_character(name: bytes) -> None:
    printed = records.shown(name).encode("utf-8", "surrogateescape")
    assert not any(byte < 0x20 or byte == 0x7F for byte in printed)
    text = printed.decode("utf-8", "replace")
    assert not any(0x80 <= ord(letter) < 0xA0 for letter in text)


def test_harmless_names_are_printed_as_they_are() -> None:
    assert records.shown("/home/zoë/a b\\c".encode()) == "/home/zoë/a b\\c"
    assert records.shown(b"/a\xff") == "/a\udcff"
    assert records.shown(b"a\x1b[2J\n\xc2\x9b\x9b") == "a\\x1b[2J\\n\\x9b\\x9b"
    assert records.shown("a\u202eb".encode()) == "a\\u202eb"


def test_long_rows_look_like_those_of_ls() -> None:
    entry = ListedEntry(
        b"/a", "symlink", 0o777, user="ann", group="staff", size=3, target=b"b\n", mtime_ns=0
    )
    row = records.long_row(entry)
    assert row.startswith("lrwxrwxrwx      ann    staff          3 ")
    assert row.endswith(" /a -> b\\n")
    assert records.permissions(ListedEntry(b"/t", "dir", 0o1777)) == "drwxrwxrwt"
    assert records.permissions(ListedEntry(b"/s", "file", 0o4755)) == "-rwsr-xr-x"


def test_a_damage_says_what_it_means_which_files_and_what_next() -> None:
    files = tuple(b"/f%d" % number for number in range(25))
    damage = Damage("packs/a/b", "one byte differs", "25 files are lost", files, "kluis repair")
    lines = records.damage_lines(damage)
    assert lines[0] == "damaged: packs/a/b: one byte differs"
    assert lines[1] == "  25 files are lost"
    assert lines[2] == "  lost: /f0"
    assert lines[-2:] == ["  and 5 more files; --json names all", "  next: kluis repair"]


def test_a_problem_names_the_path_the_deed_and_the_reason() -> None:
    problem = Problem(b"/a\n", "read", "Permission denied")
    assert records.problem_text(problem) == "cannot read /a\\n: Permission denied"


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        ("owner", "set the owner of"),
        ("mode", "set the permissions of"),
        ("times", "set the times of"),
        ("flags", "keep the flags of"),
        ("xattr", "keep the extended attributes of"),
        ("metadata", "set owner, permissions and times of"),
        ("setuid", "set setuid or capabilities of"),
        ("device", "make"),
        ("stat", "look up"),
    ],
)
def test_what_is_not_kept_is_said_in_words(operation: str, words: str) -> None:
    problem = Problem(b"/a", operation, "Operation not permitted")
    assert records.problem_text(problem) == f"cannot {words} /a: Operation not permitted"


def test_columns_are_as_wide_as_they_have_to_be() -> None:
    assert records.table_rows(["ID", "Host"], [["4f2a91", "a"], ["b", "c\n"]]) == [
        "ID      Host",
        "------------",
        "4f2a91  a",
        "b       c\\n",
    ]


@given(st.text(st.characters()))
def test_text_that_python_calls_printable_holds_nothing_to_escape(text: str) -> None:
    """The quick way past the pattern is never a way around it."""
    if text.isprintable():
        assert re.search(records._CONTROL, text) is None


def test_every_letter_that_has_to_be_escaped_is_one_that_python_does_not_print() -> None:
    escaped = [chr(n) for n in range(sys.maxunicode + 1) if re.match(records._CONTROL, chr(n))]
    assert escaped
    assert not any(letter.isprintable() for letter in escaped)
