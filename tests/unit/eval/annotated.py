# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Rows of real annotations, and the media that tests pretend to have."""

from __future__ import annotations

import json
from pathlib import Path

from eval.benchmark import BENCHMARKS
from eval.item import EvalItem
from eval.runner import read_items
from tests.metadata import video_metadata
from verl.types import ImageMetadata

VECTORS = Path(__file__).parents[2] / "vectors"
ROWS = json.loads((VECTORS / "eval_structured_rows.json").read_text())
VIDEO = video_metadata((0, 30), 112, 196, fps=30, total_frames=60, source_height=360, source_width=640)
IMAGE = ImageMetadata(height=28, width=28, source_height=100, source_width=200, orientation=1, resize="bicubic")


SAMPLES = json.loads((VECTORS / "eval_official_rows.json").read_text())
CONVERTED = SAMPLES["converted"]  # in the form of EasyVideoR1's files, of which there are none for these
UNITS = ("_1000", "_1")  # endings of names of benchmarks that read the same files


def official_annotations(name: str, folder: Path) -> Path:
    """A folder of annotations in the official form, with what belongs beside it."""
    annotations = folder / "annotations"
    for place, content in SAMPLES["official"][_shared(name)].items():
        path = annotations / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return annotations


def official_items(name: str, folder: Path) -> tuple[EvalItem, ...]:
    """The items of a benchmark, of official rows."""
    return read_items(BENCHMARKS[name], official_annotations(name, folder))


def items_of(name: str, folder: Path, rows, file: str = "rows.json") -> tuple[EvalItem, ...]:
    """The items of a benchmark, of rows that are written to a file first."""
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows) if not isinstance(rows, str) else rows)
    return read_items(BENCHMARKS[name], path)


def _shared(name: str) -> str:
    return next((name.removesuffix(end) for end in UNITS if name.endswith(end)), name)
