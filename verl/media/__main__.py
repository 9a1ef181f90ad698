# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Look after a video cache: verify, stats, prune, recode, preview, convert."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from verl.errors import DataError, MediaError, VerlError
from verl.media import care, legacy
from verl.media import codec as codecs
from verl.media.cache import ClipCache, Kind
from verl.media.entry import read_header
from verl.media.preprocess import read_rows
from verl.media.preview import Sheet, contact_sheet, write_sheet
from verl.types import VideoSpec

AGES = {"h": care.HOUR, "d": care.DAY, "w": 7 * care.DAY}
SIZES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
MAX_SHOWN = 20
SHEET = Sheet()


def main(argv: Sequence[str] | None = None) -> int:
    """0 when all is well, 1 when something is not, 2 for a command that makes no sense."""
    arguments = parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        return command(arguments)
    except (VerlError, OSError) as error:  # such as a full disk, or a directory that is another's
        sys.stderr.write(f"error: {error}\n")
        return 1


def parser() -> argparse.ArgumentParser:
    """All commands and their flags."""
    top = argparse.ArgumentParser(prog="python -m verl.media", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def add(command: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        summary = (command.__doc__ or "").partition("\n")[0]
        flags = commands.add_parser(
            command.__name__,
            help=summary,
            description=summary,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        flags.set_defaults(command=command)
        return flags

    flags = add(verify)
    flags.add_argument("cache", type=Path)
    flags.add_argument("--full", action="store_true", help="read every byte and compare checksums")
    add(stats).add_argument("cache", type=Path)
    _prune_flags(add(prune))
    flags = add(recode)
    flags.add_argument("cache", type=Path)
    flags.add_argument("--codec", choices=(codecs.RAW, codecs.ZROW), required=True)
    flags = add(preview)
    flags.add_argument("clip", type=Path, help="an entry, or a .pt clip of EasyVideoR1")
    flags.add_argument("--output", type=Path, required=True, help="PNG to write")
    flags.add_argument("--frames", type=int, default=SHEET.max_frames, help="at most, evenly spread")
    flags.add_argument("--columns", type=int, default=SHEET.columns)
    flags.add_argument("--width", type=int, default=SHEET.width, help="of each frame, in pixels")
    flags.add_argument("--align", type=int, default=SHEET.align, help="pixels per token side, of a .pt clip")
    flags.add_argument("--no_grid", action="store_true", help="do not draw the borders of tokens")
    _convert_flags(add(convert))
    return top


def _prune_flags(flags: argparse.ArgumentParser) -> None:
    flags.add_argument("cache", type=Path)
    flags.add_argument("--older_than", type=_age, metavar="AGE", help="what was written before: 12h, 30d, 8w")
    flags.add_argument("--max_size", type=_size, metavar="SIZE", help="the oldest until the rest fits: 500G, 2T")
    flags.add_argument("--keep", type=Path, nargs="+", metavar="FILE", help="what no row of these data files needs")
    flags.add_argument("--image_dir", type=Path, help="root of relative video paths in the data files")
    flags.add_argument("--yes", action="store_true", help="remove; without it, only say what would go")


def _convert_flags(flags: argparse.ArgumentParser) -> None:
    flags.add_argument("data", type=Path, help="rows with `videos` and `preprocessed_video`, JSON or JSON lines")
    flags.add_argument("cache", type=Path)
    flags.add_argument("--clips_dir", type=Path, help="root of relative paths in `preprocessed_video`")
    flags.add_argument("--image_dir", type=Path, help="root of relative video paths")
    flags.add_argument("--codec", choices=(codecs.RAW, codecs.ZROW), default=codecs.RAW)
    flags.add_argument("--compare_every", type=int, default=50, help="decode every n-th video and compare; 0: none")
    for name, kind, default in SPEC_FLAGS:
        flags.add_argument(f"--{name}", type=kind, default=default)


SPEC_FLAGS = (  # as in scripts/preprocess_videos.py
    ("video_fps", float, 2.0),
    ("video_min_frames", int, 4),
    ("video_max_frames", int, 128),
    ("video_min_pixels", int, 4 * 32 * 32),
    ("video_max_pixels", int, 64 * 32 * 32),
    ("video_total_pixels", int, None),
    ("align", int, 32),
    ("sampler", str, "qwen_utils"),
    ("decoder", str, "pyav"),
)


def verify(arguments: argparse.Namespace) -> int:
    """check every entry: header and size, or every byte"""
    found = care.verify(ClipCache(arguments.cache), full=arguments.full)
    for _, reason in found.problems:
        _print(reason)
    _print(
        f"{found.sound} sound entries ({_shown(found.bytes)}), {len(found.problems)} damaged; "
        f"{found.failures} videos recorded as unreadable, {found.unfinished} unfinished files"
    )
    return 1 if found.problems else 0


def stats(arguments: argparse.Namespace) -> int:
    """add up what is in a cache, by recipe and codec, and failures by reason"""
    found = care.stats(ClipCache(arguments.cache))
    _print(f"total: {_row(found.total)}")
    for title, shares in (("recipe", found.by_spec), ("codec", found.by_codec)):
        for name, share in sorted(shares.items(), key=lambda item: -item[1].bytes):
            _print(f"{title} {name}: {_row(share)}")
    for reason, count in list(found.failures.items())[:MAX_SHOWN]:
        _print(f"failed {count}: {reason}")
    if len(found.failures) > MAX_SHOWN:
        _print(f"failed {sum(list(found.failures.values())[MAX_SHOWN:])}: for {len(found.failures) - MAX_SHOWN} others")
    if found.unfinished:
        _print(f"unfinished: {found.unfinished} files, {_shown(found.unfinished_bytes)}")
    if found.unreadable:
        _print(f"damaged: {found.unreadable} entries; `verify` names them")
    return 0


def prune(arguments: argparse.Namespace) -> int:
    """remove entries by age, by size, or unless data files need them; nothing younger than an hour"""
    cache = ClipCache(arguments.cache)
    rule = care.PruneRule(
        older_than=arguments.older_than,
        max_bytes=arguments.max_size,
        keep=care.References.of(arguments.keep, arguments.image_dir) if arguments.keep else None,
    )
    plan = care.plan_prune(cache, rule)
    kinds = ", ".join(f"{sum(one.kind is kind for one in plan.remove)} {kind}" for kind in Kind)
    for one in plan.remove[:MAX_SHOWN]:
        _print(f"{datetime.fromtimestamp(one.mtime, UTC):%Y-%m-%d %H:%M} {_shown(one.bytes):>10} {one.path}")
    if len(plan.remove) > MAX_SHOWN:
        _print(f"... and {len(plan.remove) - MAX_SHOWN} more")
    _print(f"to remove: {kinds} files, {_shown(plan.bytes)}; to stay: {plan.kept} entries, {_shown(plan.kept_bytes)}")
    if arguments.yes:
        _print(f"{care.prune(plan)} files removed")
    elif plan.remove:
        _print("nothing was removed; add --yes to do it")
    return 0


def recode(arguments: argparse.Namespace) -> int:
    """store the entries of a cache otherwise, pixel for pixel the same: raw is fast, zrow is small"""
    cache = ClipCache(arguments.cache, arguments.codec)
    before = after = damaged = 0
    for one in list(cache.members()):
        if one.kind is Kind.ENTRY:
            try:
                cache.recode(one.path)
            except MediaError as error:
                _print(error)
                damaged += 1
                continue
            before, after = before + one.bytes, after + one.path.stat().st_size
    _print(f"{_shown(before)} before, {_shown(after)} now; {damaged} could not be read")
    return 1 if damaged else 0


def preview(arguments: argparse.Namespace) -> int:
    """write a picture of what the model sees of one clip"""
    align, name = arguments.align, arguments.clip.name
    if arguments.clip.suffix == ".pt":
        clip = legacy.load_clip(arguments.clip)
    else:
        header = read_header(arguments.clip)
        clip, align, name = ClipCache.load(arguments.clip), header.spec.align, header.source.path
    sheet = Sheet(
        max_frames=arguments.frames,
        columns=arguments.columns,
        width=arguments.width,
        align=align,
        grid=not arguments.no_grid,
    )
    write_sheet(arguments.output.absolute(), contact_sheet(clip, sheet, name))
    _print(arguments.output)
    return 0


def convert(arguments: argparse.Namespace) -> int:
    """write entries from the .pt clips of EasyVideoR1 that a data file names"""
    spec = VideoSpec(
        **{name.removeprefix("video_"): getattr(arguments, name) for name, _, _ in SPEC_FLAGS},
    )
    pairs = [
        (_under(arguments.image_dir, video), _under(arguments.clips_dir, clip))
        for row in read_rows(arguments.data)
        for video, clip in zip(  # EasyVideoR1 caches the first video of a row
            care.listed(row.get("videos")), care.listed(row.get("preprocessed_video")), strict=False
        )
    ]
    if not pairs:
        raise DataError(f"{arguments.data}: no row has both `videos` and `preprocessed_video`")
    cache = ClipCache(arguments.cache.expanduser().absolute(), arguments.codec)
    report = legacy.convert(pairs, cache, spec, compare_every=arguments.compare_every)
    for _, reason in report.failed:
        _print(reason)
    _print(
        f"{report.converted} converted, {report.reused} found in the cache, {len(report.failed)} refused; "
        f"{report.compared} compared with a decoding"
    )
    return 1 if report.failed else 0


def _print(text: object) -> None:
    sys.stdout.write(f"{text}\n")


def _under(root: Path | None, path: str) -> str:
    return str(root / path) if root else path


def _row(share: care.Share) -> str:
    return (
        f"{share.entries} entries, {_shown(share.bytes)}, {share.frames} frames, {share.seconds / 3600:.1f} h of video"
    )


def _shown(size: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.2f} TiB"


def _age(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([hdw])", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no age; write 12h, 30d or 8w")
    return float(found[1]) * AGES[found[2]]


def _size(text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write 500G or 2T")
    return int(float(found[1]) * SIZES[found[2]])


if __name__ == "__main__":
    sys.exit(main())
