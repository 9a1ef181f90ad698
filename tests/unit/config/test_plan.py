# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from verl.config.load import load
from verl.config.plan import Plan, image_spec, num_training_steps, video_spec
from verl.config.trainer import Config
from verl.errors import ConfigError


def test_a_plan_counts_prompts_responses_and_updates():
    config = load(["data.rollout_batch_size=12", "worker.actor.global_batch_size=4", "worker.rollout.n=3"])
    plan = Plan.of(config, world_size=8, device="cuda")
    assert (plan.num_prompts_per_step, plan.rows_per_step) == (12, 36)
    assert (plan.updates_per_step, plan.groups_per_update, plan.rows_per_update) == (3, 4, 12)


def test_the_token_budget_falls_back_to_full_length_rows():
    lengths = ["data.max_prompt_length=100", "data.max_response_length=20"]
    micro = ["worker.actor.micro_batch_size_per_device_for_update=2"]
    micro += ["worker.actor.micro_batch_size_per_device_for_experience=5"]
    plan = Plan.of(load([*lengths, *micro]), 1, "cpu")
    assert (plan.token_budget_update, plan.token_budget_experience, plan.max_model_len) == (240, 600, 120)
    plan = Plan.of(load([*lengths, *micro, "worker.actor.max_token_len_per_gpu=500"]), 1, "cpu")
    assert (plan.token_budget_update, plan.token_budget_experience) == (500, 500)


@pytest.mark.parametrize(
    ("arguments", "device", "num_servers"),
    [
        (["worker.rollout.tensor_parallel_size=2"], "cuda", 4),
        (["worker.rollout.tensor_parallel_size=2"], "cpu", 1),
        (["worker.rollout.num_servers=3"], "cuda", 3),
        (["worker.rollout.num_servers=3"], "cpu", 3),
        (["trainer.device=cpu"], None, 1),
    ],
)
def test_engines_fill_the_devices_unless_counted(arguments: list[str], device: str | None, num_servers: int):
    assert Plan.of(load(arguments), 8, device).num_servers == num_servers


def test_more_engines_than_devices_are_refused():
    arguments = ["worker.rollout.num_servers=3", "worker.rollout.tensor_parallel_size=2"]
    with pytest.raises(ConfigError, match="num_servers=3: 4 devices have room for 2 engines"):
        Plan.of(load(arguments), 4, "cuda")


def test_auto_is_no_device_to_plan_for():
    with pytest.raises(ValueError, match="auto"):
        Plan.of(Config(), 8)


def test_an_incomplete_batch_makes_no_step():
    config = load(["data.rollout_batch_size=4", "trainer.total_epochs=3"])
    assert num_training_steps(config, 11) == 6
    assert num_training_steps(load(["trainer.max_steps=5"]), 11) == 5


def test_pixel_limits_fall_back_key_by_key():
    spec = video_spec(load(["data.min_pixels=10", "data.video_max_pixels=50"]).data, 32, train=True)
    assert (spec.min_pixels, spec.max_pixels, spec.align) == (10, 50, 32)
    spec = video_spec(Config().data, 28, train=True)
    assert (spec.min_pixels, spec.max_pixels, spec.align) == (262144, 4194304, 28)
    spec = video_spec(load(["data.min_pixels=null", "data.max_pixels=null"]).data, 28, train=True)
    assert (spec.min_pixels, spec.max_pixels) == (4 * 28 * 28, 64 * 28 * 28)


def test_validation_reads_videos_as_training_does_unless_told_otherwise():
    config = load(["data.val_video_fps=1", "data.val_video_total_pixels=999", "data.video_max_frames=16"]).data
    train, val = (video_spec(config, 32, train=which) for which in (True, False))
    assert (train.fps, train.total_pixels, train.max_frames) == (2.0, None, 16)
    assert (val.fps, val.total_pixels, val.max_frames) == (1.0, 999, 16)
    assert video_spec(Config().data, 32, train=True) == video_spec(Config().data, 32, train=False)


def test_images_have_limits_of_their_own_that_fall_back_key_by_key():
    arguments = ["data.min_pixels=10", "data.image_max_pixels=50", "data.video_max_pixels=70"]
    spec = image_spec(load(arguments).data, 28, train=True)
    assert (spec.min_pixels, spec.max_pixels, spec.align) == (10, 50, 28)
    spec = image_spec(load(["data.min_pixels=null", "data.max_pixels=null"]).data, 32, train=True)
    assert (spec.min_pixels, spec.max_pixels) == (4 * 32 * 32, 64 * 32 * 32)


def test_validation_reads_images_as_training_does_unless_told_otherwise():
    config = load(["data.image_max_pixels=999999", "data.val_image_min_pixels=300000"]).data
    train, val = (image_spec(config, 32, train=which) for which in (True, False))
    assert (train.min_pixels, train.max_pixels) == (262144, 999999)
    assert (val.min_pixels, val.max_pixels) == (300000, 999999)
