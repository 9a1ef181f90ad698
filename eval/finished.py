# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""A run that is over, read back from its folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.benchmark import BENCHMARKS, Benchmark
from eval.item import EvalItem
from eval.questions import Sight
from eval.store import Outcome, read_results
from verl.errors import DataError
from verl.media.fields import build
from verl.types import ImageSpec, VideoSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedRun:
    """Every item of a benchmark and what became of it, in the order of the annotations."""

    benchmark: Benchmark
    items: tuple[EvalItem, ...]
    outcomes: tuple[Outcome, ...]
    sight: Sight
    manifest: dict[str, Any]
    folder: Path

    @property
    def name(self) -> str:
        """What tells runs of one benchmark apart: the model's folder and how it was asked."""
        blind = ", blind" if self.manifest["blind"] else ""
        path = Path(self.manifest["model"]["path"])
        model = path.parents[1].name.removeprefix("models--") if path.parent.name == "snapshots" else path.name
        return f"{model} ({self.manifest['style']}{blind})"


def read_run(folder: Path) -> FinishedRun:
    """The run in `folder`. Raises DataError when it is none, or not finished."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        where = json.loads((folder / "where.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} is not the folder of a run: {error}") from error
    benchmark = BENCHMARKS.resolve(where["benchmark"])
    items = tuple(benchmark.read(Path(where["annotations"])))[: manifest["limit"]]
    outcomes = tuple(read_results(folder / "results.jsonl"))
    if [item.id for item in items] != [outcome.id for outcome in outcomes]:
        raise DataError(f"{folder}: its results are not those of {where['annotations']}; start the run again")
    return FinishedRun(
        benchmark=benchmark,
        items=items,
        outcomes=outcomes,
        sight=Sight(
            folder=Path(where["media"]),
            cache_dir=Path(where["cache"]),
            spec=build(VideoSpec, manifest["video"]),
            image_spec=build(ImageSpec, manifest["image"]),
        ),
        manifest=manifest,
        folder=folder,
    )


def find_runs(root: Path) -> list[Path]:
    """Folders of finished runs under `root`, or `root` itself, in the order of their names."""
    return sorted(path.parent for path in root.rglob("results.jsonl"))
