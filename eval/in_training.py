# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Benchmarks for a policy that is being trained: the trainer generates, this words and grades.

The trainer finds it by file and name (`verl.trainer.benchmarks`), so that training does not depend on evaluation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from eval.benchmark import BENCHMARKS, STYLES, Style
from eval.grading import official_grade, sized
from eval.item import WRONG, EvalItem, Graded
from eval.options import DEFAULT_MAX_TOKENS, locate
from eval.questions import Questions, Sight
from eval.runner import read_items
from verl.errors import ConfigError, DataError
from verl.media.build import BuildOptions, build
from verl.models.adapter import ModelAdapter
from verl.types import ImageSpec, Prompt, VideoSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a run says about its benchmarks."""

    names: tuple[str, ...]
    data_root: str
    cache_dir: str
    style: str
    limit: int | None
    decode_workers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How the policy sees media, and how long a prompt may be."""

    adapter: ModelAdapter
    video: VideoSpec
    image: ImageSpec
    max_prompt_length: int


@dataclass(frozen=True, slots=True)
class _Loaded:
    questions: Questions
    items: tuple[EvalItem, ...]
    max_tokens: int


class TrainingBenchmarks:
    """Chosen benchmarks, seen as the run sees its own videos."""

    def __init__(self, setting: Setting, view: View) -> None:
        """Read all annotations, and decode what the cache lacks. Raises ConfigError or DataError."""
        if setting.style not in STYLES:
            raise ConfigError(f"trainer.val_benchmarks_style={setting.style}: use {', '.join(STYLES)}")
        self._loaded = {name: _load(name, setting, view) for name in setting.names}
        self._shown: dict[tuple[str, str], EvalItem] = {}  # items that were worded, with the sizes of their media
        jobs = [job for one in self._loaded.values() for item in one.items for job in one.questions.sight.jobs(item)]
        present = [job for job in dict.fromkeys(jobs) if Path(job[0]).exists()]
        build(present, setting.cache_dir, BuildOptions(num_workers=setting.decode_workers))

    @property
    def names(self) -> tuple[str, ...]:
        """In the order given."""
        return tuple(self._loaded)

    def num_media(self, kind: str) -> int:
        """The largest number of videos or of images in one question."""
        items = [item for one in self._loaded.values() for item in one.items]
        return max((sum(one.kind == kind for one in item.media) for item in items), default=0)

    def max_tokens(self, name: str) -> int:
        """Tokens that a response to this benchmark may have."""
        return self._loaded[name].max_tokens

    def prompts(self, name: str) -> Iterator[Prompt]:
        """One per item that can be worded, in order."""
        one = self._loaded[name]
        for item in one.items:
            try:
                prompt = one.questions.build(item)
            except DataError:
                continue  # without a response it counts as failed
            self._shown[name, item.id] = sized(item, [ref.metadata for ref in prompt.media])
            yield prompt

    def figures(self, name: str, responses: Mapping[str, str]) -> Mapping[str, float]:
        """The benchmark's figures in percent, from responses by item id; an item without one is wrong, and `failed`."""
        one = self._loaded[name]
        items = [self._shown.get((name, item.id), item) for item in one.items]
        rows = [_graded(one.questions, item, responses.get(item.id)) for item in items]
        figures = one.questions.benchmark.aggregate(rows)
        failed = sum(item.id not in responses for item in one.items)
        return {name: number.value for name, number in figures.items()} | {"failed": float(failed)}


def _load(name: str, setting: Setting, view: View) -> _Loaded:
    benchmark = BENCHMARKS.resolve(name)
    if benchmark.needs_judge:
        raise ConfigError(f"trainer.val_benchmarks: {name} needs a judge; evaluate its checkpoints with python -m eval")
    annotations, media = locate(benchmark, Path(setting.data_root), None, None)
    sight = Sight(folder=media, cache_dir=Path(setting.cache_dir).absolute(), spec=view.video, image_spec=view.image)
    style: Style = setting.style  # type: ignore[assignment]
    questions = Questions(
        benchmark=benchmark,
        style=style,
        sight=sight,
        adapter=view.adapter,
        max_prompt_length=view.max_prompt_length,
    )
    most = benchmark.max_tokens.get(style, DEFAULT_MAX_TOKENS[style])
    return _Loaded(questions, read_items(benchmark, annotations)[: setting.limit], most)


def _graded(questions: Questions, item: EvalItem, response: str | None) -> Graded:
    if response is None:
        return Graded(item=item, grade=WRONG)
    grade = official_grade(questions.benchmark, questions.style, item, response)
    return Graded(item=item, grade=WRONG if grade.score is None else grade)


def open_benchmarks(setting: Mapping[str, object], view: Mapping[str, object]) -> TrainingBenchmarks:
    """Called by the trainer with plain values."""
    return TrainingBenchmarks(Setting(**setting), View(**view))  # type: ignore[arg-type]
