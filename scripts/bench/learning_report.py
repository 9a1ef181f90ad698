# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What runs of `scripts.bench.learning` achieved: the tables of docs/learning.md, and docs/learning.png.

A table stands between `<!-- NAME -->` and `<!-- end -->`; the words around it are not touched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from scripts.bench.learning_cases import PLAIN, REFERENCE, Case, Topic, cases

DOCUMENT, PICTURE = Path("docs/learning.md"), Path("docs/learning.png")
ACCURACY, EXPLAINED_VARIANCE = "val/accuracy_reward", "critic/explained_variance"
WANTED = 0.7  # validation accuracy
EXPLAINED = 0.3  # share of the variance of the returns
LAST = 5  # steps that tell why a run did not get there
TITLES: Mapping[Topic, str] = {
    "advantage": "Advantages",
    "loss": "Losses",
    "sampling": "Dynamic sampling",
    "sparse": "Sparse rewards",
}
FURTHER: Mapping[Topic, Sequence[str]] = {  # columns
    "advantage": ("explained variance",),
    "loss": (),
    "sampling": ("useful groups", "rounds of generation per step"),
    "sparse": ("useful groups",),
}
Log = Mapping[int, Mapping[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One run."""

    key: str  # of its case
    arguments: Sequence[str]
    curve: Mapping[int, float]  # validation accuracy by step
    training: Sequence[float]  # mean accuracy of sampled answers in each step, before groups are dropped
    useful: Sequence[float]  # share of the groups of each step whose responses differ in score
    rounds: float  # of generation per step, each of as many prompts as a step trains on
    explained: Mapping[int, float]  # share of the variance of the returns that a critic explains, by step
    seconds: float = 0.0
    problem: str = ""  # what ended it, if anything did

    def ended(self, seconds: float, problem: str) -> Outcome:
        """With how long it took and what went wrong."""
        return replace(self, seconds=round(seconds, 1), problem=problem)

    def to_json(self) -> dict[str, Any]:
        """As a line of the results file."""
        return asdict(self)

    @property
    def reached(self) -> int | None:
        """The first step that was validated at WANTED or better."""
        return next((step for step, accuracy in self.curve.items() if accuracy >= WANTED), None)

    @property
    def explains(self) -> int | None:
        """The first step in which the critic explained more than EXPLAINED."""
        return next((step for step, share in self.explained.items() if share > EXPLAINED), None)

    @property
    def steps(self) -> int:
        """How many were trained."""
        return len(self.training)


def outcome_of(case: Case, arguments: Sequence[str], log: Log) -> Outcome:
    """What the log of a run says."""
    trained = [row for row in log.values() if "timing_s/step" in row]
    explained = {step: row[EXPLAINED_VARIANCE] for step, row in log.items() if EXPLAINED_VARIANCE in row}
    return Outcome(
        key=case.key,
        arguments=arguments,
        curve={step: round(row[ACCURACY], 3) for step, row in log.items() if ACCURACY in row},
        training=[round(row.get("reward/unfiltered/accuracy", row["reward/accuracy"]), 3) for row in trained],
        useful=[round(_useful(row), 3) for row in trained],
        rounds=round(fmean(row.get("groups/rounds", 1.0) for row in trained), 2) if trained else 0.0,
        explained={step: round(share, 3) for step, share in explained.items()},
    )


def _useful(row: Mapping[str, float]) -> float:
    """With a filter, all groups that are trained on."""
    return 1.0 if "groups/rounds" in row else 1.0 - row["groups/no_signal_share"]


def read_results(file: Path) -> dict[str, Outcome]:
    """The latest outcome of every case by its key, none without a file."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    outcomes = [_outcome(json.loads(line)) for line in lines]
    return {outcome.key: outcome for outcome in outcomes}


def _outcome(row: dict[str, Any]) -> Outcome:
    keyed = {name: {int(step): value for step, value in row[name].items()} for name in ("curve", "explained")}
    return Outcome(**{**row, **keyed})


def write_report(outcomes: Mapping[str, Outcome]) -> None:
    """Renew the tables and the plot."""
    text = DOCUMENT.read_text(encoding="utf-8")
    for topic in TITLES:
        text = with_table(text, topic, table(topic, outcomes))
    DOCUMENT.write_text(text, encoding="utf-8")
    draw(outcomes)


def with_table(text: str, name: str, lines: Sequence[str]) -> str:
    """The text with these lines in the place of those between the marks. Raises ValueError where there are none."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"{DOCUMENT} has no <!-- {name} --> ... <!-- end -->; put the marks where the table belongs")
    return pattern.sub(lambda found: found[1] + "\n".join(lines) + "\n" + found[2], text)


def table(topic: Topic, outcomes: Mapping[str, Outcome]) -> list[str]:
    """Lines of Markdown: a row for every case, also for those that were not run."""
    head = ["", "before", "after", "steps to 0.7", "remark", *FURTHER[topic]]
    rows = [[name, *_cells(topic, outcomes.get(key))] for name, key in shown(topic)]
    return ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]


def shown(topic: Topic) -> list[tuple[str, str]]:
    """Names in a table, and the keys of their runs; the plain loss is the run of the reference advantage."""
    rows = [(f"`{case.name}`" if topic in ("advantage", "loss") else case.name, case.key) for case in cases()]
    rows = [(name, key) for name, key in rows if key.startswith(f"{topic}-")]
    return [(f"`{PLAIN}`", f"advantage-{REFERENCE}"), *rows] if topic == "loss" else rows


def _cells(topic: Topic, outcome: Outcome | None) -> list[str]:
    if outcome is None:
        return ["", "", "", "not run", *[""] * len(FURTHER[topic])]
    accuracies = list(outcome.curve.values()) or [float("nan")]
    told = {
        "explained variance": _explained(outcome),
        "useful groups": f"{fmean(outcome.useful or [0.0]):.0%}",
        "rounds of generation per step": f"{outcome.rounds:.1f}",
    }
    more = [told[column] for column in FURTHER[topic]]
    reached = str(outcome.reached) if outcome.reached is not None else "-"
    return [f"{accuracies[0]:.2f}", f"{accuracies[-1]:.2f}", reached, _remark(outcome), *more]


def _explained(outcome: Outcome) -> str:
    if not outcome.explained:
        return ""
    best = max(outcome.explained, key=outcome.explained.__getitem__)
    since = (
        f"above {EXPLAINED} from step {outcome.explains}"
        if outcome.explains is not None
        else f"never above {EXPLAINED}"
    )
    return f"{since}, {outcome.explained[best]:.2f} in step {best}"


def _remark(outcome: Outcome) -> str:
    """Why it is not there, as far as numbers tell."""
    if outcome.problem or outcome.reached is not None:
        return outcome.problem.partition(";")[0]
    accuracy, useful = fmean(outcome.training[-LAST:]), fmean(outcome.useful[-LAST:])
    return (
        f"not in {outcome.steps} steps; in the last {LAST} sampled answers are right in {accuracy:.0%}, and siblings"
        f" differ in {useful:.0%} of the groups"
    )


def draw(outcomes: Mapping[str, Outcome]) -> None:
    """A panel per topic: validation accuracy by step."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import, and only needed here
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 9), layout="constrained")
    FigureCanvasAgg(figure)
    for panel, (topic, title) in zip(figure.subplots(2, 2, sharey=True).flat, TITLES.items(), strict=True):
        for place, (name, key) in enumerate(shown(topic)):
            if key in outcomes:
                style = ("-", "--", ":")[place // 10 % 3]
                panel.plot(*zip(*outcomes[key].curve.items(), strict=True), style, marker=".", label=name.strip("`"))
        panel.axhline(WANTED, color="grey", linewidth=0.5)
        panel.set(title=title, xlabel="step", ylabel="validation accuracy", ylim=(0, 1.02))
        panel.grid(alpha=0.3)
        if panel.get_lines()[:-1]:
            panel.legend(fontsize="small")
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE, dpi=100)
