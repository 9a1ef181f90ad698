# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Draws short videos of moving shapes, encodes them as H.264, and writes the questions about them as JSONL.

The same arguments give the same files. Training and validation videos are drawn separately, none is in both. With
`--joint` some scenes become a still image, and some a line of text, in place of a video.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from examples.quickstart.all_kinds import ALL_KINDS, MORE_KINDS
from examples.quickstart.questions import COLOURS, GLYPHS, KINDS, Scene, Shape
from verl.types import IMAGE_MARK, VIDEO_MARK

KNOWN_KINDS = KINDS | MORE_KINDS
DRAWING_VERSION = 1  # bump when the same seed gives other pixels or other questions than before
ONLY_VIDEOS = ("video",)
# What each row is about, in turns. Answers take turns of four: seven, so that none of these goes with one answer.
JOINT = ("video", "image", "video", "image", "video", "image", "text")
STILL_SIZE = 96  # pixels, height and width of an image: more than a frame's, as images can be looked at more closely


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFormat:
    """Size and speed of the videos."""

    seconds: float = 4.0
    fps: int = 4
    size: int = 64  # pixels, height and width

    @property
    def num_frames(self) -> int:
        """Frames in one video."""
        return round(self.seconds * self.fps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that determines a data set."""

    kinds: Mapping[str, float]  # name in KINDS or MORE_KINDS -> share
    train: int = 256
    val: int = 64
    seed: int = 0
    video: VideoFormat = VideoFormat()
    media: tuple[str, ...] = ONLY_VIDEOS  # of rows, in turns
    version: int = DRAWING_VERSION


def write_dataset(directory: Path, recipe: Recipe) -> bool:
    """Writes train.jsonl, val.jsonl and videos/. False if the directory already holds exactly this data set."""
    manifest = directory / "manifest.json"
    wanted = json.dumps(asdict(recipe), indent=2, sort_keys=True) + "\n"
    if manifest.is_file() and manifest.read_text() == wanted:
        return False
    manifest.unlink(missing_ok=True)
    for split, count in (("train", recipe.train), ("val", recipe.val)):
        rows = write_split(directory, split, count, recipe)
        (directory / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    manifest.write_text(wanted)
    return True


def write_split(directory: Path, split: str, count: int, recipe: Recipe) -> Iterator[dict[str, Any]]:
    """Writes `count` videos, or what else the recipe says, below `directory`; yields the row that belongs to each."""
    turns: Counter[str] = Counter()
    for index in range(count):
        rng = random.Random(f"{recipe.seed}/{split}/{index}")
        (asked,) = rng.choices(list(recipe.kinds), list(recipe.kinds.values()))
        kind = KNOWN_KINDS[asked]
        scene, answer = kind.draw(rng, turns[asked], recipe.video.seconds)
        turns[asked] += 1
        name, medium = f"{split}-{index:05d}", recipe.media[index % len(recipe.media)]
        yield {
            "problem_id": name,
            "problem": kind.problem,
            "answer": kind.truth(answer),
            "problem_type": kind.problem_type,
            "data_type": medium,
            "options": list(kind.options),
            **SHOWN[medium](directory, name, scene, recipe.video, kind.problem),
        }


def _as_video(directory: Path, name: str, scene: Scene, video: VideoFormat, problem: str) -> dict[str, Any]:
    file = Path("videos") / f"{name}.mp4"
    write_video(directory / file, paint(scene, video), video.fps)
    return {"videos": [file.as_posix()]}


def _as_image(directory: Path, name: str, scene: Scene, video: VideoFormat, problem: str) -> dict[str, Any]:
    """How the scene begins."""
    file = Path("images") / f"{name}.png"
    (directory / file).parent.mkdir(parents=True, exist_ok=True)
    still = VideoFormat(seconds=1 / video.fps, fps=video.fps, size=STILL_SIZE)
    Image.fromarray(paint(scene, still)[0]).save(directory / file)
    return {"problem": problem.replace(VIDEO_MARK, IMAGE_MARK), "images": [file.as_posix()]}


def _as_text(directory: Path, name: str, scene: Scene, video: VideoFormat, problem: str) -> dict[str, Any]:
    """The colours of its shapes."""
    names = {colour: word for word, colour in COLOURS.items()}
    seen = ", ".join(names.get(shape.colour, "white") for shape in scene.shapes)
    return {"problem": f"There is: {seen}.\n" + problem.replace(VIDEO_MARK, "")}


SHOWN = {"video": _as_video, "image": _as_image, "text": _as_text}


def paint(scene: Scene, video: VideoFormat) -> NDArray[np.uint8]:
    """The frames of a scene, [F, H, W, 3] RGB."""
    frames = np.full((video.num_frames, video.size, video.size, 3), scene.ground, dtype=np.uint8)
    axis = (np.arange(video.size) + 0.5) / video.size
    for frame, pixels in enumerate(frames):
        moment = frame / video.fps
        for shape in scene.shapes:
            if shape.visible is None or shape.visible[0] <= moment <= shape.visible[1]:
                pixels[_mask(shape, moment, axis)] = shape.colour
    return frames


def write_video(path: Path, frames: NDArray[np.uint8], fps: int) -> Path:
    """Encodes frames [F, H, W, 3] RGB, height and width even, as H.264 in MP4; returns `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        # A fixed quantiser and one thread: with rate control, equal frames do not give equal bytes.
        stream = container.add_stream("libx264", rate=fps, options={"qp": "12", "threads": "1", "preset": "fast"})
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        for pixels in frames:
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode(None))
    return path


def _mask(shape: Shape, moment: float, axis: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which pixels [H, W] the shape covers; `axis` [H] holds the pixel centres in frame sizes."""
    half = shape.size / 2
    x, y = (_bounce(start + speed * moment, half) for start, speed in zip(shape.start, shape.velocity, strict=True))
    across, down = axis[None, :] - x, axis[:, None] - y
    if shape.form == "disc":
        return across**2 + down**2 <= half**2
    if shape.form in GLYPHS:
        return _glyph(shape.form, (across + half) / shape.size, (down + half) / shape.size)
    width = (down + half) / 2 if shape.form == "triangle" else half
    return (np.abs(across) <= width) & (np.abs(down) <= half)


def _glyph(letter: str, across: NDArray[np.float64], down: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which pixels [H, W] a letter covers; `across` [1, W] and `down` [H, 1] are 0 to 1 inside its square."""
    grid = np.array([[cell == "#" for cell in row] for row in GLYPHS[letter]])
    column, row = (np.floor(part * len(grid)).astype(int) for part in (across, down))
    is_inside = (column >= 0) & (column < len(grid)) & (row >= 0) & (row < len(grid))
    return is_inside & grid[row.clip(0, len(grid) - 1), column.clip(0, len(grid) - 1)]


def _bounce(position: float, margin: float) -> float:
    """Folds a straight path back into [margin, 1 - margin]."""
    room = 1 - 2 * margin
    folded = (position - margin) % (2 * room)
    return margin + min(folded, 2 * room - folded)


def parse_kinds(text: str) -> dict[str, float]:
    """`colour:3,boolean:1` -> shares by kind, `all` -> one of each task; `argparse` reports what is wrong."""
    if text == "all":
        return dict.fromkeys(ALL_KINDS, 1.0)
    shares = {}
    for part in text.split(","):
        name, _, share = part.partition(":")
        if name not in KNOWN_KINDS:
            raise argparse.ArgumentTypeError(f"unknown kind {name!r}; there are {', '.join(KNOWN_KINDS)}, or all")
        shares[name] = float(share or 1)
    return shares


def main() -> None:
    """Writes the data set unless it is already there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path("outputs/quickstart/data"))
    parser.add_argument("--kinds", type=parse_kinds, default="colour:1", metavar="NAME:SHARE,...")
    parser.add_argument("--train", type=int, default=256, help="training videos")
    parser.add_argument("--val", type=int, default=64, help="validation videos")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--joint", action="store_true", help="videos, images and text in turns")
    arguments = parser.parse_args()
    directory = arguments.directory
    recipe = Recipe(
        kinds=arguments.kinds,
        train=arguments.train,
        val=arguments.val,
        seed=arguments.seed,
        media=JOINT if arguments.joint else ONLY_VIDEOS,
    )
    written = write_dataset(directory, recipe)
    print(f"videos: {directory} ({'written' if written else 'already there, reused'})")


if __name__ == "__main__":
    main()
