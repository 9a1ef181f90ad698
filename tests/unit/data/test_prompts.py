# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.metadata import video_metadata
from verl.data.dataset import PromptDataset
from verl.data.lengths import fitting, measure
from verl.data.prompts import OverlongPromptError, PromptBuilder
from verl.data.templates import Template
from verl.errors import AlignmentError, DataError, MediaError
from verl.models.adapter import Expanded
from verl.types import (
    Grid,
    ImageMetadata,
    ImageSpec,
    MediaMetadata,
    MediaRef,
    Record,
    Tokens,
    VideoMetadata,
    VideoSpec,
)

SPEC = VideoSpec(fps=2.0, max_frames=8, min_pixels=1, max_pixels=1 << 20)


class FakeModel:
    """One token per character; a video is "#", which grows to one per frame, and an image "@", which is two."""

    def render(self, problem_text: str, num_videos: int, *, num_images: int = 0) -> str:
        if (problem_text.count("<video>"), problem_text.count("<image>")) != (num_videos, num_images):
            raise DataError(f"{num_videos} videos, {num_images} images")
        return problem_text.replace("<video>", "#").replace("<image>", "@")

    def encode(self, text: str) -> Tokens:
        return np.array([ord(letter) for letter in text], dtype=np.int32)

    def expand(self, collapsed: Tokens, media: Sequence[MediaMetadata]) -> Expanded:
        places = np.flatnonzero(np.isin(collapsed, [ord("#"), ord("@")]))
        if [isinstance(m, ImageMetadata) for m in media] != [token == ord("@") for token in collapsed[places]]:
            raise AlignmentError("placeholders")
        counts = np.ones(len(collapsed), int)
        grids = tuple(Grid(m.num_frames, 1, 1 if isinstance(m, VideoMetadata) else 2) for m in media)
        counts[places] = [grid.t * grid.w for grid in grids]
        return Expanded(ids=np.repeat(collapsed, counts), grids=grids)


class FakeVideos:
    """Videos whose name is their number of frames."""

    def __init__(self) -> None:
        self.measured: list[str] = []

    def measure(self, path: str) -> VideoMetadata:
        self.measured.append(path)
        name = Path(path).name
        if not name.isdigit():
            raise MediaError(f"{path}: cannot be read")
        return video_metadata(range(int(name)), 32, 32, fps=1.0)

    def ref(self, path: str) -> MediaRef:
        return MediaRef(path=path, spec=SPEC, key=path, entry=None, metadata=self.measure(path))


class FakeImages:
    """Images are what they are."""

    def measure(self, path: str) -> ImageMetadata:
        return ImageMetadata(height=32, width=64, source_height=32, source_width=64, orientation=1, resize="r")

    def ref(self, path: str) -> MediaRef:
        spec = ImageSpec(min_pixels=1, max_pixels=1 << 20)
        return MediaRef(path=path, spec=spec, key=path, entry=None, metadata=self.measure(path))


def record(problem: str, *videos: str, images: tuple[str, ...] = ()) -> Record:
    return Record(
        id=problem,
        where=f"r.jsonl:{problem}",
        problem=problem,
        answer="A",
        problem_type="",
        data_type="video" if videos else "text",
        videos=videos,
        images=images,
    )


@pytest.fixture
def builder(tmp_path):
    (tmp_path / "t.jinja").write_text("{{ problem }}")
    template = Template(str(tmp_path / "t.jinja"))
    return PromptBuilder(
        model=FakeModel(), template=template, videos=FakeVideos(), images=FakeImages(), max_prompt_length=10
    )


def test_a_prompt_is_collapsed_and_expanded(builder):
    prompt = builder.build(record("a<video>b<video>", "3", "2"))
    assert prompt.text == "a#b#"
    assert prompt.collapsed_ids.tolist() == [97, 35, 98, 35]
    assert prompt.ids.tolist() == [97, 35, 35, 35, 98, 35, 35]
    assert prompt.grids == (Grid(3, 1, 1), Grid(2, 1, 1))
    assert [ref.path for ref in prompt.media] == ["3", "2"]


def test_text_rows_have_no_media(builder):
    prompt = builder.build(record("ab"))
    assert (prompt.media, prompt.grids, len(prompt.ids)) == ((), (), 2)


def test_a_prompt_at_the_limit_passes_and_one_token_more_names_record_length_and_limit(builder):
    assert len(builder.build(record("<video>", "10")).ids) == 10
    with pytest.raises(OverlongPromptError, match=r"r\.jsonl:<video>: .* 11 tokens, data.max_prompt_length is 10"):
        builder.build(record("<video>", "11"))


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (record("<video>", "broken"), MediaError),
        (record("<video>"), DataError),
        (record("# without a video"), AlignmentError),
    ],
)
def test_an_error_keeps_its_kind_and_names_the_record(builder, bad: Record, kind: type[DataError]):
    with pytest.raises(kind) as error:
        builder.build(bad)
    assert type(error.value) is kind and str(error.value).startswith(bad.where)


def test_media_of_both_kinds_come_in_the_order_of_their_marks(builder):
    prompt = builder.build(record("<image>a<video><image>", "3", images=("i", "j")))
    assert prompt.text == "@a#@"
    assert [(ref.kind, ref.path) for ref in prompt.media] == [("image", "i"), ("video", "3"), ("image", "j")]
    assert prompt.grids == (Grid(1, 1, 2), Grid(3, 1, 1), Grid(1, 1, 2))
    assert prompt.ids.tolist() == [ord(letter) for letter in "@@a###@@"]


def test_the_length_of_a_prompt_is_known_without_building_it(builder):
    for row in (record("a<video>b<image>", "3", images=("i",)), record("ab"), record("<video>", "99")):
        assert builder.length(row) == builder.model.expand(*_collapsed(builder, row)).ids.size


def _collapsed(builder, row: Record):
    media = [builder.videos.measure(path) for path in row.videos] + [
        builder.images.measure(path) for path in row.images
    ]
    text = builder.model.render(row.problem, len(row.videos), num_images=len(row.images))
    return builder.model.encode(text), media


LONG = [record("a"), record("<video>", "11"), record("b"), record("<video>", "12")]


def test_the_filter_drops_overlong_prompts_only_and_names_them(builder, caplog):
    lengths = measure(LONG, builder, workers=2)
    with caplog.at_level(logging.WARNING):
        assert fitting(LONG, lengths, 10, drop=True) == [True, False, True, False]
    (message,) = caplog.messages
    assert message.startswith("2 of 4 rows are left out:\n")
    assert "r.jsonl:<video>: the prompt has 12 tokens, data.max_prompt_length is 10" in message


def test_without_the_filter_overlong_prompts_are_refused_before_anything_starts(builder):
    lengths = measure(LONG, builder, workers=2)
    with pytest.raises(DataError, match=r"^2 of 4 prompts are too long:(?s:.*)11 tokens(?s:.*)filter_overlong_prompts"):
        fitting(LONG, lengths, 10, drop=False)
    assert fitting(LONG, lengths, 12, drop=False) == [True] * 4


def test_a_filter_that_leaves_nothing_is_an_error(builder):
    with pytest.raises(DataError, match="1 of 1 prompts are too long"):
        fitting(LONG[1:2], [11], 10, drop=True)


def test_measuring_reads_a_shared_header_once_and_tells_what_cannot_be_read(builder):
    rows = [record(f"{letter}<video>", "3") for letter in "abcd"]
    assert measure(rows, builder, workers=1) == [4] * 4
    assert builder.videos.measured == ["3"]
    with pytest.raises(MediaError, match=r"r\.jsonl:<video>: broken: cannot be read"):
        measure([record("a"), record("<video>", "broken")], builder, workers=1)


def test_a_dataset_builds_prompts_by_row(builder):
    dataset = PromptDataset([record(letter) for letter in "abc"], builder)
    assert len(dataset) == 3 and dataset[1].text == "b" and dataset[-1].text == "c"
    assert [prompt.text for prompt in dataset[1:]] == ["b", "c"]
    assert [prompt.text for prompt in dataset] == ["a", "b", "c"]
    with pytest.raises(IndexError):
        dataset[3]
