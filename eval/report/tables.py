# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Summaries as text: for a terminal, as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

from eval.summary import Figure, Summary

COUNTS = ("n", "failed", "unparsed", "truncated", "unjudged")
COLUMNS = ("benchmark", "run", "official", "robust", "micro", *COUNTS, "sees")


def spell(figure: Figure) -> str:
    """ "62.5 [58.1, 66.9]"."""
    if figure.low is None or figure.high is None:
        return f"{figure.value:.1f}"
    return f"{figure.value:.1f} [{figure.low:.1f}, {figure.high:.1f}]"


def _row(one: Summary) -> tuple[str, ...]:
    name, headline = one.headline
    robust = one.robust.get(name)
    counts = one.counts
    numbers = (counts.items, counts.failed, counts.unparsed, counts.truncated, counts.unjudged)
    spelled = (spell(headline), spell(robust) if robust else "-", spell(one.micro))
    return (one.title, one.run, *spelled, *map(str, numbers), one.seen)


def console(summaries: Sequence[Summary]) -> str:
    """Aligned columns."""
    rows = [COLUMNS, *map(_row, summaries)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]]) + "\n"


def markdown(summaries: Sequence[Summary]) -> str:
    """A table of headlines, then every run's figures, blind baselines and settings."""
    parts = ["# Evaluation", "", _table(COLUMNS, list(map(_row, summaries)))]
    for one in summaries:
        parts += ["", f"## {one.title}: {one.run}", "", _figures(one)]
        if one.blind:
            baselines = ", ".join(f"{name} {value:.1f}" for name, value in one.blind.items())
            parts += ["", f"Without a look at the video: {baselines}."]
        if one.judges:
            parts += ["", f"{judged_by(one)}."]
        parts += ["", "Settings:", "", "```json", settings(one), "```"]
    return "\n".join(parts) + "\n"


def _figures(one: Summary) -> str:
    rows = []
    for name, figure in one.official.items():
        robust = one.robust.get(name)
        rows.append((name, spell(figure), spell(robust) if robust else "-", str(figure.n)))
    return _table(("figure", "official", "robust", "n"), rows)


def judged_by(one: Summary) -> str:
    """Who gave official scores, and how many."""
    return "Judged by " + ", ".join(f"{name} ({count})" for name, count in one.judges.items())


def settings(one: Summary) -> str:
    """The manifest as JSON, without the list of the model's files."""
    return json.dumps({**one.manifest, "model": one.manifest["model"]["path"]}, indent=2, sort_keys=True)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines)


def comma_separated(summaries: Sequence[Summary]) -> str:
    """One line per figure."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("benchmark", "run", "scoring", "figure", "value", "low", "high", "n", "sees"))
    for one in summaries:
        for scoring, figures in (("official", one.official), ("robust", one.robust), ("micro", {"micro": one.micro})):
            for name, figure in figures.items():
                writer.writerow(
                    (one.benchmark, one.run, scoring, name, figure.value, figure.low, figure.high, figure.n, one.seen)
                )
    return text.getvalue()


def as_json(summaries: Sequence[Summary]) -> str:
    """Everything."""
    return json.dumps([one.as_json() for one in summaries], indent=2, sort_keys=False) + "\n"
