# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What a benchmark is: how its annotations are read, asked, graded and added up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from eval.item import EvalItem, Grade, Graded, Number
from verl.registry import Registry
from verl.rewards.inquiry import Inquirer
from verl.rewards.judge_prompt import JudgeCase
from verl.types import MediaMetadata

Style: TypeAlias = Literal["official", "instruct", "thinking"]
STYLES: tuple[Style, ...] = ("official", "instruct", "thinking")


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a model may see of a video unless the command says otherwise."""

    fps: float = 2.0
    max_frames: int = 256
    max_pixels: int = 262_144  # of one frame
    total_pixels: int | None = 33_554_432  # of all frames


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """The words of a question; <video> and <image> stand where media go."""

    user: str
    system: str | None = None
    prefix: str = ""  # how the answer begins, put into the assistant's mouth


Reader: TypeAlias = Callable[[Path], Iterable[EvalItem]]  # a file or folder of annotations -> items. DataError
Asker: TypeAlias = Callable[[EvalItem, Sequence[MediaMetadata]], Wording]
Grader: TypeAlias = Callable[[EvalItem, str], Grade]  # an item and the text of its response
JudgeCaseMaker: TypeAlias = Callable[[EvalItem, str], JudgeCase]  # an item and the answer in its response
Judging: TypeAlias = Callable[[Inquirer, EvalItem, str], Grade | str]  # a judge, item, whole response; or why no grade
Embedded: TypeAlias = Callable[[Path], Iterable[tuple[str, bytes]]]  # annotations -> media in them: path, content
Aggregate: TypeAlias = Callable[[Sequence[Graded]], Mapping[str, Number]]  # the first figure is the headline


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """One benchmark. Everything but reading has a default that suits a plain multiple-choice one."""

    name: str
    title: str
    source: str  # where annotations and media are to be had
    read: Reader  # official annotations, and the converted JSON of EasyVideoR1
    num_items: int | None  # in the official set; None: not published
    ask: Mapping[Style, Asker]
    official: Grader
    aggregate: Aggregate
    breakdowns: tuple[str, ...] = ()  # labels that reports break accuracy down by
    budget: Budget = Budget()
    max_tokens: Mapping[Style, int] = field(default_factory=dict)
    needs_judge: bool = False  # some official grades are None
    judge_case: JudgeCaseMaker | None = None  # how a judge is asked; None: question, options and true answer
    judging: Judging | None = None  # how a judge grades where one verdict is not enough; in place of `judge_case`
    embedded: Embedded | None = None  # media that lie inside the annotations, and where items look for them
    folder: str | None = None  # whose data it shares; None: it has a folder of its own name


BENCHMARKS: Registry[Benchmark] = Registry("benchmark", "eval.benchmarks")


def register(benchmark: Benchmark) -> Benchmark:
    """File a benchmark under its name. One in a user's file needs none: "path/to/file.py:NAME"."""
    return BENCHMARKS.register(benchmark.name)(benchmark)
