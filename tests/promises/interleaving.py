"""Several clients at once on one storage, one call at a time, in an order that a seed decides."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
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


class Turns:
    """Lets one client go on at a time; each storage call is a place where another may be next.

    `script`: who is to be next at the first calls; then chance decides. `order` is what came.
    """

    def __init__(self, chance: random.Random, script: Sequence[int] = ()) -> None:
        self.chance = chance
        self.order: list[int] = []
        self._script = list(script)
        self._gates: list[threading.Semaphore] = []
        self._living: list[int] = []

    def begin(self, clients: int) -> None:
        """So many will take turns; each waits at its gate before it does anything."""
        self._gates = [threading.Semaphore(0) for _ in range(clients)]
        self._living = list(range(clients))

    def start(self) -> None:
        """Opens the first gate."""
        self._gates[self._pick()].release()

    def wait(self, client: int) -> None:
        """Returns when it is this client's turn."""
        if not self._gates[client].acquire(timeout=WAIT_SECONDS):
            raise AssertionError(f"nobody gives client {client} a turn: {self.order[-20:]}")

    def give(self, client: int) -> None:
        """The client whose turn it is gives it to the next, perhaps to itself."""
        following = self._pick()
        if following != client:
            self._gates[following].release()
            self.wait(client)

    def end(self, client: int) -> None:
        """The client whose turn it is does nothing more."""
        self._living.remove(client)
        if self._living:
            self._gates[self._pick()].release()

    def _pick(self) -> int:
        wanted = self._script.pop(0) if self._script else self.chance.choice(self._living)
        chosen = wanted if wanted in self._living else self._living[0]
        self.order.append(chosen)
        return chosen


def interleaved(storage: Storage, acts: list[Act], turns: Turns) -> list[BaseException | None]:
    """Runs each act in a thread on the one storage; returns what each of them raised."""
    outcome: list[BaseException | None] = [None] * len(acts)
    turns.begin(len(acts))

    def run(client: int, act: Act) -> None:
        turns.wait(client)
        own = threading.current_thread()

        def before(_: Request) -> None:
            if threading.current_thread() is own:  # what it fetches ahead goes along with it
                turns.give(client)

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
    turns.start()
    for thread in threads:
        thread.join(WAIT_SECONDS * 2)
        assert not thread.is_alive(), f"it hangs: {turns.order[-20:]}"
    return outcome
