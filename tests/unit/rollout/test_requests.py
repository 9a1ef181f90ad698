# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest

from tests.unit.rollout.builders import PLACEHOLDER, make_clip, make_image, make_image_ref, make_prompt
from verl.errors import AlignmentError
from verl.rollout.engine import SamplingPlan
from verl.rollout.requests import build_request, check_expansion, row_seed, sampling_arguments


def test_a_text_prompt_is_its_ids_and_nothing_else():
    assert build_request(make_prompt(), []) == {"prompt_token_ids": [1, 2]}


def test_a_video_prompt_carries_collapsed_ids_frames_metadata_and_keys():
    clips = [make_clip(), make_clip(num_frames=6)]
    request = build_request(make_prompt("a", "b"), clips)
    assert request["prompt_token_ids"] == [1, PLACEHOLDER, PLACEHOLDER, 2]
    assert request["multi_modal_uuids"] == {"video": ["a", "b"]}
    assert request["mm_processor_kwargs"] == {"do_resize": False, "do_sample_frames": False}
    (frames, metadata), _ = request["multi_modal_data"]["video"]
    assert frames.shape == (4, 32, 64, 3)
    assert np.array_equal(frames[2, 5, 7], clips[0].frames[2, :, 5, 7])
    assert metadata == {
        "fps": 30.0,
        "frames_indices": [0, 15, 30, 45],
        "total_num_frames": 90,
        "duration": 3.0,
        "video_backend": "test",
        "do_sample_frames": False,
    }


def test_images_are_pixels_and_keys_and_stand_beside_videos():
    clips = [make_image(), make_clip(), make_image(seed=2)]
    prompt = make_prompt("a", "b", "c")
    media = (make_image_ref("a"), prompt.media[1], make_image_ref("c"))
    request = build_request(replace(prompt, media=media), clips)
    assert request["multi_modal_uuids"] == {"image": ["a", "c"], "video": ["b"]}
    first, second = request["multi_modal_data"]["image"]
    assert first.shape == second.shape == (32, 64, 3)
    assert np.array_equal(second[5, 7], clips[2].frames[0, :, 5, 7])
    assert len(request["multi_modal_data"]["video"]) == 1
    assert request["mm_processor_kwargs"] == {"do_resize": False, "do_sample_frames": False}


def test_images_alone_are_not_told_about_frames():
    request = build_request(replace(make_prompt("a"), media=(make_image_ref("a"),)), [make_image()])
    assert request["mm_processor_kwargs"] == {"do_resize": False}
    assert set(request["multi_modal_data"]) == set(request["multi_modal_uuids"]) == {"image"}


def test_siblings_share_frames_and_never_index_lists():
    """Hugging Face's processor appends to the list it is given when the number of frames is odd."""
    clip = make_clip()
    first, second = (build_request(make_prompt("a"), [clip])["multi_modal_data"]["video"][0] for _ in "ab")
    assert np.shares_memory(first[0], second[0])
    first[1]["frames_indices"].append(99)
    assert second[1]["frames_indices"] == list(clip.metadata.frame_indices)


def test_every_row_has_its_own_seed_and_the_same_one_again():
    seeds = [row_seed(seed, group, i) for seed in (1, 2) for group in range(20) for i in range(20)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert row_seed(1, 2, 3) == 1138364116778193076


def test_without_a_seed_rows_get_none():
    assert sampling_arguments(SamplingPlan(seed=None), 0, 0)["seed"] is None
    assert sampling_arguments(SamplingPlan(seed=5), 3, 1)["seed"] == row_seed(5, 3, 1)


def test_a_group_is_n_requests_for_one_response_each():
    arguments = sampling_arguments(SamplingPlan(n=8, temperature=0.5, max_tokens=7), 0, 4)
    assert (arguments["n"], arguments["logprobs"], arguments["temperature"]) == (1, 0, 0.5)
    assert arguments["max_tokens"] == 7


def test_equal_expansions_pass():
    prompt = make_prompt("a")
    check_expansion(prompt, prompt.ids.copy())


@pytest.mark.parametrize(
    ("change", "where"),
    [(lambda ids: ids[:-2], 8), (lambda ids: np.append(ids, 5), 10), (lambda ids: ids + (ids > 104), 5)],
)
def test_another_expansion_names_row_and_position(change, where):
    prompt = make_prompt("a")
    with pytest.raises(AlignmentError, match=rf"rows.jsonl:3.*position {where}\."):
        check_expansion(replace(prompt), change(prompt.ids))
