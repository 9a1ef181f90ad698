# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Prompts with images, and with images and videos: ids, grids, positions, pixels and features of transformers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText

from tests.unit.models.clips import SHAPES, clip, for_transformers
from verl.errors import AlignmentError, DataError
from verl.models.adapter import ModelAdapter, PackedRow
from verl.models.segments import plain_segments
from verl.types import ImageClip, ImageMetadata, MediaClip, VideoClip

IMAGE_KIND, VIDEO_KIND = 1, 2  # transformers' numbers
SIZES = ((32, 32), (64, 96), (96, 32), (128, 160))


def image(height: int, width: int, seed: int = 0) -> ImageClip:
    """Noise."""
    pixels = np.random.default_rng([height, width, seed]).integers(0, 256, (1, 3, height, width), np.uint8)
    metadata = ImageMetadata(
        height=height, width=width, source_height=height, source_width=width, orientation=1, resize="none"
    )
    return ImageClip(frames=pixels, metadata=metadata)


IMAGE, WIDE = image(64, 96), image(32, 128)
VIDEO, SHORT = clip(SHAPES[1]), clip(SHAPES[3])
PROMPTS: dict[str, tuple[str, tuple[MediaClip, ...]]] = {
    "one image": ("<image>What is it?", (IMAGE,)),
    "two images": ("<image> or <image>?", (IMAGE, WIDE)),
    "adjacent images": ("<image><image>Compare.", (WIDE, IMAGE)),
    "image, video": ("Is <image> in <video>?", (IMAGE, VIDEO)),
    "video, image, video, image": ("<video><image> then <video>, <image>", (VIDEO, WIDE, SHORT, IMAGE)),
}
EACH = pytest.mark.parametrize("name", PROMPTS)


def processed(processor, text: str, media: Sequence[MediaClip]):
    """What transformers' processor makes of a prompt when it may neither resize nor sample."""
    images = [torch.from_numpy(each.frames[0]) for each in media if isinstance(each, ImageClip)]
    videos = [each for each in media if isinstance(each, VideoClip)]
    given = {"images": images, "videos": [torch.from_numpy(each.frames) for each in videos]}
    return processor(
        text=[text],
        **{kind: each for kind, each in given.items() if each},
        **({"video_metadata": [for_transformers(each.metadata) for each in videos]} if videos else {}),
        do_resize=False,
        do_sample_frames=False,
        return_tensors="pt",
    )


def rendered(adapter: ModelAdapter, name: str) -> tuple[str, tuple[MediaClip, ...]]:
    problem, media = PROMPTS[name]
    num_images = sum(isinstance(each, ImageClip) for each in media)
    return adapter.render(problem, len(media) - num_images, num_images=num_images), media


def in_order(media: Sequence[MediaClip], images: Sequence, videos: Sequence) -> list:
    """What belongs to each medium, from one list for images and one for videos."""
    queues = {ImageClip: iter(images), VideoClip: iter(videos)}
    return [next(queues[type(each)]) for each in media]


def kinds(adapter: ModelAdapter, ids: torch.Tensor) -> torch.Tensor:
    config = adapter.config
    return torch.where(ids == config.image_token_id, IMAGE_KIND, 0) + torch.where(
        ids == config.video_token_id, VIDEO_KIND, 0
    )


@EACH
def test_ids_and_grids_equal_the_processors(adapter: ModelAdapter, processor, name: str) -> None:
    text, media = rendered(adapter, name)
    ours = adapter.expand(adapter.encode(text), [each.metadata for each in media])
    theirs = processed(processor, text, media)
    assert ours.ids.tolist() == theirs["input_ids"][0].tolist()
    grids = in_order(media, theirs.get("image_grid_thw", ()), theirs.get("video_grid_thw", ()))
    assert [list(grid) for grid in ours.grids] == [grid.tolist() for grid in grids]
    assert len(adapter.visual_index(ours.ids, ours.grids)) == (kinds(adapter, theirs["input_ids"]) > 0).sum()


@EACH
def test_positions_equal_transformers(adapter: ModelAdapter, processor, name: str) -> None:
    from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLModel

    text, media = rendered(adapter, name)
    ours = adapter.expand(adapter.encode(text), [each.metadata for each in media])
    theirs = processed(processor, text, media)
    with torch.device("meta"):
        model = Qwen3VLModel(adapter.config)
    ids = theirs["input_ids"]
    positions, _ = model.get_rope_index(
        ids,
        kinds(adapter, ids),
        image_grid_thw=theirs.get("image_grid_thw"),
        video_grid_thw=theirs.get("video_grid_thw"),
    )
    assert adapter.positions(ours.ids, ours.grids)[1:].tolist() == positions[:, 0].tolist()


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_patches_equal_the_processors_to_the_last_bit(adapter: ModelAdapter, processor, size: tuple[int, int]) -> None:
    made = image(*size)
    ours = adapter.patches(made)
    theirs = processor.image_processor([torch.from_numpy(made.frames[0])], do_resize=False, return_tensors="pt")
    assert [list(ours.grid)] == theirs["image_grid_thw"].tolist()
    assert torch.equal(ours.normalised(torch.float32), theirs["pixel_values"])


@EACH
@torch.no_grad()
def test_hidden_states_equal_the_stock_model_s(adapter: ModelAdapter, processor, vision_folder, name: str) -> None:
    text, media = rendered(adapter, name)
    prompt = adapter.expand(adapter.encode(text), [each.metadata for each in media])
    row = PackedRow(
        ids=torch.from_numpy(prompt.ids.astype(np.int64)),
        positions=torch.from_numpy(adapter.positions(prompt.ids, prompt.grids)),
        segments=plain_segments([len(prompt.ids)]),
        media=tuple(adapter.patches(each) for each in media),
        slots=tuple(range(len(media))),
        visual_index=torch.from_numpy(adapter.visual_index(prompt.ids, prompt.grids)),
    )
    stock = AutoModelForImageTextToText.from_pretrained(
        vision_folder, dtype=torch.float32, attn_implementation="eager", local_files_only=True
    )
    expected = stock.model(**processed(processor, text, media), use_cache=False).last_hidden_state[0]
    hidden = adapter.hidden_states(adapter.build(torch.float32), row)
    torch.testing.assert_close(hidden, expected, rtol=0, atol=1e-5)


def test_media_in_another_order_than_their_tokens_are_refused(adapter: ModelAdapter) -> None:
    text, media = rendered(adapter, "image, video")
    collapsed = adapter.encode(text)
    with pytest.raises(AlignmentError, match="another order"):
        adapter.expand(collapsed, [each.metadata for each in reversed(media)])
    with pytest.raises(AlignmentError, match="1 image tokens for 2 images"):
        adapter.expand(collapsed, [IMAGE.metadata, VIDEO.metadata, WIDE.metadata])
    with pytest.raises(AlignmentError, match="1 video tokens for 0 videos"):
        adapter.expand(collapsed, [IMAGE.metadata])


def test_marks_and_images_must_agree(adapter: ModelAdapter, text_adapter: ModelAdapter) -> None:
    with pytest.raises(DataError, match="1 <image> marks for 0 images"):
        adapter.render("<image>", 0)
    with pytest.raises(DataError, match="0 <image> marks for 1 images"):
        adapter.render("<video>", 1, num_images=1)
    with pytest.raises(AlignmentError, match="text only"):
        text_adapter.expand(text_adapter.encode("hello"), [IMAGE.metadata])


def test_an_image_that_cannot_be_cut_evenly_is_refused(adapter: ModelAdapter) -> None:
    with pytest.raises(AlignmentError, match="align=32"):
        adapter.grid(image(48, 64).metadata)
