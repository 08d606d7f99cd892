"""What `kluis.frozen` makes is a dataclass: compared, hashed, shown and replaced like one."""

from __future__ import annotations

import copy
import pickle
from dataclasses import asdict, field, fields, is_dataclass, replace

import pytest

from kluis.frozen import frozen


@frozen
class Place:
    """Some fields, one of them secret, one not compared."""

    name: str
    size: int = 0
    key: bytes = field(default=b"", repr=False)
    note: str = field(default="", compare=False)


@frozen
class Other:
    """The same fields, another kind."""

    name: str
    size: int = 0
    key: bytes = b""
    note: str = ""


@frozen
class Nothing:
    """No field at all."""


def test_it_is_compared_and_hashed_by_the_fields_that_count() -> None:
    assert Place("a", 1) == Place("a", 1, note="seen")
    assert hash(Place("a", 1)) == hash(Place("a", 1, note="seen"))
    assert Place("a", 1) != Place("a", 2)
    assert len({Place("a"), Place("a"), Place("b")}) == 2
    assert Nothing() == Nothing()
    assert len({Nothing(), Nothing()}) == 1


def test_two_kinds_with_equal_fields_differ() -> None:
    other: object = Other("a")
    assert Place("a") != other


def test_no_secret_is_shown() -> None:
    text = repr(Place("a", 3, b"hidden", "n"))
    assert text == "Place(name='a', size=3, note='n')"


def test_dataclass_functions_work_on_it() -> None:
    one = Place("a", 1, b"k")
    assert is_dataclass(one)
    assert replace(one, size=2) == Place("a", 2, b"k")
    assert asdict(one) == {"name": "a", "size": 1, "key": b"k", "note": ""}
    assert [item.name for item in fields(one)] == ["name", "size", "key", "note"]
    assert copy.copy(one) == one
    assert pickle.loads(pickle.dumps(one)) == one


@pytest.mark.parametrize("name", ["other", "sizes"])
def test_it_takes_no_other_attribute(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(Place("a"), name, 1)


def test_an_own_method_stays() -> None:
    @frozen
    class Short:
        name: str

        def __repr__(self) -> str:
            return "short"

    assert repr(Short("a")) == "short"
