"""Dataclasses that nobody changes, made in a quarter of the time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """A dataclass with slots, compared and hashed by its fields; the type checker keeps it frozen.

    `dataclass(frozen=True)` compiles seven functions a class, 0.7 ms of each start of a command
    that has 180 of them, and fields are set through a call each. This one compiles `__init__`.
    """
    made = dataclass(slots=True, eq=False, repr=False)(cls)
    known: Any = made  # to the type checker no dataclass
    names = [item.name for item in fields(known) if item.compare]
    compared: Callable[[object], object] = attrgetter(*names) if names else bool
    shown = [item.name for item in fields(known) if item.repr]

    def equal(self: object, other: object) -> bool:
        return compared(self) == compared(other) if other.__class__ is made else NotImplemented

    def hashed(self: object) -> int:
        return hash(compared(self))

    def text(self: object) -> str:
        inner = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
        return f"{made.__qualname__}({inner})"

    for name, method in (("__eq__", equal), ("__hash__", hashed), ("__repr__", text)):
        if name not in cls.__dict__:
            setattr(made, name, method)
    return made
