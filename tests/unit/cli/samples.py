"""One result of each kind, with what is hard to print in it."""

from __future__ import annotations

from collections.abc import Callable

from kluis import events, results
from kluis.errors import PasswordError
from kluis.events import Damage, Problem
from kluis.listing import DiffChange, FoundEntry, KeyInfo, ListedEntry, SnapshotGroup, SnapshotInfo
from kluis_cli.commands import (
    backup,
    bench,
    diff,
    find,
    forget,
    hold,
    init,
    key,
    ls,
    prune,
    repair,
    restore,
    rewrite,
    snapshots,
    stats,
    verify,
)
from kluis_cli.commands import cache as cache_command
from kluis_cli.output import Output

SNAPSHOT = SnapshotInfo(
    id="4f2a" * 16,
    short_id="4f2a",
    time_ns=1769860800_000000000,
    host="host\n",
    tags=("a", "b"),
    paths=(b"/home/zo\xeb", b"/etc"),
    size=5,
    files=2,
    forgotten_ns=1,
)
LINK = ListedEntry(b"/a/\xff", "symlink", 0o777, target=b"\xfe", atime_ns=5, birth_ns=6)
FILE = ListedEntry(b"/a/b", "file", 0o644, user="ann", group="staff", size=7, mtime_ns=-1)
DEVICE = ListedEntry(b"/dev/null", "chardev", 0o666, device=259)
PROBLEM = Problem(b"/a/\xff", "read", "Permission denied")
DAMAGE = Damage("packs/a/b", "one byte differs", "one file is lost", (b"/a/\xff",), "kluis repair")
PLAN = results.PrunePlan(bytes_total=9, bytes_freed=4, snapshots_waiting=("4f2a",))
PRUNE = results.PruneResult(plan=PLAN, dry_run=True, warnings=("a clock is ahead",))
SPAN = results.Span(1.0, 2.0, 3.0)
BENCH = results.BenchResult(
    (
        results.Measurement("cut", 64, 0.1, 0.1, "<b>&", (0.1, 0.2)),
        results.Measurement("fsync", 64, 0.1, latencies=(0.01, 0.09)),
        results.Measurement("passphrase", 0, 0.1, rounds=(0.1, 0.3)),
    ),
    (
        results.Estimate(
            "full restore", SPAN, (results.BenchStage("a <disk>", SPAN, 9),), "a <disk>"
        ),
    ),
    9,
    ("a \udcff name",),
    1,
    "missed",
    ("a faster one",),
)

SHOWN: dict[str, Callable[[Output], object]] = {
    "init": lambda out: init.show(results.InitResult("/r", "v" * 64, "s" * 64), out),
    "backup": lambda out: backup.show(
        results.BackupResult("4f2a", files_new=1, problems=(PROBLEM,), warnings=("w",)), out
    ),
    "backup dry run": lambda out: backup.show(results.BackupResult(dry_run=True), out),
    "snapshots": lambda out: snapshots.show(
        results.SnapshotsResult((SnapshotGroup((SNAPSHOT,), host="h"),), ("w",), (DAMAGE,)), out
    ),
    "ls": lambda out: ls.show(
        results.LsResult(
            SNAPSHOT,
            iter([LINK, FILE, DEVICE]),
            paths=iter([LINK.path, FILE.path, DEVICE.path]),
        ),
        out,
    ),
    "find": lambda out: find.show(
        results.FindResult(iter([FoundEntry(SNAPSHOT, LINK, "pack"), FoundEntry(SNAPSHOT, FILE)])),
        out,
    ),
    "diff": lambda out: diff.show(
        results.DiffResult(
            SNAPSHOT,
            SNAPSHOT,
            iter(
                [
                    DiffChange(b"/a/b", "content", FILE, FILE),
                    DiffChange(b"/a/\xff", "added", None, LINK),
                    DiffChange(b"/c", "removed", FILE, None),
                ]
            ),
        ),
        out,
    ),
    "restore": lambda out: restore.show(
        results.RestoreResult(
            "4f2a", b"/t\xff", files_restored=3, problems=(PROBLEM,), damages=(DAMAGE,)
        ),
        out,
    ),
    "verify": lambda out: verify.show(
        results.VerifyResult(1, (DAMAGE,), ("it is older",), oldest_read_ns=3), out
    ),
    "verify clean": lambda out: verify.show(results.VerifyResult(0, bytes_never_read=5), out),
    "repair": lambda out: repair.show(
        results.RepairResult((results.Healed("packs/a/b", "parity"),), (DAMAGE,)), out
    ),
    "repair clean": lambda out: repair.show(results.RepairResult(), out),
    "forget": lambda out: forget.show(
        results.ForgetResult(
            groups=(
                results.ForgetGroup(
                    keep=(results.ForgetChoice(SNAPSHOT, ("daily",)),),
                    remove=(results.ForgetChoice(SNAPSHOT, ("no rule keeps it",)),),
                    host="h",
                    paths=(b"/\xff",),
                ),
            ),
            forgotten=("4f2a",),
            can_undo=True,
        ),
        out,
    ),
    "forget and prune": lambda out: forget.show(results.ForgetResult(prune=PRUNE), out),
    "forget undone": lambda out: forget.show(results.ForgetResult(undone=("4f2a",)), out),
    "prune": lambda out: prune.show(PRUNE, out),
    "hold": lambda out: hold.show(results.HoldResult(("4f2a",), ("91bc",)), out),
    "tag": lambda out: rewrite.show(
        results.RewriteResult((results.Rewritten("a", "b", ("tags",)), results.Rewritten("c", ""))),
        out,
        "tag",
    ),
    "rewrite": lambda out: rewrite.show(
        results.RewriteResult((results.Rewritten("a", "", ("paths",)),), dry_run=True), out
    ),
    "stats": lambda out: stats.show(
        results.StatsResult("raw-data", 2, bytes_stored=5, bytes_plain=9), out
    ),
    "key list": lambda out: key.show(
        results.KeysResult((KeyInfo("1", current=True), KeyInfo("2", created_ns=4))), out
    ),
    "cache clear": lambda out: cache_command.show(results.CacheClearResult((b"/c\xff",), 5), out),
    "bench": lambda out: bench.show(BENCH, out),
    "errors": lambda out: out.error(PasswordError("wrong passphrase")),
}

EVENTS: list[events.Event] = [
    events.Stage("reading"),
    events.Progress(1, 5, 2, 10, 1, b"/a/\xff"),
    events.FileDone(b"/a/\xff", "new", 5, 3),
    events.FileProblem(PROBLEM),
    events.DamageFound(DAMAGE),
    events.Warning_("went_back", "it is older"),
]
