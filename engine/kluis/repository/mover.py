"""Used frames carried, as ciphertext, out of packs that are to go. Needs no key that reads.

Each frame is compared with its signed entry before it is copied: moving must not launder damage.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from kluis.errors import DamageError, FormatError, NoSpaceError, NotFoundError
from kluis.events import Cancel
from kluis.format import crypt, names, pack
from kluis.format.ledger import PackName
from kluis.repository.access import Repository
from kluis.repository.collector import SetPlan
from kluis.repository.durable import note_durable, read_durable
from kluis.repository.index import Index
from kluis.repository.packer import PackBuilder, SealedFrame
from kluis.repository.packs import check_name, open_pack
from kluis.repository.rebuild import rebuild_pack
from kluis.repository.run import Run, begin
from kluis.repository.uploader import Uploader
from kluis.repository.writer import new_pack
from kluis.storage.alive import AliveMark


@dataclass
class Movers:
    """Runs that carry frames, one a domain, each marked in the cache while it is open.

    They end with the record that makes them count; one that was not recorded is left open,
    and the next prune of this client ends it.
    """

    repository: Repository
    pool: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="kluis")
    )
    writers: dict[bytes, tuple[Run, Uploader]] = field(default_factory=dict)
    builders: dict[bytes, PackBuilder] = field(default_factory=dict)
    marks: list[AliveMark] = field(default_factory=list)
    pack_bytes: int = pack.PACK_TARGET_BYTES
    left: list[SetPlan] = field(default_factory=list)  # sets that could not be carried whole

    def runs(self) -> list[bytes]:
        """Names of the runs that were begun."""
        return [run.id for run, _ in self.writers.values()]

    def writer(self, domain: bytes) -> tuple[Run, Uploader]:
        """The run that writes to a domain, begun when it is first needed."""
        if domain not in self.writers:
            repository = self.repository
            machine = repository.surroundings
            run = begin(
                repository.session,
                repository.store.store,
                repository.session.domain(domain),
                repository.ledger.state,
                machine,
            )
            self.marks.append(repository.cache.begin_run(run.id))
            client = repository.cache.client(machine)
            uploader = Uploader(repository.storage, run, client, machine, self.pool)
            self.writers[domain] = run, uploader
        return self.writers[domain]

    def add(self, domain: bytes, sealed: SealedFrame, certificate: bytes) -> None:
        """Takes one frame, sealed long ago; full packs are stored."""
        run, uploader = self.writer(domain)
        if domain not in self.builders:
            self.builders[domain] = new_pack(run)
        builder = self.builders[domain]
        if builder.size and builder.size + sealed.size() > self.pack_bytes:
            uploader.store(builder.finish(run.shelf(), self.repository.surroundings))
            builder = self.builders[domain] = new_pack(run)
        builder.add(sealed, certificate)

    def flush(self) -> None:
        """All that was added durable and listed."""
        for domain, builder in self.builders.items():
            run, uploader = self.writers[domain]
            uploader.store(builder.finish(run.shelf(), self.repository.surroundings))
        self.builders.clear()
        for _, uploader in self.writers.values():
            uploader.close_set()

    def ended(self) -> None:
        """The ledger knows that these runs have ended; what they stored passed its barrier."""
        segments = (
            (run.id, k) for run, _ in self.writers.values() for k in range(run.next_segment)
        )
        note_durable(self.repository, {*read_durable(self.repository), *segments})
        for mark in self.marks:
            mark.close()

    def withdraw(self) -> None:
        """Removes what no segment lists yet, and so nobody relies on: on a full medium it hurts."""
        storage = self.repository.storage
        for run, uploader in self.writers.values():
            if storage.exists(names.numbered(names.INDEX, run.id, run.next_segment)):
                continue
            for pack_name in uploader.unlisted():
                storage.delete(names.pack(pack_name.shelf, pack_name.digest))
            storage.delete(names.numbered(names.PARITY, run.id, run.next_segment))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.pool.shutdown(wait=True, cancel_futures=True)
        for mark in self.marks:
            mark.abandon()


def move(repository: Repository, index: Index, sets: list[SetPlan], cancel: Cancel) -> Movers:
    """Stores every used frame of these sets in new packs, durable and listed on return.

    A set that cannot be read whole is taken out of `sets` and told in `left`.
    """
    movers = Movers(repository)
    movers.pack_bytes = pack.target_bytes(sum(plan.used_bytes for plan in sets))
    try:
        for plan in list(sets):
            wanted: dict[PackName, set[tuple[bytes, int]]] = {}
            for name, owner, n in plan.used:
                wanted.setdefault(name, set()).add((owner, n))
            try:
                for name, frames in wanted.items():
                    cancel.check()
                    data = read_whole(repository, index, name)
                    carry(movers, names.pack(name.shelf, name.digest), data, frames)
            except (DamageError, NotFoundError):
                # What cannot be read stays where it is, for repair; copies already made do no harm.
                sets.remove(plan)
                movers.left.append(plan)
        movers.flush()
    except BaseException as error:
        movers.__exit__(None, None, None)
        if isinstance(error, NoSpaceError):
            movers.withdraw()
        raise
    return movers


def carry(movers: Movers, name: str, data: bytes, frames: set[tuple[bytes, int]] | None) -> None:
    """Adds the wanted frames (None: all) of a whole pack, each compared with its signed entry."""
    repository = movers.repository
    opened = open_pack(name, data, repository.session, repository.ledger.state)
    if frames is not None and not frames <= opened.places.keys():
        raise DamageError(f"{name} does not hold all the frames that its segment lists")
    for place, entry in enumerate(opened.entries):
        if frames is not None and (entry.run, entry.n) not in frames:
            continue
        start, list_start = opened.offsets[place], opened.list_offsets[place]
        stored = data[start : start + entry.stored_bytes]
        if crypt.digest(stored) != entry.digest:
            raise DamageError(f"{name} holds a frame that is not the signed one")
        sealed = SealedFrame(entry, stored, data[list_start : list_start + entry.list_bytes])
        movers.add(opened.head.domain, sealed, opened.certificates[entry.run][0])


def read_whole(repository: Repository, index: Index, pack_name: PackName) -> bytes:
    """A pack's bytes, compared with its name; rebuilt from parity in memory if need be."""
    name = names.pack(pack_name.shelf, pack_name.digest)
    try:
        data = repository.storage.get(name, pack.PACK_LIMIT_BYTES)
        check_name(name, data)
        return data
    except (DamageError, FormatError, NotFoundError):
        return rebuild_pack(repository.storage, index.set_of_pack.get(pack_name), pack_name)
