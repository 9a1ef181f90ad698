# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What a run on every kind of question achieved, task by task.

python -m examples.quickstart.by_kind --config examples/quickstart/all_kinds.yaml --picture curves.png
"""

from __future__ import annotations

import argparse
import itertools
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from examples.quickstart.all_kinds import ALL_KINDS
from examples.quickstart.questions import Kind
from verl.config.load import load
from verl.config.trainer import Config
from verl.data.records import RowFormat, read_records
from verl.rewards.contract import RewardItem
from verl.rewards.router import Router
from verl.tracking.curve import read_log
from verl.types import NotScorable, Record

LEVELS = " .:-=+*#%@"  # of a curve: below 0.1, below 0.2, ...
NUM_BINS = 24  # of a curve
Log = Mapping[int, Mapping[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One task of a run; accuracies are means over `count` held-out rows."""

    task: str
    count: int
    constant: float  # of the best answer that is the same for every video
    before: float
    after: float
    training: tuple[float, ...]  # mean accuracy of sampled answers, by part of the run

    @property
    def has_risen(self) -> bool:
        """By more than one standard error of a share at worst."""
        return self.after - self.before > 0.5 / self.count**0.5


def log_of(config: Config) -> Path:
    """Where that run's metrics are."""
    return Path(config.trainer.save_checkpoint_path or ".") / "experiment_log.jsonl"


def outcomes(config: Config) -> list[Outcome]:
    """The tasks of the run that `config` describes, in the order of ALL_KINDS."""
    steps = read_log(log_of(config))
    rows = read_records(config.data.val_files, RowFormat.of(config.data))
    of_task: dict[str, list[Record]] = defaultdict(list)
    for row in rows:
        of_task[row.problem_type].append(row)
    router = Router(**config.worker.reward.reward_function_kwargs)
    found = []
    for kind in ALL_KINDS.values():
        task = kind.problem_type
        name = task.replace(" ", "_")
        validated = _values(steps, f"val/{name}/accuracy")
        if validated:
            found.append(
                Outcome(
                    task=task,
                    count=len(of_task[task]),
                    constant=best_constant(router, kind, of_task[task]),
                    before=validated[0],
                    after=validated[-1],
                    training=_binned(_values(steps, f"reward/{name}/accuracy")),
                )
            )
    return found


def answers_of(kind: Kind) -> list[str]:
    """Every right answer that a kind of question can have."""
    return list(dict.fromkeys(kind.draw(random.Random(0), turn, 4.0)[1] for turn in range(12)))


def best_constant(router: Router, kind: Kind, rows: Sequence[Record]) -> float:
    """The accuracy of the best answer that does not look at the video."""
    return max(fmean(accuracy(router, answer, row) for row in rows) for answer in answers_of(kind))


def accuracy(router: Router, answer: str, row: Record) -> float:
    """What a row's reward calls the accuracy of `answer`."""
    (verdict,) = router.score([RewardItem(response=f"<answer>{answer}</answer>", response_length=1, record=row)])
    if isinstance(verdict, NotScorable):
        raise SystemExit(f"{row.where}: {verdict.reason}")
    return verdict.parts["accuracy"]


def table(found: Sequence[Outcome]) -> list[str]:
    """Lines: a task each, with the curve of its training accuracy from blank (0) to @ (1)."""
    lines = [f"{'task':<27}{'n':>4}{'blind':>8}{'before':>8}{'after':>8}  {'while training':<{NUM_BINS}}"]
    for one in found:
        curve = "".join(LEVELS[min(9, int(value * 10))] for value in one.training)
        mark = "" if one.has_risen else "  (has not risen)"
        lines.append(
            f"{one.task:<27}{one.count:>4}{one.constant:>8.2f}{one.before:>8.2f}{one.after:>8.2f}  {curve}{mark}"
        )
    means = "".join(f"{fmean(getattr(one, name) for one in found):>8.2f}" for name in ("constant", "before", "after"))
    return [*lines, f"{'mean':<27}{sum(one.count for one in found):>4}{means}"]


def draw(steps: Log, found: Sequence[Outcome], image: Path) -> None:
    """A panel per task: sampled answers in training, greedy answers in validation, and the best blind answer."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import, and only needed here
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 8), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(3, -(-len(found) // 3), sharex=True, sharey=True, squeeze=False).flat
    for axes, one in zip(panels, found, strict=False):
        name = one.task.replace(" ", "_")
        for metric, style in ((f"reward/{name}/accuracy", "-"), (f"val/{name}/accuracy", "o-")):
            points = [(step, row[metric]) for step, row in steps.items() if metric in row]
            axes.plot(*zip(*points, strict=True), style, linewidth=1, markersize=3, label=metric.split("/")[0])
        axes.axhline(one.constant, color="grey", linestyle=":", label="blind")
        axes.set_title(one.task, fontsize=9)
        axes.set_ylim(-0.02, 1.05)
        axes.grid(alpha=0.3)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    image.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(image, dpi=110)


def _values(steps: Log, name: str) -> list[float]:
    return [row[name] for row in steps.values() if name in row]


def _binned(values: Sequence[float]) -> tuple[float, ...]:
    edges = [round(part * len(values) / NUM_BINS) for part in range(NUM_BINS + 1)]
    return tuple(fmean(values[start:end]) for start, end in itertools.pairwise(edges) if start < end)


def main() -> None:
    """Prints the table; with --picture it draws the curves."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--config", required=True, help="the YAML file of the training run")
    parser.add_argument("--picture", type=Path, help="picture of the curves to write, .png or .svg")
    arguments = parser.parse_args()
    config = load([f"config={arguments.config}"])
    found = outcomes(config)
    if arguments.picture is not None:
        draw(read_log(log_of(config)), found, arguments.picture)
    print("\n".join(["", *table(found)]))


if __name__ == "__main__":
    main()
