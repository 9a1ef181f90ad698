# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Videos that are folders of frames: images whose names end in their numbers, at the rate that a recipe tells."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from verl.errors import MediaError
from verl.media import image
from verl.media.decode import DECODERS, FOLDER, Stream, resized
from verl.media.folder import frame_files
from verl.types import VideoClip, VideoMetadata, VideoSpec

NUMBER = re.compile(r"\d+$", re.ASCII)


class FramesDecoder:
    """Reads the frames that a recipe chooses, and of the others their names."""

    def probe(self, path: str, spec: VideoSpec) -> VideoMetadata:
        """Lists the folder and reads the header of its first frame."""
        return _stream(_in_order(path), spec).metadata(spec)

    def decode(self, path: str, spec: VideoSpec) -> VideoClip:
        """See Decoder."""
        files = _in_order(path)
        metadata = _stream(files, spec).metadata(spec)
        height, width = metadata.source_height, metadata.source_width

        def frame(index: int) -> NDArray[np.uint8]:
            pixels = image.upright(str(files[index]))
            if pixels.shape != (height, width, 3):
                found = "x".join(map(str, pixels.shape[:2]))
                raise MediaError(f"frame {files[index].name} is {found}, the first one is {height}x{width}")
            return pixels

        try:
            return resized(metadata, spec, frame)
        except MediaError as error:
            raise _brief(error, path) from error.__cause__


DECODERS.register(FOLDER)(FramesDecoder())


def _in_order(path: str) -> list[Path]:
    """The frames by number. Raises MediaError where one is missing between others, or there twice."""
    found: dict[int, Path] = {}
    prefixes = set()
    for file in frame_files(Path(path)):
        number = NUMBER.search(file.stem)
        if number is None:
            raise MediaError(f"{file.name} has no number at its end that would tell which frame it is")
        place = int(number[0])
        if place in found:
            raise MediaError(f"{found[place].name} and {file.name} are both frame {place}")
        found[place] = file
        prefixes.add(file.stem[: number.start()])
    if len(prefixes) > 1:
        raise MediaError(f"holds frames of several videos: they are called {' and '.join(sorted(prefixes)[:2])}")
    first, last = min(found), max(found)
    if gaps := last - first + 1 - len(found):
        lacking = next(place for place in range(first, last) if place not in found)
        raise MediaError(f"{gaps} of its frames {first} to {last} are missing, the first of them is {lacking}")
    return [found[place] for place in sorted(found)]


def _stream(files: list[Path], spec: VideoSpec) -> Stream:
    if spec.folder_fps is None:
        raise MediaError("is a folder of frames and tells no frame rate; set folder_fps (data.video_folder_fps)")
    try:
        height, width = image.upright_size(str(files[0]))
    except MediaError as error:
        raise _brief(error, str(files[0].parent)) from error.__cause__
    return Stream(
        decoder=FOLDER,
        times=np.arange(len(files)) / spec.folder_fps,
        fps=spec.folder_fps,
        height=height,
        width=width,
        rotation=0,
    )


def _brief(error: MediaError, folder: str) -> MediaError:
    """The folder is named by others."""
    return MediaError(str(error).replace(f"{folder}/", ""))
