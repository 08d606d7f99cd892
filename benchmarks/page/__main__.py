"""Writes one HTML page of all results: nothing is loaded from elsewhere, no script runs.

python -m benchmarks.page [--results benchmarks/results] [--out benchmarks/results/index.html]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.page import compared, grown, plots
from benchmarks.page.loaded import Results, load
from benchmarks.page.markup import Child, Markup, element, raw, table
from benchmarks.report import RESULTS
from benchmarks.targets import Verdict

STYLE = Path(__file__).with_name("style.css")
READING = Path(__file__).with_name("reading.txt")


def render(results: Results) -> str:
    """The whole page; the same results give the same bytes."""
    sections: list[tuple[str, str, Markup]] = []
    held: list[tuple[str, str, list[Verdict]]] = []
    for item in results.compared:
        anchor, title = f"r-{item.origin.name}", compared.whole_title(item)
        sections.append((anchor, title, compared.section(item, anchor)))
        held.append((anchor, title, item.verdicts))
    for scaled in results.scaled:
        anchor, title = f"r-{scaled.origin.name}", "As the data grows"
        sections.append((anchor, title, grown.scaling(scaled, anchor)))
        held.append((anchor, title, scaled.verdicts))
    for starts in results.starts:
        anchor, title = f"r-{starts.origin.name}", "Starting"
        sections.append((anchor, title, grown.starting(starts, anchor)))
        held.append((anchor, title, starts.verdicts))
    links = [element("a", {"href": f"#{anchor}"}, title) for anchor, title, _ in sections]
    links = [
        element("a", {"href": "#owed"}, "What is owed"),
        *links,
        element("a", {"href": "#read"}, "How to read and repeat"),
    ]
    body = element(
        "body",
        {},
        plots.hatching(),
        element("header", {}, element("h1", {}, "kluis: benchmarks"), _lead(results)),
        element("nav", {"aria-label": "Sections"}, *links),
        element("main", {}, _owed(held), *(part for _, _, part in sections), _reading(results)),
    )
    head = element(
        "head",
        {},
        element("meta", {"charset": "utf-8"}),
        element("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        element("meta", {"name": "color-scheme", "content": "light dark"}),
        element("title", {}, "kluis: benchmarks"),
        element("style", {}, raw(STYLE.read_text(encoding="utf-8"))),
    )
    return f"<!doctype html>\n{element('html', {'lang': 'en'}, head, body)}\n"


def _lead(results: Results) -> Markup:
    """What the page is about, counted from what it shows."""
    peers = sorted({p for item in results.compared for job in item.jobs for p in item.peers(job)})
    rounds = {sample.round for item in results.compared for sample in item.samples}
    if not results.compared:
        return element("p", {"class": "lead"}, "kluis alone.")
    beside = f" beside {' and '.join(peers)}" if peers else ""
    text = (
        f"kluis{beside}: the same jobs on the same data, in turn, on "
        f"{_count(len(results.compared), 'data set')}, in up to {_count(len(rounds), 'round')}."
    )
    return element("p", {"class": "lead"}, text)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _owed(held: list[tuple[str, str, list[Verdict]]]) -> Markup:
    """How much of what is owed is kept, under which heading, and what is not."""
    every = [verdict for _, _, verdicts in held for verdict in verdicts]
    kept = sum(verdict.kept for verdict in every)
    rows: list[list[Child]] = []
    for anchor, title, verdicts in held:
        if not verdicts:
            continue
        missed = [compared.owed_title(item.what) for item in verdicts if not item.kept]
        rows.append(
            [
                element("a", {"href": f"#{anchor}"}, title),
                f"{len(verdicts) - len(missed)} of {len(verdicts)}",
                _folded(missed) if missed else "",
            ]
        )
    text = "These results hold no figure that something is owed for."
    if every:
        text = f"{kept} of {_count(len(every), 'figure')} that the project owes are kept."
    parts = [element("h2", {}, "What is owed"), element("p", {}, text)]
    if rows:
        parts.append(table(["results", "kept", ""], rows, frozenset({1})))
    return element("section", {"id": "owed"}, *parts)


def _folded(missed: list[str]) -> Markup:
    """What is not kept, in a list that opens."""
    words = [element("li", {"class": "no"}, what) for what in missed]
    said = element("summary", {}, f"{len(missed)} not kept")
    return element("details", {}, said, element("ul", {"class": "plain"}, *words))


def _reading(results: Results) -> Markup:
    sets = {
        (item.dataset, item.files, item.size_bytes, item.digest, item.medium): item.origin.name
        for item in results.compared
    }
    rows: list[list[Child]] = [
        [name, f"{files:,}", f"{size / 1e6:,.1f}", element("code", {}, digest), medium]
        for name, files, size, digest, medium in sets
    ]
    origins = [item.origin for item in results.compared]
    origins += [item.origin for item in results.scaled]
    origins += [item.origin for item in results.starts]
    commands = "\n".join(["make setup", "make bench-peers", *(item.command for item in origins)])
    head = ["data set", "files", "MB", "digest", "repository on"]
    return element(
        "section",
        {"id": "read"},
        element("h2", {}, "How to read and repeat"),
        *(element("p", {}, text) for text in READING.read_text(encoding="utf-8").split("\n\n")),
        element("h3", {}, "Data sets"),
        element(
            "p",
            {},
            "Made from a seed or copied from the machine in sorted order, with a manifest of every "
            "file's path, size and SHA-256; the digest is that of the manifest. Two results of the "
            "same digest are about the same bytes.",
        ),
        table(head, rows, frozenset({1, 2})),
        element("h3", {}, "Again, on your machine"),
        element("pre", {}, f"{commands}\npython -m benchmarks.page"),
    )


def main() -> None:
    """Reads the folder and writes the page."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.page",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--out", type=Path, help="default: index.html beside the results")
    options = parser.parse_args()
    results = load(options.results)
    for name in results.unknown:
        print(f"{name}.json is no result that this page shows; left out", file=sys.stderr)
    out = options.out or options.results / "index.html"
    out.write_text(render(results), encoding="utf-8")
    print(f"written: {out}")


if __name__ == "__main__":
    main()
