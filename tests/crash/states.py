"""What a power cut may leave of a folder, worked out from the trace of what was asked of it.

Three models of a medium, each a set of states that it may be in afterwards:

posix   Nothing but fsync binds. Bytes not synced are there, missing, zero or torn in sectors;
        each entry of a folder not synced is the old one, the new one or any in between,
        whatever the others are; so a rename may have happened by halves.
fat     As posix, and the entry of a name carries length and place: until the file is synced
        after it got a name, the entry may say "empty". After a rename both names may lead
        to one chain of clusters; what was deleted may be there with its clusters gone or
        in other hands.
ext4    Changes of names happen in their order, and any fsync makes all before it durable.
        Bytes not synced are there up to some block.

Files are only ever written at their end, which is all that a storage does.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from kluis.storage.traced import Step

Model: TypeAlias = Literal["posix", "fat", "ext4"]
MODELS: tuple[Model, ...] = ("posix", "fat", "ext4")

SECTOR_BYTES = 512
BLOCK_BYTES = 4096

# Ways in which unsynced bytes survive: five named ones, the others by a seed of that number.
NAMED_TEARS = 5
TEARS = 64


@dataclass(frozen=True)
class State:
    """What is there after a power cut before step `cut`."""

    files: dict[str, bytes]
    marks: tuple[str, ...]  # that the trace had passed by then
    model: Model
    cut: int
    shared: tuple[tuple[str, str], ...] = ()  # names that lead to one chain of clusters


@dataclass(eq=False)
class _Node:
    """A file, whatever its names, or a folder."""

    born: int
    folder: bool = False
    data: bytearray = field(default_factory=bytearray)
    synced: int = -1  # bytes that are durable; -1 before the first fsync
    freed: int = -1  # the step that took its last name

    @property
    def whole(self) -> bool:
        return self.synced == len(self.data)


@dataclass(eq=False)
class _Entry:
    """What a name led to from a step on; None is nothing."""

    node: _Node | None
    step: int
    filled: bool = False  # the file was synced since


class Chooser(Protocol):
    """Decides what the medium leaves open."""

    tears: int

    def pick(self, count: int) -> int:
        """One of 0 to count - 1; 0 is what was longest ago."""


class Drawn:
    """Chooses by a seed; now and then all the oldest, or all the newest."""

    tears = TEARS

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._mood = self._chance.choice(("oldest", "newest", "any", "any", "any", "any"))

    def pick(self, count: int) -> int:
        if self._mood == "oldest":
            return 0
        return count - 1 if self._mood == "newest" else self._chance.randrange(count)


class Enumerated:
    """Chooses every combination in turn: `more` goes on to the next."""

    tears = NAMED_TEARS

    def __init__(self) -> None:
        self._choices: list[tuple[int, int]] = []
        self._at = 0

    def pick(self, count: int) -> int:
        if self._at == len(self._choices):
            self._choices.append((0, count))
        self._at += 1
        return self._choices[self._at - 1][0]

    def more(self) -> bool:
        self._at = 0
        while self._choices:
            chosen, count = self._choices.pop()
            if chosen + 1 < count:
                self._choices.append((chosen + 1, count))
                return True
        return False


class World:
    """The medium as the steps so far have made it, with what is not yet durable."""

    def __init__(self, before: Mapping[str, bytes]) -> None:
        self.marks: list[str] = []
        self.step = 0
        self._synced = 0  # the step up to which ext4 has made names durable
        self._names: dict[str, list[_Entry]] = {}
        self._nodes: list[_Node] = []
        for path, data in before.items():
            node = _Node(0, data=bytearray(data), synced=len(data))
            self._names[path] = [_Entry(node, 0, filled=True)]

    def take(self, step: Step) -> None:
        """Goes one step on."""
        self.step += 1
        if step.kind == "mark":
            self.marks.append(step.path)
        elif step.kind in ("create", "mkdir"):
            node = _Node(self.step, folder=step.kind == "mkdir")
            self._nodes.append(node)
            self._name(step.path, node)
        elif step.kind == "write":
            self._now(step.path).data += step.data
        elif step.kind == "fsync":
            self._fsync(self._now(step.path))
        elif step.kind == "fsync-folder":
            self._fsync_folder(step.path)
        elif step.kind == "unlink":
            self._name(step.path, None)
        elif step.kind == "link":
            self._name(step.other, self._now(step.path))
        elif step.kind == "rename":
            node = self._now(step.path)
            self._name(step.other, node)
            self._name(step.path, None)
        else:
            one, two = self._now(step.path), self._now(step.other)
            self._name(step.path, two)
            self._name(step.other, one)

    def cut(self, model: Model, chooser: Chooser) -> State:
        """What the power cut leaves here, as the chooser decides."""
        upto = self._synced + chooser.pick(self.step - self._synced + 1) if model == "ext4" else 0
        chosen: dict[str, _Entry] = {}
        for path in sorted(self._names):
            history = self._names[path]
            if model == "ext4":
                entry = [entry for entry in history if entry.step <= upto][-1]
            else:
                entry = history[chooser.pick(len(history))]
            if entry.node is not None:
                chosen[path] = entry
        return self._state(model, chooser, chosen)

    def _state(self, model: Model, chooser: Chooser, chosen: Mapping[str, _Entry]) -> State:
        contents: dict[_Node, bytes] = {}
        files: dict[str, bytes] = {}
        first: dict[_Node, str] = {}
        shared: list[tuple[str, str]] = []
        for path, entry in chosen.items():
            node = entry.node
            if node is None or node.folder or not self._reachable(path, chosen):
                continue
            if node not in contents:
                contents[node] = self._content(model, chooser, node)
            files[path] = contents[node]
            if model == "fat":
                if not entry.filled and chooser.pick(2) == 0:
                    files[path] = b""
                elif node in first:
                    shared.append((first[node], path))
                first.setdefault(node, path)
        return State(files, tuple(self.marks), model, self.step, tuple(shared))

    def _reachable(self, path: str, chosen: Mapping[str, _Entry]) -> bool:
        """Whether each folder above is there; one that no step made was there before."""
        above = path.rpartition("/")[0]
        while above:
            if above in self._names and above not in chosen:
                return False
            above = above.rpartition("/")[0]
        return True

    def _content(self, model: Model, chooser: Chooser, node: _Node) -> bytes:
        data, durable = bytes(node.data), max(node.synced, 0)
        if model == "fat" and node.freed >= 0:
            return self._freed_content(chooser, node)
        if node.whole:
            return data
        if model == "ext4":
            blocks = -(-(len(data) - durable) // BLOCK_BYTES)
            return data[: durable + chooser.pick(blocks + 1) * BLOCK_BYTES]
        return data[:durable] + _torn(data[durable:], chooser.pick(chooser.tears))

    def _freed_content(self, chooser: Chooser, node: _Node) -> bytes:
        """What a deleted file holds whose entry came back: its clusters may be others' now."""
        data = bytes(node.data)
        later = [other for other in self._nodes if other.born > node.freed and other.data]
        way = chooser.pick(3 + bool(later))
        if way == 3:
            taker = bytes(later[chooser.pick(len(later))].data)
            return (taker + bytes(len(data)))[: len(data)]
        return (b"", data[: len(data) // 2], data)[way]

    def _now(self, path: str) -> _Node:
        node = self._names[path][-1].node
        assert node is not None, f"the trace uses {path}, which it has removed"
        return node

    def _name(self, path: str, node: _Node | None) -> None:
        history = self._names.setdefault(path, [_Entry(None, 0)])
        old = history[-1].node
        history.append(_Entry(node, self.step))
        if old is not None and not any(entries[-1].node is old for entries in self._names.values()):
            old.freed = self.step
        if node is not None:
            node.freed = -1

    def _fsync(self, node: _Node) -> None:
        node.synced = len(node.data)
        self._synced = self.step
        for entries in self._names.values():
            if entries[-1].node is node:
                entries[-1].filled = True

    def _fsync_folder(self, folder: str) -> None:
        self._synced = self.step
        for path, entries in self._names.items():
            if path.rpartition("/")[0] == folder:
                del entries[:-1]


def _torn(data: bytes, way: int) -> bytes:
    """Unsynced bytes: nothing, zeros, the second half only, the first half only, all, or sectors
    of either, cut somewhere, by a seed.
    """
    half = len(data) // 2 // SECTOR_BYTES * SECTOR_BYTES
    if way < NAMED_TEARS:
        zeros = bytes(len(data))
        return (b"", zeros, zeros[:half] + data[half:], data[:half], data)[way]
    chance = random.Random(way)
    torn = bytearray(data)
    for start in range(0, len(torn), SECTOR_BYTES):
        if chance.random() < 0.5:
            torn[start : start + SECTOR_BYTES] = bytes(len(torn[start : start + SECTOR_BYTES]))
    return bytes(torn[: chance.randrange(len(torn) + 1)])


def sampled(
    steps: Sequence[Step], before: Mapping[str, bytes], model: Model, seed: int, count: int
) -> Iterator[State]:
    """`count` states at cuts anywhere in the trace; the same for the same seed.

    `before` is what was there, durable, when the trace began.
    """
    chance = random.Random(seed)
    cuts = sorted(chance.randrange(len(steps) + 1) for _ in range(count))
    world = World(before)
    for cut in cuts:
        while world.step < cut:
            world.take(steps[world.step])
        yield world.cut(model, Drawn(chance.getrandbits(64)))


def enumerated(
    steps: Sequence[Step], before: Mapping[str, bytes], model: Model, limit: int = 20_000
) -> Iterator[State]:
    """Every state at every cut, but for the finer ways to tear; for short traces.

    AssertionError where one cut has more than `limit` states.
    """
    world = World(before)
    for cut in range(len(steps) + 1):
        if cut:
            world.take(steps[cut - 1])
        chooser = Enumerated()
        for _ in range(limit):
            yield world.cut(model, chooser)
            if not chooser.more():
                break
        else:
            raise AssertionError(f"more than {limit} states before step {cut}")


def snapshot(folder: Path) -> dict[str, bytes]:
    """All files below a folder, as `before` wants them."""
    return {
        os.path.relpath(path, folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def lay_out(files: Mapping[str, bytes] | Iterable[tuple[str, bytes]], folder: Path) -> None:
    """Makes a folder that holds exactly these files."""
    folder.mkdir(parents=True)
    for path, data in dict(files).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
