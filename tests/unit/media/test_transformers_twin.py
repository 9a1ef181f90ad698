# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
import av
import numpy as np
import pytest
import torch

from verl.media.decode import decode

transformers = pytest.importorskip("transformers")


def test_frames_equal_those_that_transformers_makes_with_its_own_resize(video, spec):
    clip = decode(str(video), spec)
    with av.open(str(video)) as container:
        every = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    full_size = torch.from_numpy(np.stack([every[index] for index in clip.metadata.frame_indices])).permute(0, 3, 1, 2)
    assert full_size.shape[-2:] != clip.frames.shape[-2:]
    count = len(full_size)
    processor = transformers.models.qwen3_vl.Qwen3VLVideoProcessor(
        size={"shortest_edge": spec.min_pixels * count, "longest_edge": spec.max_pixels * count}
    )
    options = {"do_sample_frames": False, "do_rescale": False, "do_normalize": False, "return_tensors": "pt"}
    theirs = processor([full_size], do_resize=True, **options)
    ours = processor([torch.from_numpy(clip.frames)], do_resize=False, **options)
    assert torch.equal(theirs["video_grid_thw"], ours["video_grid_thw"])
    assert torch.equal(theirs["pixel_values_videos"], ours["pixel_values_videos"])
