"""Several clients at once on one storage, one call at a time, in an order that a seed decides."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import TypeVar

from kluis.storage.base import Storage
from kluis.storage.traced import Request, TracedStorage

WAIT_SECONDS = 60.0

Act = Callable[[Storage], None]
T = TypeVar("T")


class AtOnce(Executor):
    """Runs what it is given before it returns: a client is one thread, and its order is fixed."""

    def __init__(self, *_: object, **__: object) -> None:
        """Takes what a pool of threads takes."""

    def submit(self, call: Callable[..., T], /, *given: object, **named: object) -> Future[T]:
        done: Future[T] = Future()
        try:
            done.set_result(call(*given, **named))
        except Exception as error:  # noqa: BLE001 - whoever asks for the result gets it
            done.set_exception(error)
        return done


@dataclass
class Turns:
    """Lets one thread go on at a time; each storage call is a place where another may be next."""

    chance: random.Random
    order: list[int] = field(default_factory=list)
    script: list[int] = field(default_factory=list)  # what the first turns are to be
    _lock: threading.Condition = field(default_factory=threading.Condition)
    _living: set[int] = field(default_factory=set)
    _turn: int | None = None

    def wait_for(self, client: int) -> None:
        """Returns when it is this client's turn."""
        with self._lock:
            if self._turn == client or self._turn is None:
                self._next()
            if not self._lock.wait_for(lambda: self._turn == client, WAIT_SECONDS):
                raise AssertionError(f"nobody gives client {client} a turn: {self.order[-20:]}")

    def begin(self, clients: int) -> None:
        """These will take turns; the first who waits for one starts."""
        self._living = set(range(clients))

    def end(self, client: int) -> None:
        """This client does nothing more."""
        with self._lock:
            self._living.discard(client)
            if self._turn == client:
                self._next()

    def _next(self) -> None:
        """Gives the turn to a client that lives, by the script and then by chance.

        One that has not come to its next call yet will find that it is its turn.
        """
        choice = sorted(self._living)
        if not choice:
            self._turn = None
        elif self.script:
            wanted = self.script.pop(0)
            self._turn = wanted if wanted in choice else choice[0]
        else:
            self._turn = self.chance.choice(choice)
        if self._turn is not None:
            self.order.append(self._turn)
        self._lock.notify_all()


def interleaved(storage: Storage, acts: list[Act], turns: Turns) -> list[BaseException | None]:
    """Runs each act in a thread on the one storage; returns what each of them raised."""
    outcome: list[BaseException | None] = [None] * len(acts)
    turns.begin(len(acts))

    def run(client: int, act: Act) -> None:
        def before(request: Request) -> None:
            if request.method not in ("trust_folders", "make_folders"):
                turns.wait_for(client)

        try:
            act(TracedStorage(storage, before))
        except BaseException as error:  # noqa: BLE001 - the test judges it
            outcome[client] = error
        finally:
            turns.end(client)

    threads = [
        threading.Thread(target=run, args=(client, act), daemon=True)
        for client, act in enumerate(acts)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_SECONDS * 2)
        assert not thread.is_alive(), f"it hangs: {turns.order[-20:]}"
    return outcome
