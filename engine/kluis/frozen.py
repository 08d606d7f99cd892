"""Classes of named fields, as `dataclass` makes them, in a tenth of the time.

`dataclass` compiles up to seven functions a class and imports `inspect`: 50 ms of every start
of a command that has 150 such classes. Here nothing is compiled before some objects of a class
have been made, and then `__init__` alone. To `dataclasses` (`replace`, `fields`, `asdict`,
`is_dataclass`) what comes out is a dataclass, and it is imported only when somebody asks.
"""

from __future__ import annotations

import sys
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import dataclass_transform

T = TypeVar("T")

FILLED_FIRST = 8
"""So many objects of a class take less time field by field than compiling its `__init__`."""

_MISSING = object()
_OWN = frozenset(("__dict__", "__weakref__"))  # what a class without slots is given


class _Field:
    """What is known of one field beside its name."""

    __slots__ = ("compare", "default", "factory", "init", "repr")

    def __init__(
        self, default: object, factory: object, init: bool, repr: bool, compare: bool
    ) -> None:
        self.default, self.factory = default, factory
        self.init, self.repr, self.compare = init, repr, compare


def field(
    *,
    default: Any = _MISSING,
    default_factory: Any = _MISSING,
    init: bool = True,
    repr: bool = True,
    compare: bool = True,
) -> Any:
    """A field with more than a plain default, as in `dataclasses`."""
    return _Field(default, default_factory, init, repr, compare)


if not TYPE_CHECKING:

    def dataclass_transform(**_: object) -> Callable[[T], T]:
        """As in `typing`, to which it is a word for type checkers."""
        return lambda decorator: decorator


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """A class with slots, compared and hashed by its fields; the type checker keeps it frozen."""
    made = _with_slots(cls, _gather(cls))
    _finish(made, hashed=True)
    return made


@dataclass_transform(field_specifiers=(field,))
def mutable(cls: type[T]) -> type[T]:
    """A class whose fields change, compared by them, with no hash."""
    known: Any = cls
    fields = _gather(cls)
    for name, item in fields.items():
        if item.default is not _MISSING:
            setattr(known, name, item.default)
        elif name in cls.__dict__:
            delattr(known, name)
    known.__fields__ = fields
    _finish(cls, hashed=False)
    return cls


@dataclass_transform(field_specifiers=(field,))
def slotted(cls: type[T]) -> type[T]:
    """As `mutable`, with slots: small and quick, for what there are many of."""
    made = _with_slots(cls, _gather(cls))
    _finish(made, hashed=False)
    return made


def replace(item: T, /, **changes: Any) -> T:
    """A new one that differs in these fields."""
    known: Any = item
    for name, one in known.__fields__.items():
        if one.init and name not in changes:
            changes[name] = getattr(item, name)
    made: T = known.__class__(**changes)
    return made


def _gather(cls: type) -> dict[str, _Field]:
    """The fields, in order."""
    found = {}
    own = cls.__dict__
    for name, kind in own.get("__annotations__", {}).items():
        if not kind.startswith("ClassVar"):
            value = own.get(name, _MISSING)
            found[name] = value if value.__class__ is _Field else _other(value)
    return found


def _other(value: object) -> _Field:
    """A field with a plain default, or one that `dataclasses.field` made."""
    standard = sys.modules.get("dataclasses")
    if standard is None or not isinstance(value, standard.Field):
        return _Field(value, _MISSING, True, True, True)
    given = [
        _MISSING if one is standard.MISSING else one
        for one in (value.default, value.default_factory)
    ]
    return _Field(given[0], given[1], value.init, value.repr, value.compare)


def _with_slots(cls: type[T], fields: dict[str, _Field]) -> type[T]:
    """The class once more, with a slot for each field."""
    inside = {
        name: value
        for name, value in cls.__dict__.items()
        if name not in fields and name not in _OWN
    }
    inside["__slots__"] = tuple(fields)
    inside["__fields__"] = fields
    inside["__qualname__"] = cls.__qualname__
    kind: Any = type(cls)
    made: type[T] = kind(cls.__name__, cls.__bases__, inside)
    return made


def _finish(known: Any, hashed: bool) -> None:
    """Gives the class the methods that it does not have itself."""
    made: type = known
    fields: dict[str, _Field] = known.__fields__
    names = [name for name, item in fields.items() if item.compare]
    compared: Callable[[object], object] = attrgetter(*names) if names else bool

    left = FILLED_FIRST

    def late(self: object, *values: object, **named: object) -> None:
        nonlocal left
        left -= 1
        if left < 0 or not _fill(self, values, named):
            _compile(made)(self, *values, **named)

    def equal(self: object, other: object) -> bool:
        return compared(self) == compared(other) if other.__class__ is made else NotImplemented

    def hash_(self: object) -> int:
        return hash(compared(self))

    own = made.__dict__
    if "__eq__" not in own:
        known.__eq__ = equal
        if own.get("__hash__") is None:  # as a class with `__eq__` has it at first
            known.__hash__ = hash_ if hashed else None
    if "__repr__" not in own:
        known.__repr__ = _text
    known.__init__ = late
    known.__match_args__ = (  # type: ignore[misc]
        *(name for name, item in fields.items() if item.init),
    )
    known.__dataclass_fields__ = _FIELDS
    known.__signature__ = _SIGNATURE


def _text(self: Any) -> str:
    inner = ", ".join(
        f"{name}={getattr(self, name)!r}" for name, item in self.__fields__.items() if item.repr
    )
    return f"{self.__class__.__qualname__}({inner})"


def _fill(self: Any, values: tuple[object, ...], named: dict[str, object]) -> bool:
    """Does what the compiled `__init__` would; False where that would raise."""
    names = self.__match_args__
    given = dict(zip(names, values, strict=False))
    if len(values) > len(names) or not given.keys().isdisjoint(named):
        return False
    given.update(named)
    for name, item in self.__fields__.items():
        if item.init and name in given:
            value = given.pop(name)
        elif item.factory is not _MISSING:
            value = item.factory()
        elif item.default is not _MISSING:
            value = item.default
        elif item.init:
            return False
        else:
            continue
        setattr(self, name, value)
    if given:
        return False
    if hasattr(self, "__post_init__"):
        self.__post_init__()
    return True


def _compile(made: Any) -> Callable[..., None]:
    """The `__init__` that the fields ask for, which the class has from now on."""
    fields: dict[str, _Field] = made.__fields__
    known: dict[str, Any] = {"missing": _MISSING}
    words, lines = ["self"], []
    for name, item in fields.items():
        value = name
        if item.factory is not _MISSING:
            known[f"make_{name}"] = item.factory
            value = f"make_{name}() if {name} is missing else {name}"
            words.append(f"{name}=missing")
            if not item.init:
                words.pop()
                value = f"make_{name}()"
        elif item.default is not _MISSING:
            known[f"default_{name}"] = item.default
            words.append(f"{name}=default_{name}")
            if not item.init:
                words.pop()
                value = f"default_{name}"
        elif item.init:
            words.append(name)
        else:
            continue
        lines.append(f" self.{name} = {value}")
    if hasattr(made, "__post_init__"):
        lines.append(" self.__post_init__()")
    exec(f"def __init__({', '.join(words)}):\n" + "\n".join(lines or [" pass"]), known)
    init: Callable[..., None] = known["__init__"]
    init.__qualname__ = f"{made.__qualname__}.__init__"
    init.__module__ = made.__module__
    made.__init__ = init
    return init


class _Late:
    """What a class answers only when it is asked for."""

    def __init__(self, answer: Callable[[Any], object]) -> None:
        self._answer = answer

    def __get__(self, item: object, owner: type) -> object:
        return self._answer(owner)


def _dataclass_fields(made: Any) -> object:
    import dataclasses

    inside: dict[str, Any] = {"__annotations__": dict(made.__annotations__)}
    for name, item in made.__fields__.items():
        given: dict[str, Any] = {"init": item.init, "repr": item.repr, "compare": item.compare}
        if item.default is not _MISSING:
            given["default"] = item.default
        if item.factory is not _MISSING:
            given["default_factory"] = item.factory
        inside[name] = dataclasses.field(**given)
    twin: Any = dataclasses.dataclass(type(made.__name__, (), inside))
    made.__dataclass_fields__ = twin.__dataclass_fields__
    return made.__dataclass_fields__


def _signature(made: Any) -> object:
    from inspect import signature

    whole = signature(_compile(made))
    return whole.replace(parameters=list(whole.parameters.values())[1:])


_FIELDS, _SIGNATURE = _Late(_dataclass_fields), _Late(_signature)
