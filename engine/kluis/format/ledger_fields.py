"""How the parts of ledger events are written: roles, marks, lists of packs, checkpoints."""

from __future__ import annotations

from dataclasses import replace

from kluis.format.codec import Reader, Writer, in_order, read_list, sorted_strictly, write_list
from kluis.format.crypt import (
    DIGEST_BYTES,
    KEY_BYTES,
    RUN_BYTES,
    SIGNATURE_BYTES,
    sign,
    signed_by,
)
from kluis.format.ledger_events import (
    NO_DIGEST,
    ROLES,
    Checkpoint,
    ForgottenMark,
    Held,
    Logged,
    PackName,
    Role,
    Roles,
    SegmentRange,
    SnapshotMark,
    Verified,
)
from kluis.format.names import is_shelf
from kluis.format.usemap import read_frames, write_frames

ROLES_CONTEXT = b"kluis roles"
# The least that these take.
ROLE_BYTES = 79
MARK_BYTES = 167
VERIFY_LEVELS = range(3)


def write_runs(writer: Writer, runs: tuple[bytes, ...]) -> None:
    """Ids of runs, snapshots or domains, as a set."""
    write_list(writer, in_order(runs, lambda run: run), lambda w, run: w.raw(run, RUN_BYTES))


def read_runs(reader: Reader) -> tuple[bytes, ...]:
    """What `write_runs` wrote: in order, none twice."""
    runs = read_list(reader, RUN_BYTES, lambda r: r.raw(RUN_BYTES))
    if not sorted_strictly(runs, lambda run: run):
        raise reader.fail("a list of runs out of order")
    return runs


def write_role(writer: Writer, role: Role) -> None:
    """One key."""
    writer.u8(role.role)
    writer.text(role.name)
    writer.raw(role.verify_key, KEY_BYTES)
    writer.raw(role.box_key, KEY_BYTES)
    write_runs(writer, role.domains)
    writer.u64(role.until)


def read_role(reader: Reader) -> Role:
    """What `write_role` wrote."""
    number = reader.u8()
    if number not in ROLES:
        raise reader.fail("a role that does not exist")
    return Role(
        role=number,
        name=reader.text(),
        verify_key=reader.raw(KEY_BYTES),
        box_key=reader.raw(KEY_BYTES),
        domains=read_runs(reader),
        until=reader.u64(),
    )


def write_roles(writer: Writer, roles: Roles) -> None:
    """The block of roles with its signature."""
    body = roles_body(roles)
    writer.raw(body, len(body))
    writer.raw(roles.signature, SIGNATURE_BYTES)


def roles_body(roles: Roles) -> bytes:
    """What the owner signs, after the id of his vault."""
    writer = Writer()
    writer.u64(roles.sequence)
    write_list(writer, in_order(roles.roles, lambda role: role.verify_key), write_role)
    return writer.bytes()


def read_roles(reader: Reader) -> Roles:
    """What `write_roles` wrote; the signature is not checked."""
    sequence, listed = reader.u64(), read_list(reader, ROLE_BYTES, read_role)
    if not sorted_strictly(listed, lambda role: role.verify_key):
        raise reader.fail("its keys are out of order")
    return Roles(listed, sequence, reader.raw(SIGNATURE_BYTES))


def sign_roles(roles: Roles, vault: bytes, signing: bytes) -> Roles:
    """The roles with the owner's signature, so that others may repeat them."""
    return replace(roles, signature=sign(signing, ROLES_CONTEXT, vault + roles_body(roles)))


def vouched(roles: Roles, vault: bytes, owner_verify: bytes) -> bool:
    """True if the owner signed just these roles: whoever repeats them."""
    return signed_by(owner_verify, ROLES_CONTEXT, vault + roles_body(roles), roles.signature)


def write_mark(writer: Writer, mark: SnapshotMark) -> None:
    """One snapshot."""
    writer.raw(mark.run, RUN_BYTES)
    writer.u32(mark.k)
    writer.raw(mark.digest, DIGEST_BYTES)
    writer.u8(mark.last_segment is not None)
    writer.raw(mark.last_segment or NO_DIGEST, DIGEST_BYTES)
    writer.raw(mark.client, RUN_BYTES)
    writer.i64(mark.time_ns)
    writer.u8(mark.replaces is not None)
    writer.raw(mark.replaces or bytes(RUN_BYTES), RUN_BYTES)
    writer.raw(mark.maker, KEY_BYTES)
    writer.u64(mark.counted)
    writer.u8(mark.copied)


def optional(reader: Reader, size: int) -> bytes | None:
    """A value that may be absent: a flag, then the value or zeros."""
    known, value = reader.flag(), reader.raw(size)
    if not known and any(value):
        raise reader.fail("an absent value that is not zero")
    return value if known else None


def read_mark(reader: Reader) -> SnapshotMark:
    """What `write_mark` wrote."""
    return SnapshotMark(
        run=reader.raw(RUN_BYTES),
        k=reader.u32(),
        digest=reader.raw(DIGEST_BYTES),
        last_segment=optional(reader, DIGEST_BYTES),
        client=reader.raw(RUN_BYTES),
        time_ns=reader.i64(),
        replaces=optional(reader, RUN_BYTES),
        maker=reader.raw(KEY_BYTES),
        counted=reader.u64(),
        copied=reader.flag(),
    )


def write_packs(writer: Writer, packs: tuple[PackName, ...]) -> None:
    """Names of packs, as a set."""
    writer.u32(len(packs))
    for pack in in_order(packs, lambda item: (item.shelf, item.digest)):
        writer.raw(pack.shelf.encode("ascii"), 1)
        writer.raw(pack.digest, DIGEST_BYTES)


def read_packs(reader: Reader) -> tuple[PackName, ...]:
    """What `write_packs` wrote."""
    packs = []
    for _ in range(reader.count(33)):
        shelf = reader.raw(1).decode("latin-1")
        if not is_shelf(shelf):
            raise reader.fail("a pack on a shelf that does not exist")
        packs.append(PackName(shelf, reader.raw(DIGEST_BYTES)))
    if not sorted_strictly(tuple(packs), lambda pack: (pack.shelf, pack.digest)):
        raise reader.fail("a list of packs out of order")
    return tuple(packs)


def write_held(writer: Writer, held: Held) -> None:
    """One hold."""
    writer.raw(held.snapshot, RUN_BYTES)
    writer.text(held.reason)


def read_held(reader: Reader) -> Held:
    """What `write_held` wrote."""
    return Held(reader.raw(RUN_BYTES), reader.text())


def write_verified(writer: Writer, verified: Verified) -> None:
    """Read dates of segments."""
    writer.u8(verified.level)
    writer.i64(verified.time_ns)
    writer.u32(len(verified.segments))
    for segments in in_order(verified.segments, lambda item: (item.run, item.first_k)):
        writer.raw(segments.run, RUN_BYTES)
        writer.u32(segments.first_k)
        writer.u32(segments.last_k)


def read_segment_range(reader: Reader) -> SegmentRange:
    """First and last segment of one run."""
    segments = SegmentRange(reader.raw(RUN_BYTES), reader.u32(), reader.u32())
    if segments.last_k < segments.first_k:
        raise reader.fail("a range of segments that ends before it begins")
    return segments


def read_verified(reader: Reader) -> Verified:
    """What `write_verified` wrote."""
    verified = Verified(
        reader.u8(), reader.i64(), read_list(reader, RUN_BYTES + 8, read_segment_range)
    )
    if verified.level not in VERIFY_LEVELS:
        raise reader.fail("a level of verify that does not exist")
    if not sorted_strictly(verified.segments, lambda item: (item.run, item.first_k)):
        raise reader.fail("ranges of segments out of order")
    return verified


def write_logged(writer: Writer, logged: Logged) -> None:
    """The head of the log."""
    writer.u64(logged.n)
    writer.raw(logged.digest, DIGEST_BYTES)


def read_logged(reader: Reader) -> Logged:
    """What `write_logged` wrote."""
    return Logged(reader.u64(), reader.raw(DIGEST_BYTES))


def write_checkpoint(writer: Writer, point: Checkpoint) -> None:
    """All of a checkpoint."""
    write_roles(writer, point.granted())
    write_list(writer, point.live, write_mark)
    writer.u32(len(point.forgotten))
    for item in point.forgotten:
        write_mark(writer, item.mark)
        writer.i64(item.forgotten_ns)
    write_runs(writer, point.copied_doomed)
    write_list(writer, in_order(point.held, lambda held: held.snapshot), write_held)
    write_packs(writer, point.doomed)
    write_frames(writer, point.lost)
    write_list(writer, point.verified, write_verified)
    writer.u8(point.logged is not None)
    write_logged(writer, point.logged or Logged(0, NO_DIGEST))
    write_runs(writer, point.open_runs)
    writer.u64(point.replaced_first)
    write_list(writer, point.replaced, lambda w, item: w.raw(item, DIGEST_BYTES))
    writer.u64(point.floor)


def read_checkpoint(reader: Reader) -> Checkpoint:
    """What `write_checkpoint` wrote; no snapshot is named twice."""
    roles = read_roles(reader)
    live = read_list(reader, MARK_BYTES, read_mark)
    forgotten = read_list(reader, MARK_BYTES + 8, lambda r: ForgottenMark(read_mark(r), r.i64()))
    copied_doomed = read_runs(reader)
    held = read_list(reader, RUN_BYTES + 2, read_held)
    doomed, lost = read_packs(reader), read_frames(reader)
    verified = read_list(reader, 13, read_verified)
    known, logged = reader.flag(), read_logged(reader)
    if not known and logged != Logged(0, NO_DIGEST):
        raise reader.fail("an absent value that is not zero")
    marks = [mark.run for mark in (*live, *(item.mark for item in forgotten))]
    if len(set(marks)) != len(marks) or not sorted_strictly(held, lambda item: item.snapshot):
        raise reader.fail("a checkpoint that names a snapshot twice")
    return Checkpoint(
        roles=roles.roles,
        live=live,
        forgotten=forgotten,
        copied_doomed=copied_doomed,
        held=held,
        doomed=doomed,
        lost=lost,
        verified=verified,
        logged=logged if known else None,
        open_runs=read_runs(reader),
        replaced_first=reader.u64(),
        replaced=read_list(reader, DIGEST_BYTES, lambda r: r.raw(DIGEST_BYTES)),
        floor=reader.u64(),
        roles_sequence=roles.sequence,
        roles_signature=roles.signature,
    )
