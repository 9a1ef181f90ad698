# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Subtitle files, and which subtitles go with the frames that a model sees. Times are in seconds."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from eval.item import Subtitle
from verl.errors import DataError

FOLDERS = ("subtitles", "subtitle")
PAUSE = 0.5  # between words of two sentences
SHORT_PAUSE = 0.1  # the same after a full stop
SHORTEST = 1.0  # LongVideoBench looks for frames at least this long

_TIMES = re.compile(r"(\d+):(\d+):(\d+)[,.](\d+)\s*-->\s*(\d+):(\d+):(\d+)[,.](\d+)")
_MARKUP = re.compile(r"</?[a-zA-Z][^<>]{0,60}>")


def subtitle_folder(annotations: Path) -> Traversable:
    """The subtitles in the folder of annotations or beside it, a folder or a zip archive. Raises DataError without."""
    places = [annotations, annotations.parent, annotations.parent.parent]
    for place in places:
        for name in FOLDERS:
            if (place / name).is_dir():
                return place / name
            if (place / f"{name}.zip").is_file():
                return _unpacked(place / f"{name}.zip")
    raise DataError(
        f"{annotations}: no folder {' or '.join(FOLDERS)} and no such .zip there or in {places[1]}; put subtitles there"
    )


def file_of_video(
    read: Callable[[Traversable], tuple[Subtitle, ...]], ending: str, *columns: str
) -> Callable[[Traversable, Mapping[str, Any]], tuple[Subtitle, ...]]:
    """How a row finds its subtitles: in the file named by the first of these columns that it has; without one, none."""

    def heard(folder: Traversable, fields: Mapping[str, Any]) -> tuple[Subtitle, ...]:
        name = next((fields[column] for column in columns if fields.get(column)), None)
        file = folder / f"{name}{ending}"
        return read(file) if name is not None and file.is_file() else ()

    return heard


def _unpacked(archive: Path) -> Traversable:
    try:
        root = zipfile.Path(archive)
    except zipfile.BadZipFile as error:
        raise DataError(f"{archive}: not a zip archive ({error}); fetch it again") from None
    return next((root / name for name in (*FOLDERS, archive.stem) if (root / name).is_dir()), root)


def _text(file: Traversable) -> str:
    return file.read_bytes().decode("utf-8-sig", errors="replace")


def read_srt(file: Traversable) -> tuple[Subtitle, ...]:
    """Subtitles of an .srt or .vtt file, in order of their start."""
    found = []
    blocks = re.split(r"\n\s*\n", _text(file).replace("\r", ""))
    for block in blocks:
        times = _TIMES.search(block)
        if times is None:
            continue
        text = " ".join(_MARKUP.sub("", block[times.end() :]).split())
        start, end = _seconds(times.groups()[:4]), _seconds(times.groups()[4:])
        if text:
            found.append(Subtitle(start=start, end=end, text=text))
    return tuple(sorted(found, key=lambda one: one.start))


def _seconds(parts: Sequence[str]) -> float:
    hours, minutes, seconds, fraction = parts
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + float(f"0.{fraction}")


def read_long_video_bench(file: Traversable, starts_at: float, duration: float) -> tuple[Subtitle, ...]:
    """Subtitles of a LongVideoBench file, for a video that was cut out of a longer one at `starts_at`."""
    rows = _parse(_text(file), file.name)
    return tuple(timed(row, starts_at, duration, f"{file.name} row {number}") for number, row in enumerate(rows))


def timed(row: Mapping[str, Any], starts_at: float, duration: float, where: str) -> Subtitle:
    """One row of it, {start, end, line} or {timestamp, text}. What has no end ends `duration` after that began."""
    try:
        if "timestamp" in row:
            start, end = row["timestamp"]
            end, text = (end if isinstance(end, float) else duration), row["text"]
        else:
            start, end, text = _clock(row["start"]), _clock(row["end"]), row["line"]
        return Subtitle(start=start - starts_at, end=end - starts_at, text=text)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{where}: is no subtitle ({error!r}): {str(row)[:80]}") from None


def _clock(time: str) -> float:
    hours, minutes, seconds = time.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def read_words(file: Traversable) -> tuple[Subtitle, ...]:
    """Sentences of a Video-MME-v2 file, which has a word with its times on each line."""
    words = []
    for number, line in enumerate(_text(file).splitlines(), 1):
        if line.strip():
            row = _parse(line, f"{file.name}:{number}")
            try:
                words.append(Subtitle(start=row["start_time"], end=row["end_time"], text=row["text"]))
            except (KeyError, TypeError) as error:
                raise DataError(f"{file.name}:{number}: is no word with its times ({error!r})") from None
    return tuple(_sentences(words))


def _sentences(words: Sequence[Subtitle]) -> Iterator[Subtitle]:
    current: list[Subtitle] = []
    for word in words:
        if current:
            pause = word.start - current[-1].end
            has_ended = current[-1].text.rstrip().endswith((".", "!", "?"))
            if pause > PAUSE or (has_ended and pause > SHORT_PAUSE):
                yield _joined(current)
                current = []
        current.append(word)
    if current:
        yield _joined(current)


def _joined(words: Sequence[Subtitle]) -> Subtitle:
    return Subtitle(start=words[0].start, end=words[-1].end, text=" ".join(word.text for word in words))


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise DataError(f"{where}: not JSON: {error}") from None


def on_frames(subtitles: Sequence[Subtitle], times: Sequence[float]) -> list[Subtitle]:
    """Video-MME: the subtitles during which a frame was taken."""
    return [one for one in subtitles if any(one.start <= time < one.end for time in times)]


def between_frames(subtitles: Sequence[Subtitle], times: Sequence[float]) -> list[tuple[int, Subtitle]]:
    """LongVideoBench: the subtitles with a frame inside, and before each how many frames come.

    It stands after the frames up to its middle, and one shorter than a second counts as a second. Frames that stand
    already stay, so a subtitle out of order comes where its predecessor does.
    """
    found, shown = [], 0
    for one in subtitles:
        middle = (one.start + one.end) / 2
        while shown < len(times) and times[shown] <= middle:
            shown += 1
        start, end = one.start, one.end
        if end - start < SHORTEST:
            start, end = middle - SHORTEST / 2, middle + SHORTEST / 2
        if any(start < time < end for time in times):
            found.append((shown, one))
    return found


def with_times(subtitles: Sequence[Subtitle]) -> str:
    """Subtitles as lines that begin with their times."""
    return "\n".join(f"[{one.start:.1f}s - {one.end:.1f}s] {one.text}" for one in subtitles)
