# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What the video cache costs and saves: our entries, the reference's .pt clips, and decoding on the fly.

    python -m scripts.bench.cache [--folder DIR] [--seconds 64]

Needs `pip install verl[bench]` (qwen-vl-utils and decord, the reference's decoder path). Videos are made first (H.264,
1080p and 720p) and kept in the folder, a temporary one unless it is named. A builder process is forked from one that
has done its imports, as in both systems; memory is what it holds at most, pages that it shares included.
Frames count as readable when every byte of them has been touched once. Cold files are synced and dropped from this
machine's page cache (POSIX_FADV_DONTNEED); a host underneath may still hold them. The exit status says whether the
targets are met.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verl.media.cache import ClipCache
from verl.media.spec import source_id
from verl.types import VideoSpec

SIZES = {"1080p": (1080, 1920), "720p": (720, 1280)}
FRAME_RATE, FRAMES = 30, 128
MAX_PIXELS, MIN_PIXELS = 262_144, 3136
BUILDERS = ("ours", "qwen-vl-utils")
PRELOAD = {"ours": ["torch"], "qwen-vl-utils": ["decord", "qwen_vl_utils"]}
LOSSY = "jpeg95-444"
ROUNDS, PAIRS = 15, 101
MIB = 2**20
LEAST_SPEEDUP, MOST_OVER_MEMORY, MOST_SIZE, MOST_CPU, MOST_GB = 40.0, 1.3, 0.251, 0.5, 0.4


@dataclass(frozen=True, slots=True)
class Place:
    """Where the files of one video are, and how it is read."""

    folder: Path
    size: str
    seconds: int

    @property
    def video(self) -> Path:
        """The H.264 file."""
        return self.folder / f"{self.size}-{self.seconds}s.mp4"

    @property
    def clip(self) -> Path:
        """What the reference caches."""
        return self.folder / f"{self.size}-{self.seconds}s.pt"

    @property
    def spec(self) -> VideoSpec:
        """128 frames of at most 262144 pixels, as the reference trains with."""
        fps = FRAMES / self.seconds
        return VideoSpec(fps=fps, max_frames=FRAMES, min_pixels=MIN_PIXELS, max_pixels=MAX_PIXELS)

    def entry(self, codec: str = "raw") -> Path:
        """Our entry under this codec."""
        spec = replace(self.spec, lossy=LOSSY) if codec == LOSSY else self.spec
        return ClipCache(self.folder / codec).entry_path(spec.cache_key(source_id(self.video)))


def main() -> int:
    """Measure everything, or one builder in a process that `main` started."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, help="keeps the videos for the next run")
    parser.add_argument("--seconds", type=int, default=64, help="length of each video; 128 frames of it are kept")
    parser.add_argument("--builder", choices=BUILDERS, help=argparse.SUPPRESS)
    parser.add_argument("--size", choices=SIZES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.builder:
        print(json.dumps(fork(arguments.builder, Place(arguments.folder, arguments.size, arguments.seconds))))
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = (arguments.folder or Path(scratch)).absolute()
        places = {size: Place(folder, size, arguments.seconds) for size in SIZES}
        for place in places.values():
            if not place.video.exists():
                make_video(place)
        built = {(size, who): in_own_process(who, place) for size, place in places.items() for who in BUILDERS}
        pack(places["1080p"])
        surplus = over_memory(places["1080p"].entry())
        return report(places["1080p"], built, read_all(places["1080p"]), surplus)


def make_video(place: Place) -> None:
    """A camera that moves over a textured ground with grain: not as easy as a cartoon, not as hard as water."""
    import av

    height, width = SIZES[place.size]
    rng = np.random.default_rng(0)
    ground = ground_texture(rng, height + 512, width + 512)
    grain = rng.integers(-3, 4, (8, height, width, 1), dtype=np.int8)
    place.folder.mkdir(parents=True, exist_ok=True)
    unfinished = place.video.with_suffix(".part.mp4")
    with av.open(str(unfinished), "w") as container:
        stream = container.add_stream("libx264", rate=FRAME_RATE)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.options = {"preset": "veryfast", "crf": "23", "threads": "1"}
        stream.time_base = stream.codec_context.time_base = Fraction(1, FRAME_RATE)
        for index in range(place.seconds * FRAME_RATE):
            angle = index / 90
            y, x = int(256 + 250 * np.sin(angle)), int(256 + 250 * np.cos(0.7 * angle))
            image = ground[y : y + height, x : x + width] + grain[index % 8]
            frame = av.VideoFrame.from_ndarray(image.astype(np.uint8), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FRAME_RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    unfinished.replace(place.video)


def ground_texture(rng: np.random.Generator, height: int, width: int) -> NDArray[np.int16]:
    """int16 [height, width, 3] between 10 and 245: noise at several scales."""
    from PIL import Image

    total = np.zeros((height, width, 3))
    for scale, weight in ((4, 0.15), (16, 0.35), (64, 0.6), (256, 1.0)):
        small = rng.integers(0, 256, (height // scale + 2, width // scale + 2, 3), dtype=np.uint8)
        total += weight * np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC), float)
    total -= total.min()
    return (10 + total / total.max() * 235).astype(np.int16)


def fork(builder: str, place: Place) -> dict[str, float]:
    """`build` in a fresh process forked from one that has done the imports."""
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOAD[builder])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(build, builder, place).result()


def build(builder: str, place: Place) -> dict[str, float]:
    """Cache one clip as `builder` does; what it took, the imports apart."""
    return build_ours(place) if builder == "ours" else build_reference(place)


def build_ours(place: Place) -> dict[str, float]:
    """Our decoder and our entry, with what a builder process does before its first clip."""
    import torch

    from verl.media import decode

    torch.set_num_threads(1)
    source = source_id(place.video)
    meter = Meter()
    clip = decode.decode(str(place.video), place.spec)
    decoded = meter.cost()["cpu"]
    ClipCache(place.folder / "raw").write(place.spec.cache_key(source), clip, place.spec, source)
    return meter.cost() | {"decoded": decoded, "frames": clip.metadata.num_frames}


def build_reference(place: Place) -> dict[str, float]:
    """What scripts/preprocess_videos.py of the reference does with one video, at its defaults."""
    os.environ["FORCE_QWENVL_VIDEO_READER"] = "decord"
    import decord  # noqa: F401
    import torch
    from qwen_vl_utils import fetch_video

    wanted = {
        "video": str(place.video),
        "fps": place.spec.fps,
        "max_frames": FRAMES,
        "min_pixels": MIN_PIXELS,
        "max_pixels": MAX_PIXELS,
    }
    meter = Meter()
    (frames, metadata), fps = fetch_video(
        wanted, image_patch_size=16, return_video_sample_fps=True, return_video_metadata=True
    )
    decoded = meter.cost()["cpu"]
    content = {"frames": frames, "metadata": metadata, "sample_fps": fps, "preprocess_version": "qwen3vl_patch16_v1"}
    torch.save(content, place.clip)
    return meter.cost() | {"decoded": decoded, "frames": len(frames)}


class Meter:
    """Costs of this process from now on."""

    def __init__(self) -> None:
        self._rest = peak_mib()
        self._start = time.perf_counter(), time.process_time()

    def cost(self) -> dict[str, float]:
        """Seconds, CPU seconds of all threads, and peak memory in MiB: of the process, and before it began."""
        wall, cpu = time.perf_counter() - self._start[0], time.process_time() - self._start[1]
        return {"wall": wall, "cpu": cpu, "peak": peak_mib(), "rest": self._rest}


def peak_mib() -> float:
    """MiB of this process at most, so far. getrusage would count what its parent held when it was forked."""
    (line,) = (one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmHWM:"))
    return int(line.split()[1]) / 2**10


def in_own_process(builder: str, place: Place) -> dict[str, float]:
    """`build` where nothing else has been imported or allocated."""
    command = [sys.executable, "-m", "scripts.bench.cache", "--builder", builder, "--folder", str(place.folder)]
    command += ["--size", place.size, "--seconds", str(place.seconds)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def pack(place: Place) -> None:
    """The same clip under the other codecs."""
    source, clip = source_id(place.video), ClipCache.load(place.entry())
    for codec, spec in (("zrow", place.spec), (LOSSY, replace(place.spec, lossy=LOSSY))):
        cache = ClipCache(place.folder / codec, "zrow" if codec == "zrow" else "raw")
        cache.write(spec.cache_key(source), clip, spec, source)


def read_all(place: Place) -> dict[str, dict[str, float]]:
    """Milliseconds until all frames have been touched, medians of interleaved rounds.

    Warm ones are CPU time: they wait for nothing but others on the machine. Cold ones are by the clock.
    """
    resident = np.array(ClipCache.load(place.entry()).frames)
    ways: dict[str, tuple[Path | None, Callable[[], Any]]] = {
        "memory": (None, lambda: resident),
        ".pt float32": (place.clip, lambda: load_reference(place.clip)),
    }
    for codec in ("raw", "zrow", LOSSY):
        path = place.entry(codec)
        ways[codec] = (path, partial(_frames, path))
    found: dict[str, dict[str, list[float]]] = {name: {"warm": [], "cold": []} for name in ways}
    for _ in range(ROUNDS):
        for name, (file, load) in ways.items():
            touch(load())  # warm: it was read a moment ago
            found[name]["warm"].append(timed(load, time.process_time))
            if file is not None:
                drop(file)
                found[name]["cold"].append(timed(load, time.perf_counter))
    return {
        name: {how: statistics.median(times) for how, times in one.items() if times}
        | {"bytes": file.stat().st_size if (file := ways[name][0]) else 0}
        for name, one in found.items()
    }


def over_memory(entry: Path) -> float:
    """CPU time of reading a warm raw entry, in units of touching the same bytes in memory: median of pairs in turns.

    As in training, it was read before through our map, which is what made it warm: in large pieces of the page cache.
    """
    drop(entry)
    resident = np.array(_frames(entry))
    pairs = [
        [timed(load, time.process_time) for load in (lambda: resident, partial(_frames, entry))] for _ in range(PAIRS)
    ]
    return statistics.median(read / touched for touched, read in pairs)


def _frames(entry: Path) -> Any:
    return ClipCache.load(entry).frames


def load_reference(path: Path) -> NDArray[np.float32]:
    """Frames as the reference loads them, but for its trust in the file."""
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)["frames"].numpy()


def timed(load: Callable[[], Any], clock: Callable[[], float]) -> float:
    """Milliseconds of loading and touching."""
    start = clock()
    touch(load())
    return (clock() - start) * 1e3


def touch(frames: NDArray[Any]) -> int:
    """Read every byte once, at the speed of memory."""
    return int(frames.reshape(-1).view(np.uint64).sum())


def drop(path: Path) -> None:
    """Take a file of ours out of the page cache. No page of it is mapped at this time."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def report(
    place: Place, built: dict[tuple[str, str], dict[str, float]], read: dict[str, dict[str, float]], surplus: float
) -> int:
    """Print the tables; 1 when a target is missed."""
    print("building one clip  wall s   CPU s  peak MiB  at its start  frames")
    for (size, builder), cost in built.items():
        numbers = (
            f"{cost['wall']:7.2f} {cost['cpu']:7.2f} {cost['peak']:9.0f} {cost['rest']:14.0f} {cost['frames']:7.0f}"
        )
        print(f"{size:5} {builder:13}{numbers}")
    shape = ClipCache.load(place.entry()).frames.shape
    print(f"\nreading {shape[0]} frames of {shape[2]}x{shape[3]}  kB per frame  warm CPU ms  cold ms")
    for name, one in read.items():
        cold = f"{one['cold']:8.1f}" if "cold" in one else "        "
        print(f"{name:33} {one['bytes'] / shape[0] / 1e3:10.1f} {one['warm']:12.1f} {cold}")
    for builder in BUILDERS:
        print(f"{'decoding, ' + builder:33} {'':10} {built[place.size, builder]['decoded'] * 1e3:12.1f}")
    print()
    return 0 if all([judge(*target) for target in targets(built, read, surplus)]) else 1


def targets(
    built: dict[tuple[str, str], dict[str, float]], read: dict[str, dict[str, float]], surplus: float
) -> list[tuple[str, float, float, bool]]:
    """(what, measured, limit, whether more is better)."""
    raw, reference = read["raw"], read[".pt float32"]
    return [
        ("times as fast as the .pt, warm", reference["warm"] / raw["warm"], LEAST_SPEEDUP, True),
        ("times the time of touching memory", surplus, MOST_OVER_MEMORY, False),
        ("of the size of the .pt", raw["bytes"] / reference["bytes"], MOST_SIZE, False),
        *(
            (
                f"of the CPU seconds, {size}",
                built[size, "ours"]["cpu"] / built[size, BUILDERS[1]]["cpu"],
                MOST_CPU,
                False,
            )
            for size in SIZES
        ),
        *(
            (f"GB per builder process, {size}", built[size, "ours"]["peak"] * MIB / 1e9, MOST_GB, False)
            for size in SIZES
        ),
    ]


def judge(what: str, measured: float, limit: float, more: bool) -> bool:
    """Print one target."""
    met = measured >= limit if more else measured <= limit
    wanted = f"{'at least' if more else 'at most'} {limit:g}"
    print(f"{'met   ' if met else 'MISSED'} {measured:6.3g} {what} (target: {wanted})")
    return met


if __name__ == "__main__":
    sys.exit(main())
