"""All that one backup works with: the index, the dedup cache, the run and its writer."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from kluis._native.cut import Cutter
from kluis.errors import FormatError, UsageError
from kluis.events import Cancel
from kluis.format import names
from kluis.format.keyring import ChunkSizes
from kluis.format.ledger import PackName
from kluis.format.usemap import FrameSet
from kluis.operations.archiving.files import Cuts, FixedCutter
from kluis.operations.archiving.wear import without
from kluis.options import FIXED_CHUNK_BYTES, BackupOptions, Chunker
from kluis.repository.access import Repository, read_private
from kluis.repository.content import ChunkKeys, chunk_keys
from kluis.repository.create import complete_store
from kluis.repository.dedup import DedupCache, open_dedup, usable_frames
from kluis.repository.durable import reliable
from kluis.repository.index import Index, load_index
from kluis.repository.refill import refill
from kluis.repository.run import Run, begin
from kluis.repository.uploader import Nowhere, Target, Uploader
from kluis.repository.writer import RunWriter
from kluis.storage.alive import AliveMark

POOL_THREADS = 2


@dataclass
class BackupSession:
    """Opened for one run; `close` gives everything back."""

    repository: Repository
    index: Index
    dedup: DedupCache
    usable: dict[bytes, bytes]
    client: bytes
    run: Run
    keys: ChunkKeys
    pool: ThreadPoolExecutor
    writing: ThreadPoolExecutor
    writer: RunWriter
    uploader: Uploader
    alive: AliveMark
    begun_at: int  # the ledger's head in the run's certificate

    def cutter(self, chunker: Chunker) -> Cuts:
        """The chunker of a preset, with the domain's secret table."""
        if chunker.name == "fixed":
            if chunker.fixed_bytes not in FIXED_CHUNK_BYTES:
                least, most = FIXED_CHUNK_BYTES[0], FIXED_CHUNK_BYTES[-1]
                raise UsageError(
                    f"chunks of a fixed size have {least} to {most} bytes, "
                    f"not {chunker.fixed_bytes}; nothing was backed up"
                )
            return FixedCutter(chunker.fixed_bytes)
        sizes = chunk_sizes(self.repository, chunker.name)
        return Cutter(self.keys.cut_table, sizes.minimum, sizes.average, sizes.maximum)

    def leave(self, worn: FrameSet) -> dict[bytes, bytes]:
        """The frames that this run reuses: all that it may, but those."""
        if not worn:
            return self.usable
        left = without(self.usable, worn)
        self.dedup.allow(left)
        return left

    def close(self) -> None:
        """Ends the threads and the cache; what was not committed does not count."""
        self.pool.shutdown(wait=True, cancel_futures=True)
        self.writing.shutdown(wait=True, cancel_futures=True)
        self.dedup.close()
        self.alive.abandon()


def chunk_sizes(repository: Repository, name: str) -> ChunkSizes:
    """The cut constants of a preset, from the keyring."""
    private = read_private(repository)
    for preset, sizes in private.chunk_sizes:
        if preset == name:
            return sizes
    raise FormatError(f"the keyring does not know the chunker {name!r}")


def find_usable(repository: Repository, index: Index) -> dict[bytes, bytes]:
    """The frames that may be reused: packs are listed after the ledger was read.

    Those whose writer has not shown that they are durable are read and synced first.
    """
    listed: dict[PackName, int] = {}
    for name, size in repository.storage.list(names.PACKS):
        try:
            listed[PackName(*names.parse_pack(name))] = size
        except FormatError:
            continue
    good = reliable(repository, index, listed)
    return usable_frames(index, repository.ledger.state, good)


def open_session(repository: Repository, options: BackupOptions, cancel: Cancel) -> BackupSession:
    """Reads index and caches and begins a run; nothing is written to the repository yet.

    The run of a dry run writes nowhere, and the caches learn nothing from it.
    """
    if not options.dry_run:
        complete_store(repository.storage)
    index = load_index(repository.storage, repository.session, repository.ledger.state)
    usable = find_usable(repository, index)
    dedup = open_dedup(repository.cache)
    try:
        refill(repository, index, dedup, cancel)
        dedup.keeps_runs = not options.dry_run
        dedup.allow(usable)
        return _begin(repository, options, (index, usable, dedup))
    except BaseException:
        dedup.close()
        raise


def _begin(
    repository: Repository,
    options: BackupOptions,
    known: tuple[Index, dict[bytes, bytes], DedupCache],
) -> BackupSession:
    session, state = repository.session, repository.ledger.state
    machine, domain = repository.surroundings, session.home()
    index, usable, dedup = known
    client = repository.cache.client(machine)
    run = begin(session, repository.store.store, domain, state, machine)
    keys = chunk_keys(domain.dedup())
    pool = ThreadPoolExecutor(POOL_THREADS, thread_name_prefix="kluis")
    writing = ThreadPoolExecutor(1, thread_name_prefix="kluis-write")
    target: Target = Nowhere() if options.dry_run else repository.storage
    uploader = Uploader(target, run, client, machine, writing)
    if not options.dry_run:
        uploader.durable = lambda listed: dedup.learn(run.id, listed)
    level = options.compression.level
    writer = RunWriter(run, keys, dedup, uploader, pool, machine, level, options.compression.probe)
    if options.chunker.name == "fixed":
        writer.largest_chunk = options.chunker.fixed_bytes
    elif options.chunker.name != "default":
        writer.largest_chunk = chunk_sizes(repository, options.chunker.name).maximum
    return BackupSession(
        repository,
        index,
        dedup,
        usable,
        client,
        run,
        keys,
        pool,
        writing,
        writer,
        uploader,
        repository.cache.begin_run(run.id),
        state.head,
    )


def host_name() -> str:
    """This machine's name."""
    return socket.gethostname()
