# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""How long prompts are, found out from the headers of their media before a job starts."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from verl.data.prompts import Media, PromptBuilder
from verl.data.records import report
from verl.errors import DataError, MediaError
from verl.types import MediaMetadata, MediaRef, Record

logger = logging.getLogger(__name__)

SHARES = (50, 90, 99)  # percent of the prompts


class Headers:
    """Media of which each header is read once, however many rows share it, and each failure told again."""

    def __init__(self, media: Media) -> None:
        self._media = media
        self._known: dict[str, MediaMetadata | str] = {}

    def ref(self, path: str) -> MediaRef:
        """As the media."""
        return self._media.ref(path)

    def measure(self, path: str) -> MediaMetadata:
        """As the media, from memory if it has been asked for before."""
        if path not in self._known:
            try:
                self._known[path] = self._media.measure(path)
            except MediaError as error:
                self._known[path] = str(error)
        found = self._known[path]
        if isinstance(found, str):
            raise MediaError(found)
        return found


def measure(records: Sequence[Record], builder: PromptBuilder, workers: int) -> list[int]:
    """Tokens of every record's prompt. Raises DataError for the first that cannot be built."""
    quick = replace(builder, videos=Headers(builder.videos), images=Headers(builder.images))
    with ThreadPoolExecutor(workers, thread_name_prefix="prompt-lengths") as pool:
        return list(pool.map(quick.length, records))


def fitting(records: Sequence[Record], lengths: Sequence[int], limit: int, *, drop: bool) -> list[bool]:
    """Which records have prompts of at most `limit` tokens.

    Longer ones are reported: with `drop` in the log, without as a DataError. Raises DataError when none is left.
    """
    rows = zip(records, lengths, strict=True)
    found = [overlong(record, length, limit) for record, length in rows if length > limit]
    fits = [length <= limit for length in lengths]
    if found and not (drop and any(fits)):
        leave_out = ", or set data.filter_overlong_prompts=true to leave such rows out" if any(fits) else ""
        raise DataError(
            f"{report(found, f'of {len(records)} prompts are too long')}\n"
            f"raise data.max_prompt_length, or lower the pixels or frames of the media{leave_out}"
        )
    if found:
        logger.warning("%s", report(found, f"of {len(records)} rows are left out"))
    logger.info("prompt lengths in tokens: %s", spread(lengths))
    return fits


def overlong(record: Record, length: int, limit: int) -> str:
    """What to say of a prompt that is too long."""
    return f"{record.where}: the prompt has {length} tokens, data.max_prompt_length is {limit}"


def spread(lengths: Sequence[int]) -> str:
    """The shortest, the longest, and what so many percent of them do not exceed."""
    marks = ", ".join(f"{share}% {np.percentile(lengths, share, method='higher'):.0f}" for share in SHARES)
    return f"shortest {min(lengths)}, {marks}, longest {max(lengths)}"
