# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Clips that EasyVideoR1 has cached (`<key>.pt`), read without running anything in them, and converted to entries.

Such a file is a pickle of a dict: `frames` float32 [F, 3, H, W] of whole numbers 0..255, `metadata` (fps,
frames_indices, total_num_frames, video_backend), `sample_fps` and `preprocess_version`. It says nothing of the source
file but its rate and length.
"""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from verl.errors import ConfigError, MediaError, VerlError
from verl.media import decode
from verl.media.cache import ClipCache
from verl.media.entry import MAX_SIDE
from verl.media.fields import fits
from verl.media.spec import check, source_id
from verl.types import SourceId, VideoClip, VideoMetadata, VideoSpec

N = TypeVar("N", int, float)
UNKNOWN = "unknown"
RULES = "qwen-vl-utils"  # what the reference samples and resizes with
MAX_PICKLE_BYTES = 64 << 20
LEAST_PSNR = 35.0  # dB between a clip of theirs and ours: another resize is above 50, another frame below 30
# All that a clip of the reference refers to. Weights-only loading would allow more, some of which allocates at will.
ALLOWED = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch FloatStorage",
    "torch LongStorage",
    "torch ByteStorage",
}
# What torch.load raises on files that are damaged or not what it expects.
BROKEN = (
    OSError,
    RuntimeError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    EOFError,
    AssertionError,
    NotImplementedError,
    MemoryError,
    UnpicklingError,
    zipfile.BadZipFile,
)


def load_clip(path: str | Path) -> VideoClip:
    """The clip in a `.pt` file of the reference. Raises MediaError for any file that is not exactly one.

    What the file does not tell is marked: source sizes are 0, and rules are "unknown" or named after the library that
    the reference uses. Times are index / fps, as the reference computes them.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            _check_archive(archive, path.stat().st_size)
        return _clip(_unpickled(path))
    except FileNotFoundError as error:
        raise MediaError(f"{path} does not exist; check the path") from error
    except MediaError as error:
        raise MediaError(f"{path}: {error}") from error
    except BROKEN as error:
        raise MediaError(f"{path} is not a clip of the reference ({type(error).__name__}: {error}); {_CURE}") from error


_CURE = "build the video with scripts/preprocess_videos.py instead"


def _unpickled(path: Path) -> dict[str, Any]:
    import torch

    found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    if not isinstance(found, dict):
        raise ValueError(f"it holds {type(found).__name__}, not a dict")
    return found


def _check_archive(archive: zipfile.ZipFile, size: int) -> None:
    """Nothing in it is packed, so that it cannot grow, and its pickle names tensors alone. Raises ValueError."""
    members = archive.infolist()
    if any(one.compress_type != zipfile.ZIP_STORED or one.flag_bits & 1 for one in members):
        raise ValueError("a part of it is compressed or encrypted")
    if any(one.file_size != one.compress_size for one in members) or sum(one.file_size for one in members) > size:
        raise ValueError("its parts are larger than the file")
    pickles = [one for one in members if one.filename.endswith("/data.pkl")]
    if len(pickles) != 1 or pickles[0].file_size > MAX_PICKLE_BYTES:
        raise ValueError("it has no single small pickle")
    for code, value, _ in pickletools.genops(archive.read(pickles[0])):
        if code.name == "STACK_GLOBAL":
            raise ValueError("its pickle names what no clip needs")
        if code.name in ("GLOBAL", "INST") and value not in ALLOWED:
            raise ValueError(f"its pickle names {value!r}, which no clip needs")


def _clip(found: Mapping[str, Any]) -> VideoClip:
    frames = _uint8(found.get("frames"))
    metadata = found.get("metadata")
    if not isinstance(metadata, dict):
        raise MediaError(f"its metadata is {type(metadata).__name__}, not a dict; {_CURE}")
    indices = _integers(metadata.get("frames_indices"))
    fps, total = _positive(metadata, "fps", float), _positive(metadata, "total_num_frames", int)
    if indices is None or len(indices) != len(frames):
        raise MediaError(f"its metadata does not number its {len(frames)} frames; {_CURE}")
    if any(after < before for before, after in pairwise(indices)) or indices[0] < 0 or indices[-1] >= total:
        raise MediaError(f"its frame numbers are not ascending ones of {total}; {_CURE}")
    backend = metadata.get("video_backend")
    return VideoClip(
        frames=frames,
        metadata=VideoMetadata(
            source_fps=fps,
            frame_indices=indices,
            timestamps=tuple(index / fps for index in indices),
            total_frames=total,
            duration=total / fps,
            height=frames.shape[2],
            width=frames.shape[3],
            source_height=0,
            source_width=0,
            rotation=0,
            sampler=RULES,
            decoder=backend if isinstance(backend, str) else UNKNOWN,
            resize=RULES,
        ),
    )


def _positive(metadata: Mapping[str, Any], name: str, kind: type[N]) -> N:
    found: Any = metadata.get(name)
    if not fits(found, kind) or found <= 0:
        raise MediaError(f"its metadata has {name} {found!r}; {_CURE}")
    return kind(found)


def _integers(found: Any) -> tuple[int, ...] | None:
    """A list, or a tensor of one dimension, of whole numbers; None for anything else."""
    import torch

    if isinstance(found, torch.Tensor) and found.dim() == 1 and found.dtype == torch.int64:
        found = found.tolist()
    if isinstance(found, list) and found and all(fits(one, int) for one in found):
        return tuple(found)
    return None


def _uint8(found: Any) -> NDArray[np.uint8]:
    """float32 [F, 3, H, W] of whole numbers 0..255 as uint8, one frame at a time: the file is mapped."""
    import torch

    if not isinstance(found, torch.Tensor) or found.dtype != torch.float32 or found.layout != torch.strided:
        raise MediaError(f"its frames are not a float32 tensor; {_CURE}")
    shape = tuple(found.shape)
    if len(shape) != 4 or shape[1] != 3 or not all(0 < side <= MAX_SIDE for side in shape):
        raise MediaError(f"its frames are {list(shape)}, not [frames, 3, height, width]; {_CURE}")
    if not found.is_contiguous():
        raise MediaError(f"its frames are not stored one after another; {_CURE}")
    frames = np.empty(shape, np.uint8)
    for index, frame in enumerate(found.numpy()):
        with np.errstate(invalid="ignore"):
            frames[index] = frame.astype(np.uint8)
        if not np.array_equal(frames[index], frame):
            raise MediaError(f"frame {index} has values other than the whole numbers 0 to 255; {_CURE}")
    return frames


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertReport:
    """What became of the clips of the reference."""

    converted: int
    reused: int  # an entry was there already
    compared: int  # with a decoding of ours
    failed: tuple[tuple[str, str], ...]  # (.pt path, reason)


def convert(
    pairs: Sequence[tuple[str, str]], cache: ClipCache, spec: VideoSpec, *, compare_every: int = 50
) -> ConvertReport:
    """Write an entry under `spec` for each (video, `.pt` of the reference) whose frames are the ones `spec` asks for.

    The pixels are the reference's: another resize, and right only if its decoder was. So the first clip and every
    `compare_every`-th is compared with one decoded here; one that shows other pictures ends the conversion with
    MediaError. 0 compares none. Entries say where they come from.
    """
    check(spec)
    if compare_every < 0:
        raise ConfigError(f"compare_every must be 0 (never) or more, got {compare_every}")
    converted = reused = compared = 0
    failed = []
    for video, path in dict.fromkeys(pairs):
        try:
            source = source_id(video)
            if cache.find(spec.cache_key(source)) is not None:
                reused += 1
                continue
            clip, version = _matching(path, source, spec)
        except VerlError as error:
            failed.append((path, str(error)))
            continue
        if compare_every and converted % compare_every == 0:
            _compare(clip, path, source, spec)
            compared += 1
        cache.write(spec.cache_key(source), clip, spec, source, origin=version)
        converted += 1
    return ConvertReport(converted=converted, reused=reused, compared=compared, failed=tuple(failed))


def _matching(path: str, source: SourceId, spec: VideoSpec) -> tuple[VideoClip, str]:
    """The reference's frames under what our decoder says of the source, and where they come from."""
    clip = load_clip(path)
    wanted = decode.probe(source.path, spec)
    differing = [
        f"{name} {getattr(clip.metadata, name)!r} instead of {getattr(wanted, name)!r}"
        for name in ("height", "width", "total_frames", "frame_indices")
        if getattr(clip.metadata, name) != getattr(wanted, name)
    ]
    if differing:
        raise MediaError(f"{path} is not {source.path} under {spec}: {'; '.join(differing)}; {_CURE}")
    theirs = clip.metadata
    metadata = replace(wanted, sampler=theirs.sampler, decoder=theirs.decoder, resize=theirs.resize)
    return VideoClip(frames=clip.frames, metadata=metadata), f"{RULES}, {theirs.decoder}"


def _compare(clip: VideoClip, path: str, source: SourceId, spec: VideoSpec) -> None:
    ours = decode.decode(source.path, spec)
    worst = min(_psnrs(clip.frames, ours.frames))
    if worst < LEAST_PSNR:
        raise MediaError(
            f"{path} shows other pictures than {source.path} decoded here: {worst:.1f} dB where {LEAST_PSNR:g} are "
            f"expected; its decoder returned wrong frames. {_CURE}"
        )


def _psnrs(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> Iterator[float]:
    """Of each frame, dB."""
    for one, other in zip(left, right, strict=True):
        error = float(np.square(one.astype(np.float32) - other).mean())
        yield 10 * np.log10(255.0**2 / max(error, 1e-9))
