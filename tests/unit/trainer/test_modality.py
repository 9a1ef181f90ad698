# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Metrics by what a row is about."""

from __future__ import annotations

from dataclasses import replace

from tests import rows
from verl.tracking.metrics import merge, values
from verl.trainer.modality import by_modality, modality
from verl.trainer.summary import reward_metrics
from verl.trainer.validate import _metrics
from verl.types import ImageMetadata, ImageSpec, MediaRef, NotScorable, Prompt, Score, Scored, VideoSpec

PIXELS = ImageMetadata(height=32, width=32, source_height=32, source_width=32, orientation=1, resize="none")
SPECS = {"i": ImageSpec(min_pixels=1, max_pixels=9), "v": VideoSpec(fps=1, max_frames=4, min_pixels=1, max_pixels=9)}


def about(media: str) -> Prompt:
    """A prompt with an image for each i and a video for each v."""
    refs = [MediaRef(path=kind, spec=SPECS[kind], key=kind, entry=None, metadata=PIXELS) for kind in media]
    return replace(rows.prompt(media or "t"), media=tuple(refs))


def scored(media: str, overall: float | None, *, length: int = 3, **parts: float) -> Scored:
    trajectory = rows.trajectory(0, 0, of=about(media), num_tokens=length)
    verdict = NotScorable(reason="?") if overall is None else Score(overall=overall, parts=parts)
    return Scored(trajectory=trajectory, verdict=verdict)


SOME = [
    scored("v", 1.0, accuracy=0.5),
    scored("vv", 0.0, length=5, accuracy=0.0),
    scored("i", 0.25),
    scored("iv", None),
    scored("", 0.75, accuracy=1.0),
]


def test_media_decide_what_a_row_is_about():
    assert [modality(about(media)) for media in ("", "i", "ii", "v", "vi", "ivi")] == [
        "text",
        "image",
        "image",
        "video",
        "mixed",
        "mixed",
    ]


def test_each_modality_has_its_own_numbers_and_only_those_that_occur():
    assert values(by_modality("reward", SOME)) == {
        "reward/by_modality/image/accuracy": 0.25,
        "reward/by_modality/image/overall": 0.25,
        "reward/by_modality/image/response_length": 3,
        "reward/by_modality/image/responses": 1,
        "reward/by_modality/mixed/response_length": 3,
        "reward/by_modality/mixed/responses": 1,
        "reward/by_modality/text/accuracy": 1.0,
        "reward/by_modality/text/overall": 0.75,
        "reward/by_modality/text/response_length": 3,
        "reward/by_modality/text/responses": 1,
        "reward/by_modality/video/accuracy": 0.25,
        "reward/by_modality/video/overall": 0.5,
        "reward/by_modality/video/response_length": 4,
        "reward/by_modality/video/responses": 2,
    }
    assert by_modality("reward", []) == {}


def test_parts_of_a_step_add_up():
    assert merge([by_modality("val", SOME[:1]), by_modality("val", SOME[1:])]) == by_modality("val", SOME)


def test_training_and_validation_report_them():
    trained, validated = values(reward_metrics([SOME])), values(_metrics(SOME))
    for modality_, number in (("video", 0.5), ("image", 0.25), ("text", 0.75)):
        assert trained[f"reward/by_modality/{modality_}/overall"] == number
        assert validated[f"val/by_modality/{modality_}/overall"] == number
    assert validated["val/by_modality/mixed/responses"] == 1
