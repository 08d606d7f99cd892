"""The sections about tools beside one another: a summary of ratios, then each job's bars."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.figures import Spread
from benchmarks.page import plots
from benchmarks.page.loaded import Compared, over
from benchmarks.page.markup import Child, Markup, element, joined, table
from benchmarks.page.plots import TIMES, short
from benchmarks.report import OWN_DISK
from benchmarks.targets import OURS, Verdict


@dataclass(frozen=True)
class Measure:
    """A figure of the results and how it is shown."""

    key: str
    title: str
    unit: str
    divisor: float = 1.0


CPU = Measure("cpu_seconds", "CPU time", "s")
WALL = Measure("wall_seconds", "Wall clock", "s")
PEAK = Measure("peak_bytes", "Peak memory", "MiB", 1 << 20)
REPOSITORY = Measure("repo_bytes", "Repository afterwards", "MB", 1e6)
ADDED = Measure("added_bytes", "Bytes added", "MB", 1e6)
BUSY = Measure("busy_seconds", "Device busy", "s")

MEASURES = (CPU, WALL, PEAK, REPOSITORY, ADDED, BUSY)

JOBS = {
    "start": "Start (print the version)",
    "first": "First backup",
    "unchanged": "Backup, nothing changed",
    "changed": "Backup after a day's changes",
    "one more": "Backup, one file more",
    "restore": "Restore everything",
    "restore-one": "Restore one file of 10 KB",
    "verify": "Verify every byte",
    "verify-1": "Verify what is stored",
    "prune": "Forget and prune",
    "ls": "List a snapshot",
    "find": "Find a name in all snapshots",
    "daily": "Backup of one day of sixty",
    "churn": "Forget and prune, 60 days",
    "fresh": "Fresh backup of the last state",
}
LIMITS = {
    "tar": "tar | zstd -3",
    "cp": "cp -a",
    "find": "find -printf",
    "cat": "cat",
    "blake3": "BLAKE3",
    "seal": "cat + BLAKE3 + seal",
    "copy": "cp -r, as many bytes",
}
# Jobs after which the whole repository says more than what was added to it.
_WHOLE = frozenset({"first", "prune", "churn", "fresh"})
_READING = frozenset({"start", "restore", "restore-one", "verify", "verify-1", "ls", "find"})


def job_title(job: str) -> str:
    """What a job is called."""
    return JOBS.get(job, job.replace("_", " ").capitalize())


def tool_title(result: Compared, tool: str) -> str:
    """What a tool is called: a limit by what it runs."""
    return LIMITS.get(tool, tool) if tool in result.limits else tool


def ratio_text(ratio: Spread) -> str:
    """The median with its spread, as 0.60x (0.58 to 0.61)."""
    text = f"{short(ratio.middle)}{TIMES}"
    if short(ratio.low) != short(ratio.high):
        text += f" ({short(ratio.low)} to {short(ratio.high)})"
    return text


def section(result: Compared, anchor: str) -> Markup:
    """All of one call of the harness."""
    tools = dict.fromkeys(tool for job in result.jobs for tool in result.tools(job))
    versions = [
        element("li", {}, tool_title(result, tool), ": ", version)
        for tool, version in result.versions.items()
        if tool in tools
    ]
    facts: list[tuple[str, Child]] = [
        ("Data set", joined(f"{result.dataset}, digest ", element("code", {}, result.digest))),
        ("Repository on", result.medium),
        *((name.capitalize(), f"{count:,}") for name, count in result.settings.items()),
        ("Machine", result.origin.machine),
        ("Commit", element("code", {}, result.origin.commit)),
        ("Command", element("code", {}, result.origin.command)),
        ("Versions", element("ul", {"class": "plain"}, *versions)),
    ]
    return element(
        "section",
        {"id": anchor},
        element("h2", {}, whole_title(result)),
        element("dl", {"class": "facts"}, *(_fact(name, value) for name, value in facts)),
        summary(result),
        owed(result.verdicts),
        *(_job(result, job) for job in result.jobs),
        _failed(result),
    )


def whole_title(result: Compared) -> str:
    """Data set, size, files and, where it is not the machine's disk, the medium."""
    name = result.dataset[:1].upper() + result.dataset[1:]
    medium = "" if result.medium == OWN_DISK else f", on {result.medium}"
    return f"{name}: {result.size_bytes / 1e6:,.0f} MB, {result.files:,} files{medium}"


def _fact(name: str, value: Child) -> Markup:
    return joined(element("dt", {}, name), element("dd", {}, value))


def summary(result: Compared) -> Markup:
    """Ours beside the best peer of each job, once for CPU and once for wall time."""
    figures = []
    for measure in (CPU, WALL, PEAK, BUSY):
        rows = []
        for job in result.jobs:
            best = result.best(job, measure.key)
            if best is not None and best[1].middle > 0:
                said = f"{ratio_text(best[1])} of {best[0]}"
                limit = result.limit(job, measure.key)
                rows.append(plots.Ratio(job_title(job), best[1], said, limit))
        if rows:
            title = f"{measure.title}: {OURS} beside the best peer"
            figures.append(figure(title, plots.ratios(title, rows)))
    if not figures:
        return Markup("")
    text = (
        f"{OURS} divided by whichever other backup program needs least in that round; the "
        f"median, and the least to the largest of the rounds. Left of 1{TIMES}, {OURS} needs less; "
        "a dashed stroke is what is owed."
    )
    return joined(
        element("h3", {}, "Beside the best peer"),
        element("p", {"class": "small"}, text),
        element("div", {"class": "grid pairs"}, *figures),
    )


def figure(title: str, plot: Markup) -> Markup:
    """A plot under its title."""
    return element("figure", {}, element("figcaption", {}, title), plot)


def measures(result: Compared, job: str) -> list[Measure]:
    """What is worth a plot: sizes where the job writes, the device where one was modelled."""
    found = [CPU, WALL, PEAK]
    tools = [OURS, *result.peers(job)]

    def largest(key: str) -> float:
        known = (result.figure(job, tool, key) for tool in tools)
        return max((figure.middle for figure in known if figure is not None), default=0.0)

    if job not in _READING and largest(REPOSITORY.key) > 0:
        found.append(REPOSITORY if job in _WHOLE else ADDED)
    if largest(BUSY.key) > 0:
        found.append(BUSY)
    return found


def _job(result: Compared, job: str) -> Markup:
    figures = []
    for measure in measures(result, job):
        rows = []
        for tool in result.tools(job):
            bar = _bar(result, job, tool, measure)
            if bar is not None:
                rows.append(bar)
        if rows:
            title = f"{measure.title}, {measure.unit}"
            figures.append(figure(title, plots.bars(f"{job_title(job)}, {title}", rows)))
    return element(
        "div",
        {"class": "job"},
        element("h3", {}, job_title(job)),
        element("div", {"class": "grid"}, *figures),
    )


def _bar(result: Compared, job: str, tool: str, measure: Measure) -> plots.Bar | None:
    figure = result.figure(job, tool, measure.key)
    # A limit stores nothing, or no repository: its size would be compared with something else.
    if figure is None or (tool in result.limits and measure in (REPOSITORY, ADDED)):
        return None
    kind = "ours" if tool == OURS else "limit" if tool in result.limits else "peer"
    ratio = None if tool == OURS else result.ratio(job, tool, measure.key)
    note = "" if ratio is None else f" · {ratio_text(ratio)}"
    shown = over(figure, measure.divisor)
    return plots.Bar(tool_title(result, tool), kind, shown, short(shown.middle), note)


def owed(verdicts: list[Verdict]) -> Markup:
    """Owed, measured, kept or not, in words and colour; nothing where nothing is owed."""
    if not verdicts:
        return Markup("")
    rows: list[list[Child]] = []
    for verdict in verdicts:
        unit = {"": "", "x": TIMES}.get(verdict.unit, f" {verdict.unit}")
        word = "kept" if verdict.kept else "not kept"
        mark = element("span", {"class": "yes" if verdict.kept else "no"}, word)
        limit = f"{short(verdict.limit)}{unit}"
        measured: Child = f"{short(verdict.measured)}{unit}"
        if short(verdict.low) != short(verdict.high):
            rounds = f"({short(verdict.low)} to {short(verdict.high)})"
            measured = joined(measured, " ", element("span", {"class": "spread"}, rounds))
        goal = "" if verdict.goal is None else f"{short(verdict.goal)}{unit}"
        best = f" ({verdict.best})" if verdict.best else ""
        reached = f"{goal}, reached" if goal and verdict.reached else goal
        rows.append([owed_title(verdict.what) + best, measured, limit, mark, reached])
    head, numbers = ["owed", "measured", "at most", "", "goal"], frozenset({1, 2})
    if not any(verdict.goal is not None for verdict in verdicts):
        head, rows = head[:-1], [row[:-1] for row in rows]
    return joined(
        element("h3", {}, "Owed, measured, kept"),
        table(head, rows, numbers, "stack"),
    )


def owed_title(what: str) -> str:
    """What is owed, with jobs and measures called as they are in the plots."""
    job, comma, rest = what.partition(", ")
    for measure in MEASURES:
        rest = rest.replace(measure.key, measure.title)
    before, over_it, against = rest.partition(f"{OURS} / ")
    tool, space, plus = against.partition(" ")
    rest = f"{before}{over_it}{LIMITS.get(tool, tool)}{space}{plus}"
    return f"{JOBS.get(job, job)}{comma}{rest}".replace("_", " ")


def _failed(result: Compared) -> Markup:
    """Jobs that a tool did not do, or did wrongly: they have no figures above."""
    if not result.failures:
        return Markup("")
    rows: list[list[Child]] = [
        [job_title(item.job), tool_title(result, item.tool), f"{item.round + 1}", item.reason[:300]]
        for item in result.failures
    ]
    return joined(
        element("h3", {}, "Not done"),
        table(["job", "tool", "round", "what happened"], rows, frozenset({2})),
    )
