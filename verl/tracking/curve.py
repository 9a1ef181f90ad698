# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Learning curves from the JSON lines of the file backend.

python -m verl.tracking.curve experiment_log.jsonl curve.png reward/overall val/reward_score
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from verl.errors import DataError

DEFAULT_METRICS = ("reward/overall", "reward/accuracy", "val/reward_score")


def read_log(path: Path) -> dict[int, dict[str, float]]:
    """Metrics per step, in step order; null values are left out. Raises DataError without any row."""
    steps: dict[int, dict[str, float]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        row = json.loads(line)
        step = steps.setdefault(row.pop("step"), {})
        step.update({name: value for name, value in row.items() if value is not None})
    if not steps:
        raise DataError(f"{path} has no metrics; add 'file' to trainer.logger and train a step")
    return dict(sorted(steps.items()))


def draw(log: Path, image: Path, metrics: Sequence[str] = DEFAULT_METRICS) -> None:
    """One curve per metric that the log has, in one picture (the format follows the suffix of `image`).

    Raises DataError when the log has none of them.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import, and only needed here
    from matplotlib.figure import Figure

    steps = read_log(log)
    curves = {name: [(step, row[name]) for step, row in steps.items() if name in row] for name in metrics}
    if not any(curves.values()):
        known = ", ".join(sorted({name for row in steps.values() for name in row}))
        raise DataError(f"{log} has none of {', '.join(metrics)} (it has: {known})")
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel="step")
    for name, points in curves.items():
        if points:
            axes.plot(*zip(*points, strict=True), marker="." if len(points) < 50 else None, label=name)
    axes.grid(alpha=0.3)
    axes.legend()
    image.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(image, dpi=120)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Draw learning curves.")
    parser.add_argument("log", type=Path, help="experiment_log.jsonl")
    parser.add_argument("image", type=Path, help="picture to write, .png or .svg")
    parser.add_argument("metrics", nargs="*", default=DEFAULT_METRICS, help="names, as in the log")
    given = parser.parse_args()
    draw(given.log, given.image, given.metrics)


if __name__ == "__main__":
    main()
