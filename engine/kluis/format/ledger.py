"""A ledger record: numbered, chained, signed; what it says is sealed under K_vault.

A record holds one or more events, which count together or not at all.
"""

from __future__ import annotations

from kluis.errors import FormatError
from kluis.format import envelope
from kluis.format.codec import (
    Reader,
    Writer,
    compress_small,
    expand_small,
    read_list,
    write_list,
)
from kluis.format.crypt import (
    DIGEST_BYTES,
    KEY_BYTES,
    RUN_BYTES,
)
from kluis.format.ledger_events import (
    AGENT,
    AUDITOR,
    EVENT_TYPES,
    NO_DIGEST,
    NO_KEY,
    NO_SIGNATURE,
    OPERATOR,
    OWNER,
    RESTORER,
    ROLES,
    Checkpoint,
    Copied,
    Doomed,
    Ended,
    Event,
    Forgotten,
    ForgottenMark,
    Found,
    Held,
    Logged,
    Lost,
    Made,
    PackName,
    Released,
    Role,
    Roles,
    SegmentRange,
    SnapshotMark,
    Unforgotten,
    Verified,
)
from kluis.format.ledger_fields import (
    read_checkpoint,
    read_held,
    read_logged,
    read_mark,
    read_packs,
    read_roles,
    read_runs,
    read_verified,
    sign_roles,
    vouched,
    write_checkpoint,
    write_held,
    write_logged,
    write_mark,
    write_packs,
    write_roles,
    write_runs,
    write_verified,
)
from kluis.format.usemap import read_frames, write_frames
from kluis.frozen import frozen

__all__ = [
    "AGENT",
    "AUDITOR",
    "EVENT_TYPES",
    "NO_DIGEST",
    "NO_KEY",
    "NO_SIGNATURE",
    "OPERATOR",
    "OWNER",
    "RESTORER",
    "ROLES",
    "Checkpoint",
    "Copied",
    "Doomed",
    "Ended",
    "Event",
    "Forgotten",
    "ForgottenMark",
    "Found",
    "Held",
    "Logged",
    "Lost",
    "Made",
    "PackName",
    "Record",
    "Released",
    "Role",
    "Roles",
    "SegmentRange",
    "SnapshotMark",
    "Unforgotten",
    "Verified",
    "context",
    "decode",
    "decode_events",
    "encode",
    "encode_events",
    "sign_roles",
    "vouched",
]


@frozen
class Record:
    """The n-th record of a store's ledger, its events still sealed."""

    vault: bytes
    store: bytes
    n: int
    previous: bytes
    author: bytes
    time_ns: int
    sealed: bytes


def encode(record: Record, signing: bytes) -> bytes:
    """The record as stored."""
    writer = Writer()
    writer.raw(record.vault, DIGEST_BYTES)
    writer.raw(record.store, RUN_BYTES)
    writer.u64(record.n)
    writer.raw(record.previous, DIGEST_BYTES)
    writer.raw(record.author, KEY_BYTES)
    writer.i64(record.time_ns)
    writer.blob(record.sealed)
    return envelope.wrap(envelope.RECORD, writer.bytes(), signing)


def decode(data: bytes, what: str) -> Record:
    """The record, its author's signature checked (not whether he may sign)."""
    reader = Reader(envelope.unwrap(envelope.RECORD, data, what), what)
    record = Record(
        vault=reader.raw(DIGEST_BYTES),
        store=reader.raw(RUN_BYTES),
        n=reader.u64(),
        previous=reader.raw(DIGEST_BYTES),
        author=reader.raw(KEY_BYTES),
        time_ns=reader.i64(),
        sealed=reader.blob(),
    )
    reader.finish()
    envelope.check_signature(data, record.author, what)
    return record


def context(vault: bytes, store: bytes, n: int, previous: bytes) -> bytes:
    """What the seal of a record's events authenticates besides their bytes."""
    return b"kluis ledger\0" + vault + store + n.to_bytes(8, "little") + previous


def _write_event(writer: Writer, event: Event) -> None:
    writer.u8(EVENT_TYPES.index(type(event)) + 1)
    match event:
        case Roles():
            write_roles(writer, event)
        case Made(mark) | Copied(mark):
            if mark.copied != isinstance(event, Copied):
                raise ValueError("a snapshot is either made here or copied")
            write_mark(writer, mark)
        case Ended(runs) | Unforgotten(runs):
            write_runs(writer, runs)
        case Forgotten(runs, reason):
            write_runs(writer, runs)
            writer.text(reason)
        case Held():
            write_held(writer, event)
        case Released(run):
            writer.raw(run, RUN_BYTES)
        case Doomed(packs, runs):
            write_packs(writer, packs)
            write_runs(writer, runs)
        case Lost(frames) | Found(frames):
            write_frames(writer, frames)
        case Verified():
            write_verified(writer, event)
        case Logged():
            write_logged(writer, event)
        case Checkpoint():
            write_checkpoint(writer, event)


def _read_made(reader: Reader, kind: type[Made | Copied]) -> Event:
    mark = read_mark(reader)
    if mark.copied != (kind is Copied):
        raise reader.fail("a snapshot made here that was copied, or the other way about")
    if kind is Made and (mark.maker != NO_KEY or mark.counted):
        raise reader.fail("an absent value that is not zero")
    return kind(mark)


def _read_event(reader: Reader) -> Event:
    number = reader.u8()
    kind = EVENT_TYPES[number - 1] if 0 < number <= len(EVENT_TYPES) else None
    if kind is Roles:
        return read_roles(reader)
    if kind is Made or kind is Copied:
        return _read_made(reader, kind)
    if kind is Ended or kind is Unforgotten:
        return kind(read_runs(reader))
    if kind is Forgotten:
        return Forgotten(read_runs(reader), reader.text())
    if kind is Held:
        return read_held(reader)
    if kind is Released:
        return Released(reader.raw(RUN_BYTES))
    if kind is Doomed:
        return Doomed(read_packs(reader), read_runs(reader))
    if kind is Lost or kind is Found:
        return kind(read_frames(reader))
    if kind is Verified:
        return read_verified(reader)
    if kind is Logged:
        return read_logged(reader)
    if kind is Checkpoint:
        return read_checkpoint(reader)
    raise FormatError("not a valid ledger record: an event of an unknown kind")


def encode_events(events: tuple[Event, ...]) -> bytes:
    """The part of a record to be sealed under K_vault."""
    writer = Writer()
    if any(isinstance(event, Checkpoint) for event in events[1:]):
        raise ValueError("a checkpoint begins its record")
    write_list(writer, events, _write_event)
    return compress_small(writer.bytes())


def decode_events(data: bytes) -> tuple[Event, ...]:
    """What `encode_events` was given; at least one event."""
    reader = Reader(expand_small(data, "ledger record"), "ledger record")
    events = read_list(reader, 1, _read_event)
    reader.finish()
    if not events:
        raise FormatError("not a valid ledger record: it says nothing")
    if any(isinstance(event, Checkpoint) for event in events[1:]):
        raise FormatError("not a valid ledger record: its checkpoint is not the first event")
    return events
