# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""One HTML page that needs nothing but itself: figures, bars by category, and the items that went wrong with what the
model saw of them.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html import escape
from io import BytesIO

from eval.finished import FinishedRun
from eval.item import EvalItem
from eval.report.tables import judged_by, settings, spell
from eval.store import Outcome
from eval.summary import Figure, Summary
from verl.errors import DataError
from verl.media.preview import Sheet, contact_sheet
from verl.media.source import load
from verl.types import VideoClip

MAX_ITEMS = 200  # of each run, failed ones first
MAX_SHEETS = 40  # of each run
SHEET = Sheet(max_frames=8, columns=8, width=120, grid=False)
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .8em;text-align:left;border-bottom:1px solid #ddd}
.bar{background:#4a7ab5;height:12px;display:inline-block}.track{background:#eee;width:260px;display:inline-block}
details{border:1px solid #ddd;border-radius:4px;margin:.4em 0;padding:.3em .8em}pre{white-space:pre-wrap}
img{max-width:100%}.note{color:#666}
"""


def page(runs: Sequence[tuple[FinishedRun, Summary]]) -> str:
    """The whole document."""
    body = "".join(part for run, summary in runs for part in _section(run, summary))
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>Evaluation</title><style>{STYLE}</style>"
        f"<body><h1>Evaluation</h1>{body}</body></html>\n"
    )


def _section(run: FinishedRun, summary: Summary) -> Iterator[str]:
    name, headline = summary.headline
    counts = summary.counts
    yield f"<h2>{escape(summary.title)}: {escape(summary.run)}</h2>"
    yield f"<p><b>{escape(name)} {spell(headline)}</b> over {headline.n}; micro {spell(summary.micro)}.</p>"
    yield (
        f"<p class='note'>{counts.items} items, {counts.failed} failed, {counts.unparsed} unparsed, "
        f"{counts.truncated} truncated, {counts.unjudged} not judged. Failed items count as wrong.</p>"
    )
    judges = f" {judged_by(summary)}." if summary.judges else ""
    yield f"<p class='note'>The model sees {escape(summary.seen)}.{escape(judges)}</p>"
    yield f"<details><summary>settings</summary><pre>{escape(settings(summary))}</pre></details>"
    yield _bars(summary)
    if summary.blind:
        baselines = ", ".join(f"{escape(name)} {value:.1f}" for name, value in summary.blind.items())
        yield f"<p class='note'>Without a look at the video: {baselines}.</p>"
    wrong = _wrong(run)
    yield f"<h3>{len(wrong)} failed or wrong items{_first_of(wrong)}</h3>"
    for place, (item, outcome) in enumerate(wrong[:MAX_ITEMS]):
        yield _item(run, item, outcome, with_sheet=place < MAX_SHEETS)


def _first_of(wrong: Sequence[object]) -> str:
    return f", the first {MAX_ITEMS} of them" if len(wrong) > MAX_ITEMS else ""


def _bars(summary: Summary) -> str:
    rows = "".join(_bar(name, figure, summary.robust.get(name)) for name, figure in summary.official.items())
    return f"<table><tr><th>figure<th>official<th><th>robust<th>n</tr>{rows}</table>"


def _bar(name: str, figure: Figure, robust: Figure | None) -> str:
    width = round(2.6 * min(max(figure.value, 0.0), 100.0))
    bar = f"<span class='track'><span class='bar' style='width:{width}px'></span></span>"
    ours = spell(robust) if robust else "-"
    return f"<tr><td>{escape(name)}<td>{spell(figure)}<td>{bar}<td>{ours}<td>{figure.n}</tr>"


def _wrong(run: FinishedRun) -> list[tuple[EvalItem, Outcome]]:
    """Failed items, then those with less than full marks."""
    pairs = list(zip(run.items, run.outcomes, strict=True))
    failed = [pair for pair in pairs if pair[1].failure is not None]
    return failed + [pair for pair in pairs if pair[1].official is not None and (pair[1].official.score or 0.0) < 1]


def _item(run: FinishedRun, item: EvalItem, outcome: Outcome, *, with_sheet: bool) -> str:
    grade = outcome.official
    read = "no answer could be read" if grade is None or grade.parsed is None else f"read as {grade.parsed}"
    head = outcome.failure or f"{read}; the answer is {item.answer}"
    options = "".join(f"<li>{escape(option)}" for option in item.options)
    sheet = _sheet(run, item) if with_sheet and outcome.failure is None else ""
    response = f"<pre>{escape(outcome.response)}</pre>" if outcome.response is not None else ""
    return (
        f"<details><summary>{escape(item.id)}: {escape(head)}</summary><p>{escape(item.question)}</p>"
        f"<ol type='A'>{options}</ol>{response}{sheet}</details>"
    )


def _sheet(run: FinishedRun, item: EvalItem) -> str:
    """What the model saw of the item's videos."""
    if run.manifest["blind"]:
        return ""
    return "".join(_picture(run, item, at) for at in range(len(item.media)))


def _picture(run: FinishedRun, item: EvalItem, at: int) -> str:
    try:
        clip = load(run.sight.ref(item.media[at]))
    except DataError as error:
        return f"<p class='note'>{escape(str(error))}</p>"
    if not isinstance(clip, VideoClip):
        return ""
    picture = contact_sheet(clip, replace(SHEET, align=run.sight.spec.align), item.media[at].path)
    data = BytesIO()
    picture.save(data, "JPEG", quality=80)
    return f"<img alt='frames' src='data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}'>"
