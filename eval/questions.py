# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Items to prompts: which frames, which words, which tokens. No pixels."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from eval.benchmark import Asker, Benchmark, Budget, Style
from eval.item import EvalItem, Medium
from verl.errors import ConfigError, DataError
from verl.media.image import ImageSource
from verl.media.source import MediaSource, SourceMode
from verl.models.adapter import ModelAdapter
from verl.types import IMAGE_MARK, VIDEO_MARK, ImageSpec, MediaRef, Prompt, Record, VideoSpec

MIN_PIXELS = 16  # blocks of align x align in the smallest frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """Where the media of a benchmark are and how they are looked at."""

    folder: Path
    cache_dir: Path
    spec: VideoSpec
    image_spec: ImageSpec

    @classmethod
    def of(cls, budget: Budget, align: int, *, folder: Path, cache_dir: Path, sampler: str = "qwen_utils") -> Sight:
        """The recipe that a frame budget means for a model family."""
        spec = VideoSpec(
            fps=budget.fps,
            max_frames=budget.max_frames,
            min_pixels=min(MIN_PIXELS * align**2, budget.max_pixels),
            max_pixels=budget.max_pixels,
            total_pixels=budget.total_pixels,
            align=align,
            sampler=sampler,
        )
        image = ImageSpec(min_pixels=spec.min_pixels, max_pixels=max(budget.max_pixels, spec.min_pixels), align=align)
        return cls(folder=folder, cache_dir=cache_dir, spec=spec, image_spec=image)

    def path(self, medium: Medium) -> Path:
        """The file of a medium: in the folder, or beside it, as "videos/a.mp4" is for the folder "videos"."""
        return located(self.folder, medium.path)

    def video_spec(self, medium: Medium) -> VideoSpec:
        """The recipe of one video of one item."""
        return replace(self.spec, start=medium.start, end=medium.end, folder_fps=medium.folder_fps)

    def ref(self, medium: Medium) -> MediaRef:
        """A reference that any process can load; a video is decoded into the cache now if it is not there."""
        if medium.kind == "image":
            return ImageSource(self.image_spec).ref(self.path(medium))
        source = MediaSource(SourceMode.PREFER_PREPROCESSED, self.cache_dir, self.video_spec(medium))
        return source.ref(self.path(medium))

    def jobs(self, item: EvalItem) -> list[tuple[str, VideoSpec]]:
        """What the cache must hold for an item."""
        return [(str(self.path(one)), self.video_spec(one)) for one in item.media if one.kind == "video"]


def located(folder: Path, name: str) -> Path:
    """The file of that name in the folder, or else beside it; where it is to be put, when it is in neither."""
    file, beside = folder / name, folder.parent / name
    is_named = Path(name).parts[:1] == (folder.name,)  # "videos/a.mp4" and the folder "videos"
    return beside if not file.exists() and (is_named or beside.exists()) else file


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """Words the items of one benchmark for one model; safe to use from several threads."""

    benchmark: Benchmark
    style: Style
    sight: Sight
    adapter: ModelAdapter
    max_prompt_length: int
    blind: bool = False  # leave the media out

    def __post_init__(self) -> None:
        self._ask()

    def build(self, item: EvalItem) -> Prompt:
        """The prompt of an item. Raises DataError with its reason when its media or its length do not allow one."""
        media = () if self.blind else tuple(self.sight.ref(one) for one in item.media)
        words = self._ask()(item, [ref.metadata for ref in media])
        marks = [IMAGE_MARK if ref.kind == "image" else VIDEO_MARK for ref in media]
        user = _without_marks(words.user) if self.blind else words.user
        text = self.adapter.render(
            user, marks.count(VIDEO_MARK), num_images=marks.count(IMAGE_MARK), system=words.system
        )
        collapsed = self.adapter.encode(text + words.prefix)
        expanded = self.adapter.expand(collapsed, [ref.metadata for ref in media])
        if len(expanded.ids) > self.max_prompt_length:
            raise DataError(
                f"the prompt has {len(expanded.ids)} tokens, {self.max_prompt_length} fit; lower --max_frames or"
                " --total_pixels, or raise --max_model_len"
            )
        return Prompt(
            record=self._record(item),
            text=text + words.prefix,
            collapsed_ids=collapsed,
            ids=expanded.ids,
            grids=expanded.grids,
            media=media,
        )

    def _ask(self) -> Asker:
        if self.style not in self.benchmark.ask:
            known = ", ".join(self.benchmark.ask)
            raise ConfigError(f"{self.benchmark.name} has no {self.style} prompt (it has {known}); change --style")
        return self.benchmark.ask[self.style]

    def _record(self, item: EvalItem) -> Record:
        return Record(
            id=item.id,
            where=f"{self.benchmark.name}:{item.id}",
            problem=item.question,
            answer=item.answer,
            problem_type=item.problem_type,
            data_type="video" if item.media else "text",
            options=item.options,
        )


def digest(prompt: Prompt) -> str:
    """What identifies the tokens and the media that a model was shown."""
    keys = "".join(ref.key for ref in prompt.media)
    return hashlib.blake2b(prompt.ids.tobytes() + keys.encode(), digest_size=8).hexdigest()


def num_bytes(prompts: Sequence[Prompt]) -> int:
    """Pixels of the media of some prompts, in bytes; what several of them show counts once."""
    shown = {ref.key: ref.metadata for prompt in prompts for ref in prompt.media}
    return sum(math.prod((one.num_frames, 3, one.height, one.width)) for one in shown.values())


def _without_marks(text: str) -> str:
    return text.replace(VIDEO_MARK, "").replace(IMAGE_MARK, "").strip()
