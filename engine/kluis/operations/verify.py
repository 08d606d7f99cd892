"""Verify: 0 structure, 1 every stored byte against its name, 2 every frame and every digest."""

from __future__ import annotations

from dataclasses import dataclass, field

from kluis.errors import DamageError, KluisError, RefusedError
from kluis.events import Context, Damage, DamageFound, Progress, Stage
from kluis.format import names
from kluis.format.extent import pack_extent
from kluis.format.frame import FrameEntry
from kluis.format.ledger import PackName, SegmentRange, Verified
from kluis.format.usemap import contains
from kluis.options import VerifyOptions
from kluis.repository import check
from kluis.repository.access import Repository
from kluis.repository.affected import counted
from kluis.repository.check import Checker, Finding, Look
from kluis.repository.content import Content
from kluis.repository.index import Index, load_index
from kluis.repository.mend import empty_quarantine
from kluis.repository.outlook import Cost, Outlook
from kluis.repository.snapshots import Snapshot, load_all
from kluis.repository.treecheck import TreeChecker
from kluis.repository.trees import open_trees, root_content
from kluis.repository.wholepacks import PackOpener
from kluis.results import VerifyResult

FILES_NAMED = 1000
FILES_SHOWN = 10
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
    files: int = 0
    snapshots: list[Snapshot] = field(default_factory=list)
    _trees: dict[bytes, TreeChecker] = field(default_factory=dict)

    def trees(self, domain: bytes) -> TreeChecker:
        """What looks through the trees of a domain, the same each time."""
        found = self._trees.get(domain)
        if found is None:
            reader = open_trees(self.repository, domain, self.index)
            found = self._trees[domain] = TreeChecker(reader)
        return found

    def whole(self, domain: bytes, entry: FrameEntry, chunks: bytes) -> None:
        """Takes in the chunk list of a frame that was looked into, from any thread."""
        trees = self._trees.get(domain)
        if trees is not None:
            trees.offer(self.index, entry, chunks)

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
        frames=work.checker.frames,
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
    if level >= 2 and any(snapshot.root is None for snapshot in work.snapshots):
        raise RefusedError("this key does not read content: verify --level 1 is what it may do")
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


def _snapshots(work: Work) -> None:
    """All live snapshots that can be opened; the others are noted."""
    work.snapshots, problems = load_all(work.repository)
    for identity, reason in problems.items():
        mark = work.repository.ledger.require(names.from_base32(identity, 16))
        work.add(Finding(names.numbered(names.SNAPSHOTS, mark.run, mark.k), check.GONE, reason))


def _stored_bytes(work: Work, level: int) -> None:
    """Level 1: every byte against a name or digest; level 2 opens each pack on the way."""
    total = sum(place.size for place in work.index.packs)
    checker, context = work.checker, work.context

    def told() -> None:
        context.cancel.check()
        context.events(Progress(bytes_done=checker.bytes_read, bytes_total=total))

    look: Look | None = None
    if level >= 2:
        for snapshot in work.snapshots:
            work.trees(snapshot.certificate.domain)
        directories = work.trees(work.repository.session.home().id).trees.frames.directories
        look = PackOpener(directories, context.cancel, work.whole).check
    for finding in checker.stored_bytes(look, told):
        work.add(finding)


def _contents(work: Work) -> None:
    """Level 2: every tree read, every file's digest recomputed from the chunk lists."""
    seen: set[bytes] = set()
    for snapshot in work.snapshots:
        assert snapshot.root is not None
        trees, root = work.trees(snapshot.certificate.domain), root_content(snapshot.root)
        try:
            trees.check_root(root)
        except DamageError as error:
            _content_damage(work, (b"/", snapshot.id()), root, str(error))
            continue
        pending: list[tuple[bytes, Content]] = [(b"", root)]
        while pending:
            path, content = pending.pop()
            work.context.cancel.check()
            key = content.digest + b"".join(map(pack_extent, content.extents))
            if key in seen:
                continue
            seen.add(key)
            try:
                found = trees.look(content)
            except DamageError as error:
                _content_damage(work, (path or b"/", snapshot.id()), content, str(error))
                continue
            work.files += found.files
            pending += [(path + b"/" + name, folder) for name, folder in found.folders]
            for name, damaged, reason in found.damaged:
                _content_damage(work, (path + b"/" + name, snapshot.id()), damaged, reason)


def _content_damage(work: Work, where: tuple[bytes, str], content: Content, reason: str) -> None:
    """Notes a damaged file or folder, unless a damaged pack explains and names it already."""
    frames = {(extent.run, extent.n) for extent in content.extents}
    if frames & work.bad_frames:
        return
    shown = where[0].decode("utf-8", "backslashreplace")
    work.add(Finding(f"{where[1]}:{shown}", check.GONE, reason, files=(where[0],)))


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
    """(when the byte read longest ago was read, bytes that nobody noted as read).

    A date in the future is that of a wrong clock and says nothing.
    """
    read: dict[tuple[bytes, int], int] = {}
    now = repository.surroundings.now()
    for verified in repository.ledger.state.verified:
        if verified.time_ns > now:
            continue
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
    """Findings in words, with the files that are lost by them and the next command."""
    findings = list(work.findings.values())
    outlook, lost = Outlook(work.checker, findings), work.repository.ledger.state.lost
    result = []
    for finding in findings:
        cost = outlook.cost(finding)
        own = outlook.frames(finding)
        noted = bool(own) and all(contains(lost.get(run, ()), n) for run, n in own)
        healable = outlook.can_be_repaired(finding)
        damage = Damage(
            finding.object,
            finding.what,
            _meaning(finding, cost, healable),
            cost.lost[:FILES_NAMED],
            _next(finding, healable, noted),
        )
        work.context.events(DamageFound(damage))
        result.append(damage)
    return result


def _meaning(finding: Finding, cost: Cost, healable: bool) -> str:
    if finding.kind in (check.PACK, check.INSIDE) or finding.frames:
        saved = f"needed by {counted(cost.saved)}; it can be repaired{_some(cost.saved)}"
        lost = f"{counted(cost.lost)} lost: nothing in this store brings it back"
        if cost.lost:
            return f"{lost}; also {saved}" if cost.saved else lost
        if cost.saved:
            return saved
        if healable:
            return "no file is lost: it can be repaired"
        return "no file that can be listed needs it; nothing in this store brings it back"
    if finding.kind == check.SEGMENT:
        return "where frames lie is unknown; it can be rebuilt from the packs"
    if finding.kind == check.PARITY:
        return "no file is lost; its packs are without protection until it is rebuilt"
    if finding.kind == check.SMALL:
        return "no file is lost: its other copy is whole"
    if finding.kind == check.EXTRA:
        return "no file is lost; somebody put it there"
    if _is_document(finding):
        return "no file is lost; it can be written again"
    return "nothing in this store can bring it back"


def _some(files: tuple[bytes, ...]) -> str:
    """The first of the files, by name."""
    shown = ", ".join(path.decode("utf-8", "backslashreplace") for path in files[:FILES_SHOWN])
    more = len(files) - FILES_SHOWN
    return f": {shown}" + (f" and {more} more" if more > 0 else "")


def _is_document(finding: Finding) -> bool:
    """True for what every kluis can write again, and a repair does."""
    return finding.object.removeprefix(f"{names.TWINS}/") in names.DOCUMENTS


def _next(finding: Finding, healable: bool, noted: bool) -> str:
    """What to do; `noted`: a repair has recorded what is lost, and a backup stored it anew."""
    if finding.kind == check.EXTRA:
        return "look at the file, and remove it if it is not yours"
    if finding.kind == check.GONE and not _is_document(finding):
        return "take it from another copy of this repository"
    if finding.kind == check.INSIDE and not healable:
        return "take the files from another copy of this repository"
    if not healable and noted:
        return "kluis forget the snapshots that are marked incomplete, with --prune"
    if not healable:
        return "kluis repair, then kluis backup: what the source still has is stored anew"
    return "kluis repair"
