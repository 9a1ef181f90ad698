# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
import importlib
from dataclasses import replace
from pathlib import Path

import pytest

from examples.quickstart.make_videos import JOINT, Recipe, write_dataset
from examples.quickstart.warm_up import IMAGE, VIDEO, FormBatches, WarmUp
from tests.world import tiny_model, tiny_rows
from verl.config.load import load
from verl.config.plan import image_spec, video_spec
from verl.config.trainer import Config
from verl.data.dataset import PromptDataset, build_dataset
from verl.models.adapter import load_adapter
from verl.rewards.router import validate_answer
from verl.trainer.modality import modality

ROOT = Path(__file__).parents[3]
JOINT_RECIPE = Recipe(kinds={"colour": 1.0}, train=len(JOINT), val=1, media=JOINT)


@pytest.fixture(scope="module")
def config() -> Config:
    return load([f"config={ROOT / 'examples/quickstart/quickstart.yaml'}"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("world")
    tiny_model(directory / "model")
    tiny_rows(directory, 8)
    return directory


@pytest.fixture(scope="module")
def prompts(config: Config, world: Path) -> PromptDataset:
    data = replace(
        config.data,
        train_files=(str(world / "train.jsonl"),),
        video_dir=str(world),
        preprocessed_video_dir=None,
        video_source_mode="realtime_only",
        format_prompt=str(ROOT / "examples/quickstart/prompt.jinja"),
    )
    return build_dataset(data, load_adapter(str(world / "model")), train=True, check_answer=validate_answer)


def test_warm_up_sees_the_frames_that_training_sees(config: Config) -> None:
    assert video_spec(config.data, VIDEO.align, train=True) == VIDEO
    assert video_spec(config.data, VIDEO.align, train=False) == VIDEO


def test_warm_up_and_training_word_a_question_alike(world: Path, prompts: PromptDataset) -> None:
    batches = FormBatches(world / "model", world, WarmUp())
    assert [batches.prompt(prompt.record.fields) for prompt in prompts] == [prompt.text for prompt in prompts]


def test_prompts_fit_and_carry_eight_frames(config: Config, prompts: PromptDataset) -> None:
    assert {len(prompt.ids) for prompt in prompts} == {88}
    assert {prompt.media[0].metadata.num_frames for prompt in prompts} == {8}
    assert config.data.max_prompt_length >= 88


@pytest.mark.parametrize("file", sorted((ROOT / "examples" / "quickstart").glob("*.py")), ids=lambda file: file.stem)
def test_every_stage_finds_what_it_imports(file: Path) -> None:
    importlib.import_module(f"examples.quickstart.{file.stem}")


def test_the_variant_with_all_kinds_sees_the_same_frames(config: Config) -> None:
    variant = load([f"config={ROOT / 'examples/quickstart/all_kinds.yaml'}"])
    assert video_spec(variant.data, VIDEO.align, train=True) == VIDEO
    assert variant.worker.actor.global_batch_size == variant.data.rollout_batch_size
    assert variant.data.format_prompt == config.data.format_prompt


def test_the_optimizer_steps_once_per_training_step(config: Config) -> None:
    assert config.worker.actor.global_batch_size == config.data.rollout_batch_size


def test_the_joint_variant_sees_what_its_warm_up_saw_in_the_same_words(tmp_path: Path) -> None:
    variant = load([f"config={ROOT / 'examples/quickstart/joint.yaml'}"])
    assert video_spec(variant.data, VIDEO.align, train=True) == VIDEO
    for train in (True, False):
        assert image_spec(variant.data, IMAGE.align, train=train) == IMAGE
    assert variant.worker.actor.global_batch_size == variant.data.rollout_batch_size
    tiny_model(tmp_path / "model")
    write_dataset(tmp_path, JOINT_RECIPE)
    data = replace(
        variant.data,
        train_files=(str(tmp_path / "train.jsonl"),),
        video_dir=str(tmp_path),
        image_dir=str(tmp_path),
        preprocessed_video_dir=None,
        video_source_mode="realtime_only",
        format_prompt=str(ROOT / "examples/quickstart/prompt.jinja"),
    )
    prompts = build_dataset(data, load_adapter(str(tmp_path / "model")), train=True, check_answer=validate_answer)
    assert [modality(prompt) for prompt in prompts] == list(JOINT)
    assert max(len(prompt.ids) for prompt in prompts) <= variant.data.max_prompt_length
    batches = FormBatches(tmp_path / "model", tmp_path, WarmUp())
    assert [batches.prompt(prompt.record.fields) for prompt in prompts] == [prompt.text for prompt in prompts]
