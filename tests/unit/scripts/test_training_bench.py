# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The training bench without its run: what it would be told, and what is told of it."""

from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForImageTextToText

from scripts.bench.coin_reward import score
from scripts.bench.training import CONFIG, SIZES, make_model, report, settings_of, sizes_of
from verl.config.checks import check
from verl.config.load import load
from verl.models.adapter import override

ROOT = Path(__file__).parents[3]
PUBLISHED = {"2B": 2.1e9, "4B": 4.4e9, "8B": 8.8e9}  # weights


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    make_model(folder / "model", None)
    (folder / "data").mkdir()
    (folder / "data" / "train.jsonl").touch()
    return folder


@pytest.mark.parametrize("gpus", [0, 1, 8])
def test_the_configuration_is_one(gpus: int, folder: Path) -> None:
    config = load([f"config={CONFIG}", *(f"{key}={value}" for key, value in settings_of(folder, gpus).items())])
    check(config)
    assert config.trainer.device == ("cuda" if gpus else "cpu")
    assert config.worker.rollout.dtype == config.worker.actor.fsdp.mp_param_dtype == ("bf16" if gpus else "fp32")
    assert not gpus or config.trainer.n_gpus_per_node == gpus


@pytest.mark.parametrize("size", SIZES)
def test_models_are_as_large_as_their_names_say(size: str, folder: Path) -> None:
    config = override(AutoConfig.from_pretrained(folder / "model"), sizes_of(*SIZES[size][:-1]))
    config.tie_word_embeddings = config.text_config.tie_word_embeddings = SIZES[size][-1]
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
    assert sum(weight.numel() for weight in model.parameters()) == pytest.approx(PUBLISHED[size], rel=0.02)


def test_a_column_is_a_training_step_and_what_a_device_does_not_tell_is_left_open() -> None:
    trained = {"rollout/logprob_gap_mean": 4.2e-3, "perf/throughput": 1234.5, "timing_s/step": 2.0}
    log = {
        0: {"val/reward_score": 0.5},
        1: {**trained, "perf/memory_after_sleep_gb": 30.26, "timing_s/gen": 1.5},
        2: {**trained, "timing_s/save_checkpoint": 0.125},
    }
    lines = report(log)
    assert lines[:2] == ["| step | 1 | 2 |", "|---|---|---|"]
    assert "| log-prob gap, mean | 4.2e-03 | 4.2e-03 |" in lines
    assert "| GiB in use while they sleep | 30.3 | - |" in lines
    assert "| model-FLOPs utilisation of the update | - | - |" in lines
    assert "| seconds: save_checkpoint | - | 0.12 |" in lines
    assert not any("val" in line for line in lines)


def test_siblings_seldom_all_get_the_same_coin() -> None:
    scores = [one["overall"] for one in score([{"response": f"answer {number}"} for number in range(64)])]
    assert set(scores) == {0.0, 1.0}
    assert 16 < sum(scores) < 48
