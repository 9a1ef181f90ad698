# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Checks a benchmark's data, tells what is missing and where it comes from, and fills the video cache.

Images that lie inside annotation files are written out first, to where questions look for them.

python -m eval.prepare videomme --model DIR --annotations test.parquet --videos videos/
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image

from eval.benchmark import BENCHMARKS, Benchmark, Budget
from eval.command import add_seeing_flags, given_flags
from eval.item import EvalItem
from eval.options import locate
from eval.questions import Sight, located
from eval.runner import read_items
from verl.errors import ConfigError, DataError, VerlError
from verl.media.build import BuildOptions, BuildReport, build
from verl.models.adapter import load_adapter
from verl.types import VideoSpec

SHOWN = 10  # missing files that are named


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What is there of a benchmark."""

    benchmark: Benchmark
    items: tuple[EvalItem, ...]
    folder: Path  # of media
    missing: tuple[str, ...]  # media that items name and nobody has put there

    @property
    def answerable(self) -> int:
        """Items none of whose media is missing."""
        return len(self.items) - self._affected

    @property
    def _affected(self) -> int:
        gone = frozenset(self.missing)
        return sum(any(one.path in gone for one in item.media) for item in self.items)

    def lines(self) -> list[str]:
        """For a reader."""
        expected = self.benchmark.num_items
        official = (
            "the size of the official set is not published" if expected is None else f"the official set has {expected}"
        )
        told = [f"{self.benchmark.title}: {len(self.items)} items ({official})"]
        if expected not in (None, len(self.items)):
            told.append("  its figures can be compared with published ones over the same items only")
        if self.missing:
            told.append(
                f"  {len(self.missing)} media files are missing, which {self._affected} items need; they would fail"
            )
            told += [f"    {located(self.folder, path)}" for path in self.missing[:SHOWN]]
            told += [f"    and {len(self.missing) - SHOWN} more"] if len(self.missing) > SHOWN else []
            told.append(f"  they come from {self.benchmark.source}")
        return told


def survey(benchmark: Benchmark, annotations: Path, media: Path) -> Survey:
    """Read annotations and look for the media they name. Raises DataError."""
    items = read_items(benchmark, annotations)
    named = dict.fromkeys(one.path for item in items for one in item.media)
    missing = tuple(path for path in named if not located(media, path).exists())
    return Survey(benchmark=benchmark, items=items, folder=media, missing=missing)


def write_embedded(benchmark: Benchmark, annotations: Path, media: Path) -> int:
    """Write the images inside annotations to the folder of media, unless they are there; how many were written.

    Raises DataError for what is no image and for a place outside the folder.
    """
    written = 0
    for name, content in benchmark.embedded(annotations) if benchmark.embedded else ():
        place = media / name
        if not place.resolve().is_relative_to(media.resolve()):
            raise DataError(f"{annotations}: {name} is outside {media}")
        if place.is_file() and place.read_bytes() == content:
            continue
        try:
            with Image.open(io.BytesIO(content)) as image:
                image.verify()
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(
                f"{annotations}: what should be {name} is no image ({error}); fetch the file again"
            ) from None
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.with_name(f".{place.name}.tmp")
        temporary.write_bytes(content)
        temporary.replace(place)
        written += 1
    return written


def jobs(found: Survey, sight: Sight) -> list[tuple[str, VideoSpec]]:
    """What the cache must hold, each once; without what is missing."""
    wanted = [job for item in found.items for job in sight.jobs(item)]
    return [job for job in dict.fromkeys(wanted) if Path(job[0]).exists()]


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; exit status 1 when something is missing."""
    given = _parser().parse_args(argv)
    try:
        return _prepare(given)
    except VerlError as error:
        sys.stderr.write(f"\neval.prepare: {type(error).__name__}: {error}\n")
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m eval.prepare", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("benchmark", help="its name (python -m eval list), or file.py:NAME of your own")
    parser.add_argument("--annotations", type=Path, help="file or folder; default: in --data_root")
    parser.add_argument("--videos", type=Path, help="folder of media; default: in --data_root")
    parser.add_argument("--data_root", type=Path, default=Path("data/eval"))
    parser.add_argument("--cache_dir", type=Path, default=Path("outputs/video_cache"))
    parser.add_argument("--model", help="a Hugging Face folder; without one nothing is decoded")
    parser.add_argument("--workers", type=int, default=8, help="processes that decode")
    parser.add_argument("--retry_failed", action="store_true", help="decode again what failed before")
    add_seeing_flags(parser.add_argument_group("what the model sees; unset: what the benchmark asks for"))
    return parser


def _prepare(given: argparse.Namespace) -> int:
    benchmark = BENCHMARKS.resolve(given.benchmark)
    annotations, media = locate(benchmark, given.data_root, given.annotations, given.videos)
    written = write_embedded(benchmark, annotations, media)
    found = survey(benchmark, annotations, media)
    _say(*found.lines(), *([f"  {written} images written out of the annotations"] if written else []))
    if given.model is None:
        _say("  name --model to fill the video cache")
        return int(bool(found.missing))
    changes = given_flags(given, "fps", "max_frames", "max_pixels", "total_pixels")
    sight = Sight.of(
        Budget(**asdict(benchmark.budget) | changes),
        load_adapter(given.model).align,
        folder=media,
        cache_dir=given.cache_dir.absolute(),
        sampler=given.sampler,
    )
    options = BuildOptions(num_workers=given.workers, retry_failed=given.retry_failed)
    report = build(jobs(found, sight), sight.cache_dir, options)
    _say(*_told(report))
    if report.shortage is not None:
        raise ConfigError(str(report.shortage))
    return int(bool(found.missing or report.failed))


def _told(report: BuildReport) -> list[str]:
    done = f"  {report.built} clips decoded, {report.reused} were there, {len(report.failed)} failed"
    return [done, *(f"    {count} x {reason} (first: {path})" for count, reason, path in report.reasons())]


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    sys.exit(main())
