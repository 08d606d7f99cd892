"""A snapshot, signed by its run: certificate | facts under K_meta | root sealed to the domain.

It counts once the ledger says `made` (in another store: `copied`).
"""

from __future__ import annotations

from collections.abc import Iterable

from kluis.errors import FormatError
from kluis.format import envelope
from kluis.format.certificate import CERTIFICATE_BYTES
from kluis.format.codec import (
    Reader,
    Writer,
    compress_small,
    expand_small,
    read_list,
    write_list,
)
from kluis.format.crypt import DIGEST_BYTES, RUN_BYTES, derive, keyed
from kluis.format.tree import Extent, extent_length, read_extent, write_extent
from kluis.format.usemap import FrameSet, read_frames, write_frames
from kluis.frozen import frozen

NO_RUN = bytes(RUN_BYTES)
NO_DIGEST = bytes(DIGEST_BYTES)
# 33 million ranges of frames.
FACTS_LIMIT_BYTES = 1 << 28
ROOT_LIMIT_BYTES = 1 << 25
# Of more problems than this the first are kept; `Counts.problems` tells how many there were.
PROBLEMS_LIMIT_BYTES = 1 << 23


@frozen
class Counts:
    """What a backup read and stored."""

    files: int = 0
    directories: int = 0
    others: int = 0
    bytes: int = 0
    files_new: int = 0
    files_changed: int = 0
    files_unmodified: int = 0
    bytes_read: int = 0
    bytes_new: int = 0
    bytes_stored: int = 0
    problems: int = 0


COUNT_FIELDS = tuple(Counts.__dataclass_fields__)


@frozen
class Previous:
    """The client's snapshot before this one, in the same store."""

    run: bytes
    k: int
    digest: bytes


@frozen
class Facts:
    """What a holder of K_meta may know of a snapshot."""

    store: bytes
    client: bytes
    previous: Previous | None
    keyring_epoch: int
    time_ns: int
    finished_ns: int
    host: str
    user: str
    tags: tuple[str, ...]
    data_set: str
    description: str
    program: str
    replaces: bytes | None  # run of the snapshot that `tag` or `rewrite` replaced
    counts: Counts
    segments: int
    last_segment: bytes | None
    incomplete: bool
    uses: FrameSet
    path_group: bytes = NO_RUN  # `path_group`: equal for equal paths, tells nothing else


@frozen
class Problem:
    """A source entry that could not be read, or not read in peace."""

    path: bytes
    operation: str
    reason: str


@frozen
class Root:
    """What only the domain's secret opens: what was backed up and where its tree begins."""

    paths: tuple[bytes, ...]
    tree: tuple[Extent, ...]
    tree_digest: bytes
    tree_bytes: int
    tree_listed: bool  # `tree` holds an extent list, not the tree itself
    problems: tuple[Problem, ...]


def encode_facts(facts: Facts) -> bytes:
    """The part to be sealed under K_meta."""
    writer = Writer()
    writer.raw(facts.store, RUN_BYTES)
    writer.raw(facts.client, RUN_BYTES)
    writer.u8(facts.previous is not None)
    previous = facts.previous or Previous(NO_RUN, 0, NO_DIGEST)
    writer.raw(previous.run, RUN_BYTES)
    writer.u32(previous.k)
    writer.raw(previous.digest, DIGEST_BYTES)
    writer.u32(facts.keyring_epoch)
    writer.i64(facts.time_ns)
    writer.i64(facts.finished_ns)
    writer.text(facts.host)
    writer.text(facts.user)
    write_list(writer, facts.tags, Writer.text)
    writer.text(facts.data_set)
    writer.text(facts.description)
    writer.text(facts.program)
    writer.u8(facts.replaces is not None)
    writer.raw(facts.replaces or NO_RUN, RUN_BYTES)
    for name in COUNT_FIELDS:
        writer.u64(getattr(facts.counts, name))
    writer.u32(facts.segments)
    writer.u8(facts.last_segment is not None)
    writer.raw(facts.last_segment or NO_DIGEST, DIGEST_BYTES)
    writer.u8(facts.incomplete)
    writer.raw(facts.path_group, RUN_BYTES)
    write_frames(writer, facts.uses)
    return compress_small(writer.bytes(), FACTS_LIMIT_BYTES)


def _optional(reader: Reader, size: int) -> bytes | None:
    known, value = reader.flag(), reader.raw(size)
    if not known and any(value):
        raise reader.fail("an absent value that is not zero")
    return value if known else None


def _read_previous(reader: Reader) -> Previous | None:
    known = reader.flag()
    previous = Previous(reader.raw(RUN_BYTES), reader.u32(), reader.raw(DIGEST_BYTES))
    if not known and (any(previous.run) or previous.k or any(previous.digest)):
        raise reader.fail("an absent value that is not zero")
    return previous if known else None


def decode_facts(data: bytes) -> Facts:
    """What `encode_facts` was given."""
    reader = Reader(expand_small(data, "snapshot", FACTS_LIMIT_BYTES), "snapshot")
    facts = Facts(
        store=reader.raw(RUN_BYTES),
        client=reader.raw(RUN_BYTES),
        previous=_read_previous(reader),
        keyring_epoch=reader.u32(),
        time_ns=reader.i64(),
        finished_ns=reader.i64(),
        host=reader.text(),
        user=reader.text(),
        tags=read_list(reader, 2, Reader.text),
        data_set=reader.text(),
        description=reader.text(),
        program=reader.text(),
        replaces=_optional(reader, RUN_BYTES),
        counts=Counts(*(reader.u64() for _ in COUNT_FIELDS)),
        segments=reader.u32(),
        last_segment=_optional(reader, DIGEST_BYTES),
        incomplete=reader.flag(),
        path_group=reader.raw(RUN_BYTES),
        uses=read_frames(reader),
    )
    reader.finish()
    return facts


def _write_problem(writer: Writer, problem: Problem) -> None:
    writer.blob(problem.path)
    writer.text(problem.operation)
    writer.text(problem.reason)


def encode_root(root: Root) -> bytes:
    """The part to be sealed with the run's key, which only the domain's secret opens."""
    writer = Writer()
    write_list(writer, root.paths, Writer.blob)
    write_list(writer, root.tree, write_extent)
    writer.raw(root.tree_digest, DIGEST_BYTES)
    writer.u64(root.tree_bytes)
    writer.u8(root.tree_listed)
    write_list(writer, root.problems, _write_problem)
    return compress_small(writer.bytes(), ROOT_LIMIT_BYTES)


def decode_root(data: bytes) -> Root:
    """What `encode_root` was given."""
    reader = Reader(expand_small(data, "snapshot root", ROOT_LIMIT_BYTES), "snapshot root")
    root = Root(
        paths=read_list(reader, 4, Reader.blob),
        tree=read_list(reader, 28, read_extent),
        tree_digest=reader.raw(DIGEST_BYTES),
        tree_bytes=reader.u64(),
        tree_listed=reader.flag(),
        problems=read_list(reader, 8, lambda r: Problem(r.blob(), r.text(), r.text())),
    )
    reader.finish()
    covered = sum(extent_length(extent) for extent in root.tree)
    if (root.tree_listed and not covered) or (not covered and any(root.tree_digest)):
        raise FormatError("not a valid snapshot root: its tree is nowhere")
    if not root.tree_listed and covered != root.tree_bytes:
        raise FormatError("not a valid snapshot root: the extents of its tree are not its size")
    return root


def problems_kept(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """As many of the first problems as a snapshot holds."""
    kept, left = [], PROBLEMS_LIMIT_BYTES
    for problem in problems:
        writer = Writer()
        _write_problem(writer, problem)
        left -= len(writer.bytes())
        if left < 0:
            break
        kept.append(problem)
    return tuple(kept)


def path_group(dedup: bytes, paths: tuple[bytes, ...]) -> bytes:
    """What snapshots of the same paths share, for those who may group but not read them.

    Keyed from K_dedup, so that a holder of K_meta alone cannot confirm a guess.
    """
    writer = Writer()
    write_list(writer, tuple(sorted(set(paths))), Writer.blob)
    return keyed(derive(dedup, "path groups"), writer.bytes())[:RUN_BYTES]


def facts_context(vault: bytes, run: bytes, k: int) -> bytes:
    """What the seal of the facts authenticates besides their bytes."""
    return b"kluis snapshot\0" + vault + run + k.to_bytes(4, "little")


def root_context(vault: bytes, run: bytes, k: int) -> bytes:
    """What the seal of the root authenticates besides its bytes."""
    return b"kluis root\0" + vault + run + k.to_bytes(4, "little")


def wrap(certificate: bytes, facts: bytes, root: bytes, signing: bytes) -> bytes:
    """The snapshot as stored, from its two sealed parts; `signing` is the run's."""
    writer = Writer()
    writer.raw(certificate, CERTIFICATE_BYTES)
    writer.blob(facts)
    writer.blob(root)
    return envelope.wrap(envelope.SNAPSHOT, writer.bytes(), signing)


def unwrap(data: bytes, what: str) -> tuple[bytes, bytes, bytes]:
    """(certificate, sealed facts, sealed root); the signature is checked by the caller."""
    reader = Reader(envelope.unwrap(envelope.SNAPSHOT, data, what), what)
    try:
        parts = reader.raw(CERTIFICATE_BYTES), reader.blob(), reader.blob()
        reader.finish()
    except FormatError:
        raise FormatError(f"{what} is damaged: its parts do not fill it") from None
    return parts
