"""Files, functions and parameter lists stay small enough to be read."""

from __future__ import annotations

from tests.lint.project import files
from tests.lint.sizes import FILE_LINES, c_functions, cython_functions, excesses, python_functions

# What is larger than its limit, with its size. This list may only shrink: an entry that grows,
# that could be lowered, or that is no longer needed fails the test. New entries are not accepted.
EXCEPTIONS: dict[str, int] = {}


def test_nothing_is_larger_than_its_limit_and_exceptions_only_shrink() -> None:
    sources = files(*FILE_LINES)
    assert sources, "git lists no sources: this test would pass on nothing"
    measured = {e.key: e for path in sources for e in excesses(path)}
    too_large = [
        f"{e.key}: {e.measured}, limit {e.limit}"
        for key, e in measured.items()
        if e.measured > EXCEPTIONS.get(key, e.limit)
    ]
    stale = [
        f"{key}: the list says {size}, now {measured[key].measured if key in measured else 'fine'}"
        for key, size in EXCEPTIONS.items()
        if key not in measured or measured[key].measured < size
    ]
    assert not too_large, "split these:\n" + "\n".join(too_large)
    assert not stale, "lower or remove these exceptions:\n" + "\n".join(stale)


def test_the_measures_find_functions_in_every_language() -> None:
    for suffix, measure in ((".py", python_functions), (".pyx", cython_functions)):
        assert any(list(measure(path)) for path in files(suffix)), suffix
    for path in files(".c", below="ext/c"):
        assert list(c_functions(path)), f"no function seen in {path}"
