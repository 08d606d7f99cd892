"""What `kluis.frozen` makes is a dataclass: compared, hashed, shown and replaced like one."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import subprocess
import sys
from dataclasses import asdict, fields, is_dataclass, replace

import pytest

from kluis import frozen as module
from kluis.frozen import field, frozen, mutable, slotted


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


@mutable
class Basket:
    """Fields that change, made anew for each object."""

    owner: str
    things: list[str] = field(default_factory=list)
    size: int = 0
    left: int = field(init=False, default=3)

    def __post_init__(self) -> None:
        self.size += len(self.things)


@slotted
class Point:
    x: int
    y: int = 0


def test_what_changes_is_made_anew_for_each_object_and_has_no_hash() -> None:
    one, other = Basket("a"), Basket("a")
    one.things.append("apple")
    assert other.things == []
    assert (one.left, Basket("b", ["x", "y"], 1).size) == (3, 3)
    assert one != other
    assert Basket("a") == other
    with pytest.raises(TypeError):
        hash(one)
    with pytest.raises(TypeError, match="owner"):
        Basket()  # type: ignore[call-arg]
    assert repr(other) == "Basket(owner='a', things=[], size=0, left=3)"


def test_slots_take_no_other_attribute_and_defaults_are_per_object() -> None:
    point = Point(1)
    point.y = 5
    assert (Point(1).y, point) == (0, Point(1, 5))
    with pytest.raises(AttributeError):
        point.z = 1  # type: ignore[attr-defined]


def test_replace_is_that_of_dataclasses() -> None:
    assert module.replace(Place("a", 1), size=2) == replace(Place("a", 1), size=2)
    assert module.replace(Basket("a", ["x"]), owner="b") == Basket("b", ["x"], 1)


def test_a_field_may_come_from_dataclasses() -> None:
    @frozen
    class Mixed:
        name: str
        key: bytes = dataclasses.field(default=b"", repr=False)
        rest: list[int] = dataclasses.field(default_factory=list)

    assert repr(Mixed("a", b"k")).endswith("Mixed(name='a', rest=[])")
    assert Mixed("a").rest is not Mixed("a").rest


@pytest.mark.parametrize("used", [False, True])
def test_help_shows_the_fields_before_and_after_the_first_object(used: bool) -> None:
    @frozen
    class Fresh:
        name: str
        size: int = 0

    if used:
        Fresh("a")
    assert list(inspect.signature(Fresh).parameters) == ["name", "size"]
    assert inspect.signature(Fresh).parameters["size"].default == 0


def test_a_match_takes_it_apart() -> None:
    match Place("a", 2):
        case Place(name, size):
            assert (name, size) == ("a", 2)


def test_the_options_load_without_dataclasses() -> None:
    code = "import sys, kluis.options; sys.exit('dataclasses' in sys.modules)"
    subprocess.run([sys.executable, "-S", "-c", code], check=True, env={"PYTHONPATH": _engine()})


def _engine() -> str:
    return str(module.__file__).removesuffix("/kluis/frozen.py")
