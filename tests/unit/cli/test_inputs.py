"""Files that flags name are read as those say who wrote them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kluis_cli import inputs


def test_an_exclude_file_has_comments_blank_lines_and_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PLACE", "/h")
    monkeypatch.delenv("UNSET", raising=False)
    content = (
        b"\xef\xbb\xbf# comment\n\n  *.tmp \r\n$PLACE/x\n${PLACE}/y\na$$b\n$UNSET\n"
        b"z$UNSET.q\n${}c${\nx$.y\n  # another\n!keep\n/**/deep"
    )
    assert inputs.pattern_lines(content) == [
        b"*.tmp", b"/h/x", b"/h/y", b"a$b", b"z.q", b"c", b"x$.y", b"!keep", b"/**/deep",
    ]  # fmt: skip


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_lists_that_an_editor_saved_with_a_mark_are_read(encoding: str) -> None:
    content = "*.ä\n# remark\n/b\r\n".encode(encoding)
    assert inputs.pattern_lines(content) == ["*.ä".encode(), b"/b"]
    assert inputs.listed_paths(content, "list") == ["*.ä".encode(), b"/b"]


def test_lists_of_paths_differ_in_what_a_line_may_say(tmp_path: Path) -> None:
    for name in ("a1", "a2", "#b", " c"):
        (tmp_path / name).touch()
    top = os.fsencode(tmp_path)
    content = b"%(t)s/a*\n\n# remark\n %(t)s/b \n%(t)s/none*\n" % {b"t": top}
    assert inputs.listed_paths(content, "list") == [
        top + b"/a1", top + b"/a2", top + b"/b", top + b"/none*",
    ]  # fmt: skip
    assert inputs.verbatim_paths(b"#b\n c\n\na*", "list") == [b"#b", b" c", b"a*"]
    assert inputs.raw_paths(b"a\nb\0c\0") == [b"a\nb", b"c"]
