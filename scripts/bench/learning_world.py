# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What the runs of `scripts.bench.learning` train on: the quickstart's videos and policy, and a sparse variant.

In the sparse variant questions and videos are the same, but the policy has been taught to name one of 26 letters where
four are options, so that it is right once in seventy times. Its training rows carry the right answer as a response.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from string import ascii_uppercase

from examples.quickstart.warm_up import FormBatches, Row, WarmUp, warm_up
from scripts.bench.learning_cases import SPARSE, WORLD

RARE = "ABCD" + 3 * ascii_uppercase[4:]  # 4 in 70 are options, and one of the four is right
MODULES = {  # as in scripts/quickstart.sh
    "make_videos": ("--directory", WORLD / "data"),
    "make_model": ("--directory", WORLD / "random"),
    "warm_up": ("--model", WORLD / "random", "--data", WORLD / "data", "--output", WORLD / "model"),
}
VIDEOS = ("--video_fps", 2, "--video_max_frames", 8, "--video_min_pixels", 4096, "--video_max_pixels", 4096)


@dataclass(frozen=True, slots=True, kw_only=True)
class RareWarmUp(WarmUp):
    """How long, and what is said."""

    answers: str = RARE


class RareForm(FormBatches):
    """Answers in the right form that are seldom one of the options."""

    settings: RareWarmUp

    def random_answer(self, row: Row) -> str:
        """See FormBatches."""
        return self.rng.choice(self.settings.answers)


def make_world() -> None:
    """The quickstart's videos, models and cache; what is there is reused."""
    for module, arguments in MODULES.items():
        _python(f"examples.quickstart.{module}", *arguments)
    for split in ("train", "val"):
        rows, done = WORLD / "data" / f"{split}.jsonl", WORLD / "data" / f"{split}.preprocessed.jsonl"
        folders = ("--image_dir", WORLD / "data", "--output_dir", WORLD / "cache", "--workers", 1)
        files = ("--input_file", rows, "--output_file", done)
        _python("scripts.preprocess_videos", *files, *folders, *VIDEOS)


def make_sparse() -> None:
    """The sparse variant's policy and training rows."""
    warm_up(WORLD / "random", WORLD / "data", SPARSE / "model", RareWarmUp(), RareForm)
    rows = [json.loads(line) for line in (WORLD / "data" / "train.jsonl").read_text().splitlines()]
    (SPARSE / "train.jsonl").write_text("".join(json.dumps(with_answer(row)) + "\n" for row in rows))


def with_answer(row: Row) -> Row:
    """The row with a right response of its own."""
    return {**row, "offline_output": f"<answer>{row['answer']}</answer>"}


def _python(module: str, *arguments: object) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-m", module, *map(str, arguments)], check=True, env=environment)
