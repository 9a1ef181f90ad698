# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Reading what the next batch needs while this one is worked on."""

from __future__ import annotations

import logging
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable

import numpy as np

from verl.errors import VerlError
from verl.media.storage import is_mapped
from verl.types import MediaClip, MediaRef

PAGE = 4096
log = logging.getLogger(__name__)


class ReadAhead:
    """One thread that loads the planned clips in order, and stops while `max_bytes` of them wait to be taken.

    A hint to the kernel does not do it: one request of it reads no more than a read-ahead window. A clip that fails is
    left to whoever asks for it, who meets the same error.
    """

    def __init__(self, load: Callable[[MediaRef], MediaClip], max_bytes: int) -> None:
        self._load = load
        self._max_bytes = max_bytes
        self._changed = threading.Condition()
        self._wanted: frozenset[str] = frozenset()
        self._planned: OrderedDict[str, MediaRef] = OrderedDict()
        self._ready: dict[str, MediaClip] = {}
        self._reading: MediaRef | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def plan(self, refs: Iterable[MediaRef]) -> None:
        """These come next, in this order. Whatever else was planned or has been read is let go."""
        with self._changed:
            wanted = {ref.key: ref for ref in refs}
            self._ready = {key: clip for key, clip in self._ready.items() if key in wanted}
            reading = self._reading.key if self._reading else None
            fresh = [(key, ref) for key, ref in wanted.items() if key not in self._ready and key != reading]
            self._planned = OrderedDict(fresh)
            if self._thread is None and self._planned and not self._closed:
                self._thread = threading.Thread(target=self._run, name="read-ahead", daemon=True)
                self._thread.start()
            self._wanted = frozenset(wanted)
            self._changed.notify_all()

    def take(self, ref: MediaRef) -> MediaClip | None:
        """The clip, when it has been read or is being read; None leaves the reading to the caller."""
        with self._changed:
            self._planned.pop(ref.key, None)
            self._changed.wait_for(lambda: self._reading is None or self._reading.key != ref.key)
            clip = self._ready.pop(ref.key, None)
            self._changed.notify_all()
            return clip

    def close(self) -> None:
        """End the thread and let everything go."""
        with self._changed:
            self._closed = True
            self._planned.clear()
            self._ready.clear()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while (ref := self._next()) is not None:
            clip = None
            try:
                clip = self._read(ref)
            finally:
                with self._changed:
                    self._reading = None
                    if clip is not None and not self._closed and ref.key in self._wanted:
                        self._ready[ref.key] = clip
                    self._changed.notify_all()

    def _next(self) -> MediaRef | None:
        """Wait until there is something to read and room for it; None when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._has_room())
            if self._closed:
                return None
            _, self._reading = self._planned.popitem(last=False)
            return self._reading

    def _has_room(self) -> bool:
        if not self._planned:
            return False
        held = sum(clip.frames.nbytes for clip in self._ready.values())
        return held == 0 or held + _num_bytes(next(iter(self._planned.values()))) <= self._max_bytes

    def _read(self, ref: MediaRef) -> MediaClip | None:
        try:
            clip = self._load(ref)
        except (VerlError, OSError) as error:
            log.info("could not read ahead %s: %s", ref.path, error)
            return None
        if is_mapped(clip.frames):
            np.bitwise_or.reduce(clip.frames.reshape(-1)[::PAGE])  # brings every page in, outside the lock of Python
        return clip


def _num_bytes(ref: MediaRef) -> int:
    metadata = ref.metadata
    return math.prod((metadata.num_frames, 3, metadata.height, metadata.width))
