"""Path patterns as restic understands them, compiled once to regular expressions.

A pattern is a list of components, each as Go's `filepath.Match` reads it; `**` stands for
any number of components. One that begins with a slash is compared with the beginning of a
path, any other with every stretch of whole components; what lies below a match matches
too. Of several patterns the last one that matches decides, and `!` takes back.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Sequence
from itertools import groupby

from kluis.errors import UsageError
from kluis.frozen import frozen

_MAGIC = re.compile(r"[\\\[\]*?]")
_END = r"(?=/|\Z)"
_ANY_FOLDERS = r"(?:[^/]+/)*"


class _BadComponentError(ValueError):
    """The component is one that `filepath.Match` would refuse."""


def _class_character(part: str, at: int) -> tuple[str, int]:
    """One character of a bracket expression, and where the next begins."""
    if part[at : at + 1] == "\\":
        at += 1
    elif part[at : at + 1] in ("-", "]"):
        raise _BadComponentError
    if at >= len(part):
        raise _BadComponentError
    return part[at], at + 1


def _bracket(part: str, at: int) -> tuple[str, int]:
    """The regex for the bracket expression after `[` at `at`, and where it ends."""
    negated = part[at : at + 1] == "^"
    at += negated
    ranges = []
    empty = True
    while empty or part[at : at + 1] != "]":
        low, at = _class_character(part, at)
        high = low
        if part[at : at + 1] == "-":
            high, at = _class_character(part, at + 1)
        if low <= high:
            ranges.append(f"{re.escape(low)}-{re.escape(high)}")
        empty = False
    inner = "".join(ranges)
    if not inner:
        return ("[^/]" if negated else r"(?!)"), at + 1
    return f"(?!/)[{'^' if negated else ''}{inner}]", at + 1


def component_regex(part: str) -> str:
    """The regex for one component; raises ValueError if it is malformed."""
    if not _MAGIC.search(part):
        return re.escape(part)
    pieces = [""]
    at = 0
    while at < len(part):
        character = part[at]
        at += 1
        if character == "*":
            pieces.append("")
        elif character == "?":
            pieces[-1] += "[^/]"
        elif character == "[":
            regex, at = _bracket(part, at)
            pieces[-1] += regex
        elif character == "\\":
            if at >= len(part):
                raise _BadComponentError
            pieces[-1] += re.escape(part[at])
            at += 1
        else:
            pieces[-1] += re.escape(character)
    # The first place where a middle piece fits is as good as any later one: no backtracking.
    middle = "".join(f"(?>[^/]*?{piece})" for piece in pieces[1:-1] if piece)
    last = f"[^/]*{pieces[-1]}" if len(pieces) > 1 else ""
    return pieces[0] + middle + last


@frozen
class _Pattern:
    """One pattern, taken apart: `None` among the components stands for `**`."""

    negated: bool
    absolute: bool
    components: tuple[str | None, ...]

    @property
    def names_only(self) -> bool:
        """Whether a single component decides, wherever it stands."""
        return not self.absolute and len(self.components) == 1 and self.components[0] is not None

    def path_regex(self) -> str:
        """What follows the slash where a match begins; empty if every path matches."""
        kept = list(self.components)
        while kept and kept[-1] is None:
            kept.pop()
        while kept and kept[0] is None and not self.absolute:
            kept.pop(0)
        regex = ""
        for number, component in enumerate(kept):
            if component is None:
                regex += _ANY_FOLDERS
            else:
                regex += component + ("/" if number < len(kept) - 1 else _END)
        return regex

    def child_regex(self) -> str:
        """Begins a path below which this pattern could match, or that it matches."""
        if not self.absolute:
            return ""
        fixed: list[str] = []
        for component in self.components:
            if component is None:
                break
            fixed.append(component)
        if not fixed:
            return ""
        regex = fixed[-1] + _END
        for component in reversed(fixed[:-1]):
            regex = rf"{component}(?:\Z|/{regex})"
        return rf"/(?:\Z|{regex})"


def _take_apart(text: str) -> _Pattern:
    negated = text.startswith("!")
    cleaned = posixpath.normpath(text[negated:])
    absolute = cleaned.startswith("/")
    parts = cleaned.lstrip("/").split("/")
    components = tuple(
        None if part == "**" or (absolute and not part) else component_regex(part) for part in parts
    )
    return _Pattern(negated, absolute, components)


def _any_of(regexes: Sequence[str], prefix: str = "") -> re.Pattern[str] | None:
    """One regex for all of them; None if there is none."""
    if not regexes:
        return None
    return re.compile(prefix + "(?:" + "|".join(f"(?:{regex})" for regex in regexes) + ")")


class _Set:
    """Patterns that are alike in what a match means, as few regular expressions."""

    def __init__(self, patterns: Sequence[_Pattern]) -> None:
        self._absolute = _any_of([p.path_regex() for p in patterns if p.absolute], "/")
        self._relative = _any_of([p.path_regex() for p in patterns if not p.absolute], "/")
        self._children = _any_of([p.child_regex() for p in patterns])

    def matches(self, path: str) -> bool:
        if self._absolute is not None and self._absolute.match(path):
            return True
        return self._relative is not None and self._relative.search(path) is not None

    def may_match_below(self, path: str) -> bool:
        return self._children is not None and self._children.match(path) is not None


class Patterns:
    """A list of patterns; says of a path whether it matches, and whether anything below could."""

    def __init__(self, patterns: Sequence[bytes], any_case: bool = False) -> None:
        self._any_case = any_case
        taken = []
        for pattern in patterns:
            if not pattern:
                continue
            text = os.fsdecode(pattern)
            try:
                taken.append(_take_apart(text.lower() if any_case else text))
            except _BadComponentError:
                raise UsageError(
                    f"the pattern {text!r} is malformed: a [ without its ], or a \\ at the end"
                ) from None
        self._groups = [
            (negated, _Set(list(members)))
            for negated, members in groupby(taken, key=lambda p: p.negated)
        ]
        self.negates = any(p.negated for p in taken)
        self._names = _any_of([p.path_regex() for p in taken if p.names_only])
        longer = [p for p in taken if not p.names_only]
        self._longer = _Set(longer) if longer else None

    def __bool__(self) -> bool:
        return bool(self._groups)

    def fold(self, text: str) -> str:
        """`text` as it has to be for comparison."""
        return text.lower() if self._any_case else text

    def matches(self, path: str) -> bool:
        """Whether the absolute path, or a folder above it, matches."""
        path = self.fold(path)
        matched = False
        for negated, group in self._groups:
            if matched == negated and group.matches(path):
                matched = not negated
        return matched

    def may_match_below(self, path: str) -> bool:
        """Whether something below the folder `path` could match, or it matches itself."""
        path = self.fold(path)
        possible = False
        for negated, group in self._groups:
            if negated:
                possible = possible and not group.matches(path)
            else:
                possible = possible or group.may_match_below(path)
        return possible

    def match_names(self, folder: str, names: Sequence[str]) -> list[bool]:
        """What `matches` says of each name, given that `folder` itself does not match.

        With a list that takes back nothing, most patterns need to see the name alone.
        """
        prefix = folder if folder.endswith("/") else folder + "/"
        if self.negates:
            return [self.matches(prefix + name) for name in names]
        prefix = self.fold(prefix)
        folded = [self.fold(name) for name in names] if self._any_case else names
        found = [False] * len(names)
        if self._names is not None:
            match = self._names.match
            found = [match(name) is not None for name in folded]
        if self._longer is not None:
            matches = self._longer.matches
            found = [hit or matches(prefix + name) for hit, name in zip(found, folded, strict=True)]
        return found


@frozen
class PathFilter:
    """Chooses paths of a snapshot: all, or what is included, without what is excluded."""

    include: tuple[Patterns, ...] = ()
    exclude: tuple[Patterns, ...] = ()

    @classmethod
    def of(
        cls,
        include: Sequence[bytes] = (),
        include_any_case: Sequence[bytes] = (),
        exclude: Sequence[bytes] = (),
        exclude_any_case: Sequence[bytes] = (),
    ) -> PathFilter:
        """From the words of the options `--include` and so on; UsageError if one is malformed."""
        included = (Patterns(include), Patterns(include_any_case, any_case=True))
        excluded = (Patterns(exclude), Patterns(exclude_any_case, any_case=True))
        return cls(tuple(p for p in included if p), tuple(p for p in excluded if p))

    def judge(self, path: bytes, is_folder: bool) -> tuple[bool, bool]:
        """(chosen, look below): for an absolute path of a snapshot.

        A folder that is not chosen may have to be looked into, for what lies in it.
        """
        if not self.include and not self.exclude:
            return True, is_folder
        text = os.fsdecode(path)
        if any(patterns.matches(text) for patterns in self.exclude):
            return False, False
        if not self.include:
            return True, is_folder
        chosen = any(patterns.matches(text) for patterns in self.include)
        below = is_folder and any(patterns.may_match_below(text) for patterns in self.include)
        return chosen, below
