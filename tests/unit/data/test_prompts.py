# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from verl.data.dataset import PromptDataset, without_overlong
from verl.data.prompts import OverlongPromptError, PromptBuilder
from verl.data.templates import Template
from verl.errors import AlignmentError, DataError, MediaError
from verl.models.adapter import Expanded
from verl.types import Grid, MediaRef, Record, Tokens, VideoMetadata, VideoSpec

SPEC = VideoSpec(fps=2.0, max_frames=8, min_pixels=1, max_pixels=1 << 20)
PLACEHOLDER = ord("#")


class FakeModel:
    """One token per character; a video is "#", which grows to one per frame."""

    def render(self, problem_text: str, num_videos: int) -> str:
        if problem_text.count("<video>") != num_videos:
            raise DataError(f"{num_videos} videos")
        return problem_text.replace("<video>", "#")

    def encode(self, text: str) -> Tokens:
        return np.array([ord(letter) for letter in text], dtype=np.int32)

    def expand(self, collapsed: Tokens, clips: Sequence[VideoMetadata]) -> Expanded:
        if (collapsed == PLACEHOLDER).sum() != len(clips):
            raise AlignmentError("placeholders")
        counts = np.ones(len(collapsed), int)
        counts[collapsed == PLACEHOLDER] = [clip.num_frames for clip in clips]
        return Expanded(ids=np.repeat(collapsed, counts), grids=tuple(Grid(c.num_frames, 1, 1) for c in clips))


class FakeClips:
    """Videos whose name is their number of frames."""

    def ref(self, path: str) -> MediaRef:
        name = Path(path).name
        if not name.isdigit():
            raise MediaError(f"{path}: cannot be read")
        frames = tuple(range(int(name)))
        metadata = VideoMetadata(
            source_fps=1.0,
            frame_indices=frames,
            timestamps=tuple(map(float, frames)),
            total_frames=len(frames),
            duration=float(len(frames)),
            height=32,
            width=32,
            source_height=32,
            source_width=32,
            rotation=0,
            sampler="s",
            decoder="d",
            resize="r",
        )
        return MediaRef(path=path, spec=SPEC, key=path, entry=None, metadata=metadata)


def record(problem: str, *videos: str) -> Record:
    return Record(
        id=problem,
        where=f"r.jsonl:{problem}",
        problem=problem,
        answer="A",
        problem_type="",
        data_type="video" if videos else "text",
        videos=videos,
    )


@pytest.fixture
def builder(tmp_path):
    (tmp_path / "t.jinja").write_text("{{ problem }}")
    template = Template(str(tmp_path / "t.jinja"))
    return PromptBuilder(model=FakeModel(), template=template, clips=FakeClips(), max_prompt_length=10)


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


def test_the_filter_drops_overlong_prompts_only_and_counts_them(builder, caplog):
    records = [record("a"), record("<video>", "11"), record("b"), record("<video>", "12")]
    with caplog.at_level(logging.WARNING):
        kept = without_overlong(records, builder, workers=2)
    assert [r.problem for r in kept] == ["a", "b"]
    assert any("2 of 4 rows are left out" in line for line in caplog.messages)
    with pytest.raises(MediaError):
        without_overlong([*records, record("<video>", "broken")], builder, workers=2)


def test_a_filter_that_leaves_nothing_is_an_error(builder):
    with pytest.raises(DataError, match="all 1 prompts have more than"):
        without_overlong([record("<video>", "11")], builder, workers=1)


def test_a_dataset_builds_prompts_by_row(builder):
    dataset = PromptDataset([record(letter) for letter in "abc"], builder)
    assert len(dataset) == 3 and dataset[1].text == "b" and dataset[-1].text == "c"
    assert [prompt.text for prompt in dataset[1:]] == ["b", "c"]
    assert [prompt.text for prompt in dataset] == ["a", "b", "c"]
    with pytest.raises(IndexError):
        dataset[3]
