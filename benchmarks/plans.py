"""Which calls of the harness make up a whole benchmark."""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchmarks import jobs

BACKUPS = "kluis,restic,borg,borg2,kopia,rustic"
TOOLS = f"{BACKUPS},tar,cp,find,cat,blake3,seal"
ON_MEDIA = f"{BACKUPS},copy"
_ALL = ",".join(jobs.ROUND)
_TREE = "start,first,unchanged,changed,restore,verify,verify-1"
_DAY_2 = "first,changed"
_BUSY = "first,unchanged,restore,verify"


@dataclass(frozen=True)
class Call:
    """One call: what a person could type alone."""

    save: str
    dataset: str
    size_mb: int
    jobs: str
    tools: str = TOOLS
    rounds: int = 3
    medium: str = ""
    snapshots: int = 100
    days: int = 60

    def words(self) -> list[str]:
        """As arguments of the harness."""
        words = ["--dataset", self.dataset, "--size", str(self.size_mb)]
        words += ["--rounds", str(self.rounds), "--jobs", self.jobs, "--tools", self.tools]
        wanted = set(self.jobs.split(","))
        if wanted & set(jobs.LISTING):
            words += ["--snapshots", str(self.snapshots)]
        if wanted & set(jobs.CHURN):
            words += ["--days", str(self.days)]
        if self.medium:
            words += ["--medium", self.medium]
        return [*words, "--save", self.save]


FULL = (
    Call("system", "system", 1300, _ALL),
    Call("docs", "docs", 1300, _ALL),
    Call("tiny", "tiny", 1000, _TREE),
    Call("incompressible", "incompressible", 2000, _TREE),
    Call("sqldump", "sqldump", 180, _DAY_2),
    Call("sqlite", "sqlite", 90, _DAY_2),
    Call("mailbox", "mailbox", 300, _DAY_2),
    Call("image", "image", 600, _DAY_2),
    Call("sourcetar", "sourcetar", 200, _DAY_2),
    Call("history", "docs", 40, "ls,find"),
    Call("churn", "churn", 500, "churn,fresh"),
    Call("large", "churn", 4000, "first,restore-one"),
    Call("system-usb-exfat", "system", 300, _BUSY, ON_MEDIA, medium="usb:exfat"),
    Call("system-hdd-ext4", "system", 300, _BUSY, ON_MEDIA, medium="hdd:ext4"),
)
# The figures are too small to say much; every job is done by every tool, in minutes.
_QUICK_SHARE = 40
QUICK = tuple(
    replace(
        call,
        size_mb=max(10, min(60, call.size_mb // _QUICK_SHARE)),
        rounds=1,
        snapshots=10,
        days=20,
    )
    for call in FULL
)
# One file out of 20 GB: 90 GB of disk for all repositories together.
LARGE = (Call("large", "churn", 20_000, "first,restore-one"),)
MEDIA = tuple(call for call in FULL if call.medium)
PLANS = {"full": FULL, "quick": QUICK, "large": LARGE, "media": MEDIA}
