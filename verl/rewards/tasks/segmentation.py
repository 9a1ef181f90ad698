# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What to tell a segmenter: a box, three points on the object, three beside it, and in a video the moment."""

from __future__ import annotations

from typing import Any, ClassVar

from verl.errors import ConfigError
from verl.rewards.contract import UNREADABLE, Grade, Task, Wording, task
from verl.scoring.answers import unwrap_truth
from verl.scoring.boxes import box_iou, read_box
from verl.scoring.masks import read_region
from verl.scoring.objects import MAX_CHARS, read_number, read_value
from verl.scoring.points import SegmentationPrompt, Target, prompt_score, read_prompt
from verl.types import NotScorable, Record

_FORM = (
    'one bounding box, three points on the object and three points beside it, in the form {{"boxes": [x1, y1, x2, y2], '
    '"positive_points": [[x, y], [x, y], [x, y]], "negative_points": [[x, y], [x, y], [x, y]]{}}}'
)
_EXAMPLE = (
    '{{"boxes": [120, 80, 340, 260], "positive_points": [[200, 150], [260, 150], [230, 200]], '
    '"negative_points": [[90, 70], [360, 150], [230, 290]]{}}}'
)


@task("segmentation", "segmentation image", "segmentation video")
class Segmentation(Task[SegmentationPrompt | Target]):
    """Closeness of box, points and moment to those of the truth, or to a mask.

    A mask is the answer, its "mask" or "segmentation", or the row's field `mask`: COCO run lengths or polygons.
    `scale`, or "scale" beside it, is what width and height of run lengths are in the unit of answers; else pixels.
    """

    max_chars = MAX_CHARS
    bare_chars = MAX_CHARS
    words = Wording(
        form=_FORM.format(""), example=_EXAMPLE.format(""), approach="say how the target can be told from the rest"
    )
    video_words: ClassVar[Wording] = Wording(
        form="a time in seconds at which the object is clearly seen, and for that frame "
        + _FORM.format(', "time": seconds'),
        example=_EXAMPLE.format(', "time": 4.5'),
        approach="say when the target is seen best, and how it can be told from the rest",
    )

    def __init__(self, *, scale: float | None = None) -> None:
        if scale is not None and _read_scale(scale) is None:
            raise ConfigError(f"scale {scale!r}: the width of a mask in the unit of answers is a number above 0")
        self._scale = scale

    def wording(self, record: Record) -> Wording:
        """In a video the moment is asked for too."""
        return self.video_words if _is_video(record) else self.words

    def truth(self, record: Record) -> SegmentationPrompt | Target | NotScorable:
        """The right prompt, whose box must have an area, or the mask."""
        answer = unwrap_truth(record.answer)
        value, _ = read_value(answer)
        mask = _mask_of(value, record)
        if mask is not None:
            return self._target(mask, value if isinstance(value, dict) else {}, is_video=_is_video(record))
        prompt, _ = read_prompt(answer, is_video=_is_video(record))
        if prompt is None or prompt.box is None:
            time = ' and "time"' if _is_video(record) else ""
            return NotScorable(
                reason=f'the answer {record.answer!r:.200} needs "boxes" [x1, y1, x2, y2], three "positive_points", '
                f'three "negative_points"{time}; or a mask'
            )
        return prompt

    def grade(self, candidate: str, truth: SegmentationPrompt | Target, record: Record) -> Grade:
        """All of the form must be there; four numbers that are no box only lose the box's share."""
        prompt, is_typed = read_prompt(candidate, is_video=truth.time is not None)
        if prompt is None:
            return UNREADABLE
        return Grade(accuracy=prompt_score(prompt, truth), is_readable=True, is_typed=is_typed)

    def _target(self, mask: Any, value: dict[str, Any], *, is_video: bool) -> Target | NotScorable:
        scale = _read_scale(value["scale"]) if "scale" in value else self._scale
        region = None if "scale" in value and scale is None else read_region(read_value(mask)[0], scale)
        if region is None:
            return NotScorable(
                reason=f'the mask {mask!r:.200} is neither {{"size": [height, width], "counts": ...}} that adds up nor '
                "a list of polygons [x1, y1, x2, y2, x3, y3, ...], or it is empty, or its scale is no number above 0"
            )
        time = read_number(value.get("time"), allow_text=False) if is_video else None
        if is_video and time is None:
            return NotScorable(reason=f'the answer {value!r:.200} has a mask, but no "time" in seconds of its frame')
        box = read_box(value.get("boxes"))
        if box is not None and box_iou(box, region.box) < 0.5:
            return NotScorable(reason=f"the answer's box {box} is not that of its mask {region.box}; check `scale`")
        return Target(region=region, time=time)


def _read_scale(value: Any) -> float | None:
    number = read_number(value, allow_text=False)
    return number if number is not None and number > 0 else None


def _mask_of(value: Any, record: Record) -> Any:
    """The mask of a row, whatever it is worth; None when it has none."""
    if record.fields.get("mask") is not None:
        return record.fields["mask"]
    if not isinstance(value, dict):
        return value if isinstance(value, list) else None
    own = value if "counts" in value else None
    return value.get("mask", value.get("segmentation", own))


def _is_video(record: Record) -> bool:
    return record.data_type == "video"
