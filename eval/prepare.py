# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Checks a benchmark's data, tells what is missing and where it comes from, and fills the video cache.

python -m eval.prepare videomme --model DIR --annotations test.parquet --videos videos/
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from eval.benchmark import BENCHMARKS, Benchmark, Budget
from eval.command import add_seeing_flags, given_flags
from eval.item import EvalItem
from eval.options import locate
from eval.questions import Sight
from eval.runner import read_items
from verl.errors import ConfigError, VerlError
from verl.media.build import BuildOptions, BuildReport, build
from verl.models.adapter import load_adapter
from verl.types import VideoSpec

SHOWN = 10  # missing files that are named


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What is there of a benchmark."""

    benchmark: Benchmark
    items: tuple[EvalItem, ...]
    missing: tuple[Path, ...]  # media that items name and nobody has put there

    @property
    def answerable(self) -> int:
        """Items none of whose media is missing."""
        return len(self.items) - self._affected

    @property
    def _affected(self) -> int:
        gone = {str(path) for path in self.missing}
        return sum(any(any(name.endswith(one.path) for name in gone) for one in item.media) for item in self.items)

    def lines(self) -> list[str]:
        """For a reader."""
        expected = self.benchmark.num_items
        told = [f"{self.benchmark.title}: {len(self.items)} items (the official set has {expected})"]
        if len(self.items) != expected:
            told.append("  its figures can be compared with published ones over the same items only")
        if self.missing:
            told.append(
                f"  {len(self.missing)} media files are missing, which {self._affected} items need; they would fail"
            )
            told += [f"    {path}" for path in self.missing[:SHOWN]]
            told += [f"    and {len(self.missing) - SHOWN} more"] if len(self.missing) > SHOWN else []
            told.append(f"  they come from {self.benchmark.source}")
        return told


def survey(benchmark: Benchmark, annotations: Path, media: Path) -> Survey:
    """Read annotations and look for the media they name. Raises DataError."""
    items = read_items(benchmark, annotations)
    named = dict.fromkeys(media / one.path for item in items for one in item.media)
    return Survey(benchmark=benchmark, items=items, missing=tuple(path for path in named if not path.is_file()))


def jobs(found: Survey, sight: Sight) -> list[tuple[str, VideoSpec]]:
    """What the cache must hold, each once; without what is missing."""
    wanted = [job for item in found.items for job in sight.jobs(item)]
    gone = {str(path) for path in found.missing}
    return [job for job in dict.fromkeys(wanted) if job[0] not in gone]


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
    found = survey(benchmark, annotations, media)
    _say(*found.lines())
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
