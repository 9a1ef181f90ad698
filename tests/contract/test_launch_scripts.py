# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What the launch scripts ask the trainer for: a stand-in for Python writes down its arguments."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from verl.config.load import load
from verl.config.plan import image_spec, video_spec
from verl.config.trainer import Config

ROOT = Path(__file__).parents[2]
SCRIPTS = {
    "video_rl": ROOT / "examples/video_rl/run_video_rl.sh",
    "unified_rl": ROOT / "examples/unified_rl/run_unified_rl.sh",
}
GIVEN = {
    "TRAIN_DATA": "[videos.jsonl,images.jsonl]",
    "VAL_DATA": "val.jsonl",
    "MODEL_PATH": "some/model",
    "EXPERIMENT_NAME": "mine",
    "SAVE_CHECKPOINT_PATH": "there",
    "NPROC_PER_NODE": "4",
}


def launched(script: Path, folder: Path, *arguments: str, **environment: str) -> Config:
    """The configuration of the run that the script starts."""
    stand_in = folder / "python"
    stand_in.write_text(f'#!/bin/bash\nif [ "$1" = -m ]; then shift 2; printf "%s\\n" "$@" >{folder}/arguments; fi\n')
    stand_in.chmod(0o755)
    given = {"PYTHON": str(stand_in), "PATH": os.environ["PATH"], "HOME": str(folder), **environment}
    subprocess.run(["bash", str(script), *arguments], env=given, check=True, timeout=60)
    return load((folder / "arguments").read_text().splitlines())


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_starts_its_own_recipe(name: str, tmp_path: Path):
    config = launched(SCRIPTS[name], tmp_path)
    assert config.trainer.project_name == name
    assert (config.trainer.nnodes, config.worker.actor.model.model_path) == (1, "Qwen/Qwen3-VL-8B-Instruct")


@pytest.mark.parametrize("name", SCRIPTS)
def test_environment_and_arguments_reach_the_run(name: str, tmp_path: Path):
    config = launched(SCRIPTS[name], tmp_path, "trainer.max_steps=3", "data.image_max_pixels=12345", **GIVEN)
    assert config.data.train_files == ("videos.jsonl", "images.jsonl")
    assert config.data.val_files == ("val.jsonl",)
    assert config.worker.actor.model.model_path == "some/model"
    assert (config.trainer.experiment_name, config.trainer.save_checkpoint_path) == ("mine", "there")
    assert (config.trainer.n_gpus_per_node, config.trainer.max_steps) == (4, 3)
    assert config.data.image_max_pixels == 12345


def test_the_joint_recipe_has_a_budget_for_each_medium():
    data = load([f"config={ROOT / 'examples/unified_rl/unified_rl.yaml'}"]).data
    for train in (True, False):
        assert video_spec(data, 32, train=train).max_pixels == 262144
        assert image_spec(data, 32, train=train).max_pixels == 1048576
