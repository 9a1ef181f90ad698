# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The nouns of the system: what travels between processes.

Letters, used everywhere: P prompt tokens, R response tokens of one row; B rows in a tensor; N packed tokens;
F frames; H, W pixels; V vocabulary; A position axes (1 for text, 4 for M-RoPE: text, t, h, w).

Values are frozen, and a later stage contains the earlier one, so skipping a stage is a type error. Arrays are
numpy: this file needs nothing else, and every process can read what another one made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

UNLESS_GIVEN = ("start", "end", "folder_fps", "listing")  # fields that are in a cache key only where they are set

Tokens: TypeAlias = NDArray[np.int32]
Floats: TypeAlias = NDArray[np.float32]
Flags: TypeAlias = NDArray[np.bool_]


class Grid(NamedTuple):
    """Size of one medium in patches, before the spatial merge: time, height, width."""

    t: int
    h: int
    w: int

    def num_tokens(self, merge_size: int) -> int:
        """Placeholder tokens the medium takes in an expanded prompt."""
        return self.t * (self.h // merge_size) * (self.w // merge_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceId:
    """Which bytes a clip was made from. A file replaced under the same name is another source."""

    path: str
    size: int
    mtime_ns: int
    listing: str | None = None  # of a folder of frames: digest of the names, sizes and times of change of its files


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoSpec:
    """How to turn a video file into frames. Equal specs and equal sources give equal pixels."""

    fps: float
    max_frames: int
    min_pixels: int
    max_pixels: int
    total_pixels: int | None = None
    min_frames: int = 4
    align: int = 32  # height and width are multiples of this: 28 for patch-14 families, 32 for patch-16
    sampler: str = "qwen_utils"
    resize: str = "tv2-u8-bicubic-aa"
    decoder: str = "pyav"
    lossy: str | None = None  # codec that the pixels went through after the resize, "jpeg95-444"; None: exact
    start: float | None = None  # of an excerpt: seconds from the first frame. Read as if the file held no more
    end: float | None = None
    folder_fps: float | None = None  # frame rate of a video that is a folder of frames; a file tells its own
    version: int = 2  # bump when a decoder, sampler or resize rule gives other pixels than before

    def cache_key(self, source: SourceId) -> str:
        """Name of the one cache entry that holds `source` under this spec: 32 hex digits."""
        return _digest({"spec": _flat(self), "source": _flat(source)})


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec:
    """How to turn an image file into pixels. Equal specs and equal sources give equal pixels."""

    min_pixels: int
    max_pixels: int
    align: int = 32  # as in VideoSpec
    resize: str = "tv2-u8-bicubic-aa"
    version: int = 1  # as in VideoSpec

    def cache_key(self, source: SourceId) -> str:
        """Identity of the pixels of `source` under this spec: 32 hex digits."""
        return _digest({"spec": {"kind": "image"} | _flat(self), "source": _flat(source)})


def _flat(record: SourceId | VideoSpec | ImageSpec) -> dict[str, Any]:
    """Its fields, which are plain values: `asdict` copies deeply, and keys are checked whenever a clip is read."""
    found = {one.name: getattr(record, one.name) for one in fields(record)}
    return {name: value for name, value in found.items() if name not in UNLESS_GIVEN or value is not None}


def _digest(recipe: Mapping[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(recipe, sort_keys=True).encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoMetadata:
    """Where frames came from. Immutable, because some libraries extend index lists in place."""

    source_fps: float
    frame_indices: tuple[int, ...]  # [F] in source-frame numbering
    timestamps: tuple[float, ...]  # [F] presentation times, seconds from the first frame of the excerpt
    total_frames: int  # of the file, or of the excerpt
    duration: float  # seconds
    height: int  # of the frames, after the resize
    width: int
    source_height: int  # upright, after rotation
    source_width: int
    rotation: int  # degrees clockwise that were applied: 0, 90, 180, 270
    sampler: str
    decoder: str
    resize: str
    decode_errors: int = 0  # damaged places that a tolerant decoder left out; every other decoder refuses the file
    first_frame: int = 0  # source number of the first frame of the excerpt

    @property
    def num_frames(self) -> int:
        """F."""
        return len(self.frame_indices)

    @property
    def excerpt_indices(self) -> tuple[int, ...]:
        """[F] numbered from the first frame of the excerpt, as a file cut out of the source would have them."""
        return tuple(index - self.first_frame for index in self.frame_indices)

    @property
    def sampled_fps(self) -> float:
        """Frames kept per second of video."""
        return self.num_frames / max(self.total_frames, 1) * self.source_fps


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoClip:
    """Frames and where they came from; the two never part."""

    frames: NDArray[np.uint8]  # [F, 3, H, W] RGB
    metadata: VideoMetadata

    def __post_init__(self) -> None:
        expected = (self.metadata.num_frames, 3, self.metadata.height, self.metadata.width)
        if self.frames.shape != expected or self.frames.dtype != np.uint8:
            found = f"{self.frames.dtype} {self.frames.shape}"
            raise ValueError(f"frames are {found}, their metadata says uint8 {expected}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageMetadata:
    """Where the pixels of an image came from."""

    height: int  # after the resize
    width: int
    source_height: int  # upright, after its orientation
    source_width: int
    orientation: int  # EXIF orientation that was undone: 1 (none) to 8
    resize: str

    @property
    def num_frames(self) -> int:
        """An image is one frame."""
        return 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageClip:
    """The pixels of an image as a clip of one frame, and where they came from."""

    frames: NDArray[np.uint8]  # [1, 3, H, W] RGB
    metadata: ImageMetadata

    def __post_init__(self) -> None:
        expected = (1, 3, self.metadata.height, self.metadata.width)
        if self.frames.shape != expected or self.frames.dtype != np.uint8:
            found = f"{self.frames.dtype} {self.frames.shape}"
            raise ValueError(f"pixels are {found}, their metadata says uint8 {expected}")


Kind: TypeAlias = Literal["video", "image"]
VIDEO_MARK, IMAGE_MARK = "<video>", "<image>"  # where media go in a problem
MediaMetadata: TypeAlias = VideoMetadata | ImageMetadata
MediaClip: TypeAlias = VideoClip | ImageClip


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaRef:
    """What travels instead of pixels: a path, how to read it, and what reading it will give."""

    path: str
    spec: VideoSpec | ImageSpec
    key: str  # cache key; also the identity of the pixels for every engine
    entry: str | None  # cache file, None when the medium is decoded from `path` at each use; always for images
    metadata: MediaMetadata
    required: bool = False  # without its entry the clip is an error; nobody decodes in its place

    @property
    def kind(self) -> Kind:
        """What `spec` reads."""
        return "image" if isinstance(self.spec, ImageSpec) else "video"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One validated row of a data file."""

    id: str
    where: str  # "train.jsonl:17", for messages
    problem: str  # one <video> per video and one <image> per image, where each of them goes
    answer: Any  # JSON value: str, int, float, bool, list or dict; never None
    problem_type: str
    data_type: str  # "video" | "image" | "text"; "video" when there are images too
    options: tuple[str, ...] = ()
    videos: tuple[str, ...] = ()  # absolute paths, in the order of their marks
    images: tuple[str, ...] = ()  # likewise
    offline_responses: tuple[str, ...] = ()
    offline_logprobs: tuple[tuple[float, ...], ...] = ()  # their author's, per token of each; empty when unknown
    fields: Mapping[str, Any] = field(default_factory=dict)  # the row as read, for templates and users' rewards


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A question as the engine wants it (collapsed) and as it is trained on (expanded). Siblings share one."""

    record: Record
    text: str
    collapsed_ids: Tokens  # one placeholder token per medium
    ids: Tokens  # [P] one placeholder token per merged patch
    grids: tuple[Grid, ...]  # one per medium, in order
    media: tuple[MediaRef, ...]  # videos and images as they stand in the text


class Source(Enum):
    """Who wrote a response."""

    POLICY = "policy"
    GREEDY = "greedy"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """A prompt and one response to it."""

    prompt: Prompt
    group: int  # siblings of one prompt draw share it
    index: int  # 0..n-1 among the siblings
    response_ids: Tokens  # [R], ends with an end-of-sequence token unless truncated
    rollout_logprobs: Floats  # [R] of the distribution sampled from; 0 where an offline author's is not known
    text: str  # the response, decoded
    truncated: bool
    source: Source = Source.POLICY
    weight_version: int = 0

    @property
    def num_tokens(self) -> int:
        """P + R."""
        return len(self.prompt.ids) + len(self.response_ids)

    @property
    def knows_rollout_logprobs(self) -> bool:
        """Whether `rollout_logprobs` are numbers of whoever wrote this, not the 0 that stands for "unknown"."""
        return self.source is not Source.OFFLINE or bool(self.prompt.record.offline_logprobs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A verdict in numbers. `overall` is what is optimised, `parts` are logged and may be used by name."""

    overall: float
    parts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotScorable:
    """No verdict is possible (invalid ground truth, failed judge): masked and counted, never a silent 0."""

    reason: str


Verdict: TypeAlias = Score | NotScorable


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A trajectory and its verdict."""

    trajectory: Trajectory
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Experience:
    """Everything one optimiser step needs to know about one trajectory."""

    trajectory: Trajectory
    score: Score
    old_logprobs: Floats  # [R]
    ref_logprobs: Floats | None  # [R], None without a reference policy
    values: Floats | None  # [R], None without a critic
    advantages: Floats  # [R]
    returns: Floats  # [R]
    weights: Floats | None = None  # [R], what the loss of each token is multiplied by; None: nothing
    chosen: Flags | None = None  # [R], tokens that the loss chose among those of the update; None: it does not choose
