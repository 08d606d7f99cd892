"""Patterns mean what they mean to restic: a table of its documented cases, and a slow oracle."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kluis.errors import UsageError
from kluis.source.patterns import PathFilter, Patterns, component_regex

MATCHES = [
    ("*.go", "/foo/bar/test.go", True),
    ("*.c", "/foo/bar/test.go", False),
    ("*", "/foo/bar/test.go", True),
    ("**", "/foo", True),
    ("/**", "/foo", True),
    ("foo*", "/foo/bar/test.go", True),
    ("/bar*", "/foo/bar/test.go", False),
    ("bar/*", "/foo/bar/test.go", True),
    ("baz/*", "/foo/bar/test.go", False),
    ("ba*/*.go", "/foo/bar/test.go", True),
    ("tesT.*", "/foo/bar/test.go", False),
    ("bar", "/foo/bar/baz", True),
    ("/foo/bar", "/foo/bar", True),
    ("/foo/bar/", "/foo/bar", True),
    ("/foo///bar", "/foo/bar", True),
    ("/foo/../bar", "/bar", True),
    ("./foo", "/x/foo", True),
    ("/foo", "/foobar", False),
    ("/foo/*", "/foo", False),
    ("/foo/*/test.*", "/foo/bar/test.go", True),
    ("/foo/*test.*", "/foo/bar/test.go", False),
    ("*/foo", "/foo", False),
    ("*/foo", "/x/foo", True),
    ("sdk/*/cpp/*/*vars*.html", "/usr/sdk/docs/cpp/ref/a00517.html", False),
    ("foo/**/bar/*.go", "/home/foo/work/special/bar/test.go", True),
    ("foo/**/bar/*.go", "/home/foo/bar/test.go", True),
    ("foo/**/bar/*.go", "/home/user/foo/test.c", False),
    ("foo/**/bar/**/x", "/foo/blaaa/blaz/bar/shared/work/x", True),
    ("/**/deep", "/deep", True),
    ("/**/deep", "/a/b/deep/c", True),
    ("foo/**", "/foo", True),
    ("?", "/ä", True),
    ("?", "/\udcff", True),
    ("[a-c]x", "/bx", True),
    ("[^a-c]x", "/bx", False),
    ("[+-9]", "/a/5", True),
    ("a[+-9]b", "/a/b", False),
    (r"\*", "/*", True),
    (r"\*", "/x", False),
    ("a*b*c", "/a1b2b3c", True),
    ("a*b*c", "/a1c2b", False),
    ("a.b", "/axb", False),
    ("x\ny", "/x\ny", True),
]


@pytest.mark.parametrize(("pattern", "path", "expected"), MATCHES)
def test_a_pattern_matches_as_in_restic(pattern: str, path: str, expected: bool) -> None:
    assert Patterns([pattern.encode("utf-8", "surrogateescape")]).matches(path) is expected


BELOW = [
    ("foo/bar", "/foo", True),
    ("baz", "/foo/bar", True),
    ("/foo/bar/baz", "/foo", True),
    ("/foo/bar/baz", "/foo/bar", True),
    ("/foo/bar/baz", "/foo/baz", False),
    ("/foo/**/baz", "/foo/bar/baz/blah", True),
    ("/foo/*/qux", "/foo/bar", True),
    ("/foo/*/qux", "/foo/bar/boo", False),
    ("/foo", "/foo/bar", True),
    ("/foo", "/foobar", False),
    ("/*", "/foo/bar", True),
    ("/bar/*", "/foo", False),
    ("/**/bar", "/foo/bar", True),
    ("/foo/bar", "/", True),
]


@pytest.mark.parametrize(("pattern", "path", "expected"), BELOW)
def test_a_folder_is_looked_into_only_if_something_in_it_can_match(
    pattern: str, path: str, expected: bool
) -> None:
    assert Patterns([pattern.encode()]).may_match_below(path) is expected


def test_an_exclamation_mark_takes_back_and_the_last_match_decides() -> None:
    patterns = Patterns([b"foo/*", b"!foo/keep", b"*.tmp", b"", b"!**/very.tmp"])
    assert patterns.matches("/x/foo/a")
    assert not patterns.matches("/x/foo/keep/b")
    assert patterns.matches("/x/foo/keep/b.tmp")
    assert not patterns.matches("/x/foo/very.tmp")
    assert not patterns.matches("/x/foo")


@pytest.mark.parametrize(
    "pattern", ["[", "a[b", "[]", "[^]", "[-a]", "[a-]", "x\\", r"a\/b", "[\\"]
)
def test_a_malformed_pattern_is_refused_by_name(pattern: str) -> None:
    with pytest.raises(UsageError, match="malformed"):
        Patterns([b"fine", b"**/" + pattern.encode()])


def test_any_case_compares_both_sides_in_lower_case() -> None:
    patterns = Patterns([b"*.ISO", "Ä*".encode()], any_case=True)
    assert patterns.matches("/Home/x.iso")
    assert patterns.matches("/home/X.ISO")
    assert patterns.matches("/ärger")
    assert patterns.match_names("/HOME", ["a.Iso", "b"]) == [True, False]
    assert not Patterns([b"*.ISO"]).matches("/x.iso")


def component_matches(pattern: str, name: str) -> bool:
    """`filepath.Match` without brackets and escapes, by trying every length of a star."""
    if not pattern:
        return not name
    if pattern[0] == "*":
        return any(component_matches(pattern[1:], name[n:]) for n in range(len(name) + 1))
    if not name or pattern[0] not in ("?", name[0]):
        return False
    return component_matches(pattern[1:], name[1:])


def components_match(pattern: list[str], names: list[str]) -> bool:
    """Whether the pattern matches the beginning of the names."""
    if not pattern:
        return True
    if pattern[0] == "**":
        return any(components_match(pattern[1:], names[n:]) for n in range(len(names) + 1))
    if not names or not component_matches(pattern[0], names[0]):
        return False
    return components_match(pattern[1:], names[1:])


def path_matches(pattern: str, path: str) -> bool:
    names = path[1:].split("/")
    parts = pattern.strip("/").split("/")
    if pattern.startswith("/"):
        return components_match(parts, names)
    return any(components_match(parts, names[n:]) for n in range(len(names)))


component = st.text("ab*?", min_size=1, max_size=3).filter(lambda text: "**" not in text)
pattern_text = st.builds(
    lambda root, parts: root + "/".join(parts),
    st.sampled_from(["", "/"]),
    st.lists(component | st.just("**"), min_size=1, max_size=4),
)
names_list = st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=5)
signed = st.lists(st.tuples(st.booleans(), pattern_text), min_size=1, max_size=4)


@given(signed, names_list)
def test_lists_of_patterns_agree_with_a_slow_oracle(
    wanted: list[tuple[bool, str]], names: list[str]
) -> None:
    path = "/" + "/".join(names)
    expected = False
    for negated, pattern in wanted:
        if path_matches(pattern, path):
            expected = not negated
    patterns = Patterns([b"!" * negated + text.encode() for negated, text in wanted])
    assert patterns.matches(path) is expected


@given(signed, names_list)
def test_a_whole_folder_at_once_gives_what_each_path_gives(
    wanted: list[tuple[bool, str]], names: list[str]
) -> None:
    """Under what the walk guarantees: the folder and those above it do not match."""
    patterns = Patterns([b"!" * negated + text.encode() for negated, text in wanted])
    *above, last = names
    folder = "/" + "/".join(above)
    if all(not patterns.matches("/" + "/".join(above[:n])) for n in range(len(above) + 1)):
        expected = patterns.matches(folder.rstrip("/") + "/" + last)
        assert patterns.match_names(folder, [last]) == [expected]


@given(signed, names_list)
def test_nothing_that_matches_lies_where_nobody_looks(
    wanted: list[tuple[bool, str]], names: list[str]
) -> None:
    patterns = Patterns([text.encode() for negated, text in wanted if not negated])
    if patterns.matches("/" + "/".join(names)):
        for n in range(len(names)):
            assert patterns.may_match_below("/" + "/".join(names[:n]))


def test_many_stars_take_no_more_than_linear_time() -> None:
    patterns = Patterns([b"*a" * 30 + b"*b", b"**/*a*a*a*a/**/*a*a*a*a/**/c"])
    assert not patterns.matches("/" + "/".join(["a" * 200] * 3))


def test_a_plain_component_is_taken_literally() -> None:
    assert component_regex("a.b]") == r"a\.b\]"


def test_the_filter_chooses_what_is_included_without_what_is_excluded() -> None:
    everything = PathFilter.of()
    assert everything.judge(b"/a", True) == (True, True)
    assert everything.judge(b"/a", False) == (True, False)
    only = PathFilter.of(include=[b"/home/*/docs"], exclude_any_case=[b"*.TMP"])
    assert only.judge(b"/home", True) == (False, True)
    assert only.judge(b"/etc", True) == (False, False)
    assert only.judge(b"/home/joe", False) == (False, False)
    assert only.judge(b"/home/joe/docs", True) == (True, True)
    assert only.judge(b"/home/joe/docs/x", False) == (True, False)
    assert only.judge(b"/home/joe/docs/x.tmp", False) == (False, False)
    without = PathFilter.of(exclude=[b"\xff*"])
    assert without.judge(b"/a/\xffb", True) == (False, False)
    assert without.judge(b"/a/b\xff", True) == (True, True)
