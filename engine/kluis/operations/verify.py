"""Verify: 0 structure, 1 every stored byte against its name, 2 every frame and every digest."""

from __future__ import annotations

from dataclasses import dataclass, field

from blake3 import blake3

from kluis.errors import DamageError, KluisError, RefusedError
from kluis.events import Context, Damage, DamageFound, Progress, Stage
from kluis.format import names, tree
from kluis.format.frame import HASH_BYTES
from kluis.format.ledger import PackName, SegmentRange, Verified
from kluis.options import VerifyOptions
from kluis.repository import check
from kluis.repository.access import Repository
from kluis.repository.affected import Affected
from kluis.repository.check import Checker, Finding
from kluis.repository.content import Content, list_digest, record, stream_digest
from kluis.repository.index import Index, load_index
from kluis.repository.mend import empty_quarantine
from kluis.repository.snapshots import Snapshot, load_all
from kluis.repository.trees import TreeReader, content_of, open_trees, root_content
from kluis.results import VerifyResult

FILES_NAMED = 1000
LOOKS_AGAIN = 3


@dataclass
class Work:
    """One verification while it runs."""

    repository: Repository
    context: Context
    index: Index
    checker: Checker
    findings: dict[str, Finding] = field(default_factory=dict)
    bad_frames: set[tuple[bytes, int]] = field(default_factory=set)
    frames: int = 0
    files: int = 0
    trees: TreeReader | None = None

    def add(self, finding: Finding) -> None:
        """Notes what is wrong, once an object."""
        if finding.object in self.findings:
            return
        self.findings[finding.object] = finding
        self.bad_frames |= finding.frames
        if finding.pack is not None:
            self.bad_frames |= self.frames_in(finding.pack)

    def frames_in(self, pack: PackName) -> set[tuple[bytes, int]]:
        """The frames that lie in this pack."""
        number = self.index.pack_numbers.get(pack)
        if number is None:
            return set()
        return {
            (group.run, n)
            for group in self.index.packs[number].groups
            for n in range(group.first_n, group.first_n + len(group.stored) // 4)
        }


def verify(repository: Repository, options: VerifyOptions, context: Context) -> VerifyResult:
    """Everything that is wrong with the store, up to the level asked for; goes on to the end."""
    begun = repository.surroundings.monotonic()
    work = _look(repository, options.level, context)
    for _ in range(LOOKS_AGAIN):
        if not work.findings or not repository.ledger.read_on():
            break
        work = _look(repository, options.level, context)  # a prune took what was looked for
    if options.level >= 1 and not work.findings:
        empty_quarantine(repository)
        _remember_reading(work, options.level)
    repository.remember()
    state = repository.ledger.state
    oldest, never = read_dates(repository, work.index)
    return VerifyResult(
        level=options.level,
        damages=tuple(_damages(work)),
        regressions=repository.regressions,
        snapshots=len(state.live),
        packs=len(work.index.packs),
        segments=len(work.index.segments),
        records=len(repository.ledger.digests),
        frames=work.frames,
        objects=work.checker.checked,
        files=work.files,
        bytes_read=work.checker.bytes_read,
        oldest_read_ns=oldest,
        bytes_never_read=never,
        duration_seconds=repository.surroundings.monotonic() - begun,
    )


def _look(repository: Repository, level: int, context: Context) -> Work:
    """All that is wrong by the ledger as read."""
    context.events(Stage("checking structure"))
    index = load_index(repository.storage, repository.session, repository.ledger.state)
    work = Work(repository, context, index, Checker(repository, index))
    _structure(work)
    if level >= 1:
        context.events(Stage("reading every stored byte"))
        _stored_bytes(work, level)
    if level >= 2:
        context.events(Stage("recomputing digests"))
        _contents(work)
    return work


def _structure(work: Work) -> None:
    """Level 0: names, sizes, small objects with their twins, use maps."""
    checker = work.checker
    for findings in (
        checker.small_objects(),
        checker.segments(),
        checker.large_objects(),
        checker.strangers(),
        checker.unlisted(),
    ):
        for finding in findings:
            work.context.cancel.check()
            work.add(finding)
    _snapshots(work)


def _snapshots(work: Work) -> list[Snapshot]:
    """All live snapshots that can be opened; the others are noted."""
    snapshots, problems = load_all(work.repository)
    for identity, reason in problems.items():
        mark = work.repository.ledger.require(names.from_base32(identity, 16))
        work.add(Finding(names.numbered(names.SNAPSHOTS, mark.run, mark.k), check.GONE, reason))
    return snapshots


def _stored_bytes(work: Work, level: int) -> None:
    """Level 1: every byte against a name or digest; level 2 opens each pack on the way."""
    total = sum(place.size for place in work.index.packs)

    def opened(name: str, data: bytes) -> None:
        work.context.cancel.check()
        if level >= 2:
            _open_frames(work, name, data)
        work.context.events(Progress(bytes_done=work.checker.bytes_read, bytes_total=total))

    for finding in work.checker.stored_bytes(opened):
        work.add(finding)


def _open_frames(work: Work, name: str, data: bytes) -> None:
    """Level 2: opens every frame of a whole pack and hashes its chunks again."""
    trees = _reader(work)
    opened = trees.frames.directories.offer(name, data)
    for place, entry in enumerate(opened.entries):
        work.context.cancel.check()
        start = opened.offsets[place]
        frame = trees.frames.expand_at(opened, place, data[start : start + entry.stored_bytes])
        view, position = memoryview(frame.plain), 0
        key = trees.keys.hash_key(entry.kind)
        for hash16, length in frame.chunks:
            if blake3(view[position : position + length], key=key).digest(HASH_BYTES) != hash16:
                raise DamageError(f"{name} holds a chunk that is not what its list says")
            position += length
        work.frames += 1


def _reader(work: Work) -> TreeReader:
    if work.trees is None:
        work.trees = open_trees(work.repository, work.repository.session.home().id, work.index)
    return work.trees


def _contents(work: Work) -> None:
    """Level 2: every tree read, every file's digest recomputed from the chunk lists."""
    snapshots = _snapshots(work)
    seen: set[Content] = set()
    for snapshot in snapshots:
        if snapshot.root is None:
            raise RefusedError("this key does not read content: verify --level 1 is what it may do")
        trees = open_trees(work.repository, snapshot.certificate.domain, work.index)
        pending: list[tuple[bytes, Content]] = [(b"", root_content(snapshot.root))]
        while pending:
            path, content = pending.pop()
            work.context.cancel.check()
            if content in seen:
                continue
            seen.add(content)
            try:
                entries = trees.tree(content).entries
            except DamageError as error:
                _content_damage(work, (path or b"/", snapshot.id()), content, str(error))
                continue
            for entry in entries:
                whole = path + b"/" + entry.name
                if entry.kind == tree.DIRECTORY:
                    pending.append((whole, content_of(entry)))
                elif entry.kind == tree.FILE:
                    _file(work, trees, content_of(entry), (whole, snapshot.id()))


def _file(work: Work, trees: TreeReader, content: Content, where: tuple[bytes, str]) -> None:
    work.files += 1
    try:
        digests = []
        for digest, extents in trees.blocks(content):
            records = b"".join(
                record(piece.hash16, tree.extent_length(piece.extent))
                for piece in trees.pieces(extents)
            )
            if stream_digest(trees.keys, records) != digest:
                raise DamageError("its content is not the one that was recorded")
            digests.append(digest)
        if content.listed and list_digest(trees.keys, digests) != content.digest:
            raise DamageError("its content is not the one that was recorded")
    except DamageError as error:
        _content_damage(work, where, content, str(error))


def _content_damage(work: Work, where: tuple[bytes, str], content: Content, reason: str) -> None:
    """Notes a damaged file or folder, unless a damaged pack explains and names it already."""
    frames = {(extent.run, extent.n) for extent in content.extents}
    if frames & work.bad_frames:
        return
    shown = where[0].decode("utf-8", "backslashreplace")
    work.add(Finding(f"{where[1]}:{shown}", check.GONE, reason))


def _remember_reading(work: Work, level: int) -> None:
    """Notes in the ledger that everything was read; a medium that refuses is only told of."""
    repository = work.repository
    ranges: dict[bytes, list[int]] = {}
    for run, k in work.index.segments:
        ranges.setdefault(run, []).append(k)
    segments = tuple(
        SegmentRange(run, min(numbers), max(numbers)) for run, numbers in sorted(ranges.items())
    )
    if not segments:
        return
    event = Verified(level, repository.surroundings.now(), segments)
    try:
        repository.ledger.append((event,), repository.session.signer, repository.surroundings)
    except KluisError:
        return  # a medium that cannot be written, or somebody else writes: the next one notes it


def read_dates(repository: Repository, index: Index) -> tuple[int | None, int]:
    """(when the byte read longest ago was read, bytes that nobody noted as read)."""
    read: dict[tuple[bytes, int], int] = {}
    for verified in repository.ledger.state.verified:
        for item in verified.segments:
            for k in range(item.first_k, item.last_k + 1):
                read[item.run, k] = max(verified.time_ns, read.get((item.run, k), 0))
    never, oldest = 0, None
    for key, listed in index.segments.items():
        size = sum(place.size for parity_set in listed.body.sets for place in parity_set.packs)
        if key not in read:
            never += size
        elif size:
            oldest = read[key] if oldest is None else min(oldest, read[key])
    return (None if never else oldest), never


def _damages(work: Work) -> list[Damage]:
    """Findings in words, with the files that they touch and the next command."""
    if not work.findings:
        return []
    by_pack: dict[bytes, str] = {}
    if work.bad_frames:
        by_pack = dict(Affected(work.repository, work.index, work.bad_frames).paths())
    files = tuple(sorted(by_pack))[:FILES_NAMED]
    result = []
    for finding in work.findings.values():
        touched = files if finding.kind in (check.PACK, check.SEGMENT) else ()
        damage = Damage(
            finding.object, finding.what, _meaning(finding, len(by_pack)), touched, _next(finding)
        )
        work.context.events(DamageFound(damage))
        result.append(damage)
    return result


def _meaning(finding: Finding, files: int) -> str:
    if finding.kind == check.PACK:
        return f"{files} files need what lies there; parity may bring it back"
    if finding.kind == check.SEGMENT:
        return "where frames lie is unknown; it can be rebuilt from the packs"
    if finding.kind == check.PARITY:
        return "no file is lost; its packs are without protection until it is rebuilt"
    if finding.kind == check.SMALL:
        return "no file is lost: its other copy is whole"
    if finding.kind == check.EXTRA:
        return "no file is lost; somebody put it there"
    return "nothing in this store can bring it back"


def _next(finding: Finding) -> str:
    if finding.kind == check.EXTRA:
        return "look at the file, and remove it if it is not yours"
    return "kluis repair"
