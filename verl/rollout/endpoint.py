# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""An OpenAI-compatible endpoint as a writer of responses. It is sent the frames that training sees, one image each."""

from __future__ import annotations

import asyncio
import base64
import io
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from PIL import Image

from verl.errors import WorkerError
from verl.media.source import load
from verl.models.adapter import MARK
from verl.rewards.judge_client import ChatClient, Endpoint, RequestError
from verl.rollout.engine import SamplingPlan
from verl.rollout.requests import row_seed
from verl.rollout.writers import Written
from verl.types import MediaClip, MediaRef, Prompt, Record, VideoMetadata

ImageFormat = Literal["jpeg", "png"]

HOPELESS = (401, 403, 404, 405)  # statuses that the next request would get too
JPEG_QUALITY = 95
REASON_CHARS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What requests to an endpoint say beside the question."""

    model: str
    image_format: ImageFormat = "jpeg"  # png: exact, and several times as large
    extra: Mapping[str, Any] = field(default_factory=dict)  # more fields of a request; null takes a field away


class EndpointWriter:
    """Asks an endpoint. To be made and used in one event loop."""

    def __init__(self, endpoint: Endpoint, dialect: Dialect, text_of: Callable[[Record], str]) -> None:
        """`text_of` words the prompt of a row; the endpoint has its own chat template."""
        self.counts: Counter[str] = Counter()
        self._dialect = dialect
        self._text_of = text_of
        self._client = ChatClient(endpoint, lambda what: self.counts.update([what]))

    async def close(self) -> None:
        """Hang up."""
        await self._client.close()

    async def write(self, prompt: Prompt, row: int, plan: SamplingPlan) -> Sequence[Written]:
        """See Writer. Raises WorkerError when the endpoint refuses us, and not this request."""
        content = await asyncio.to_thread(self._content, prompt)
        bodies = [self._body(content, plan, row, index) for index in range(plan.n)]
        return await asyncio.gather(*(self._answer(body) for body in bodies))

    async def _answer(self, body: dict[str, Any]) -> Written:
        try:
            reply = await self._client.complete(body, math.inf)
        except RequestError as error:
            if error.status in HOPELESS:
                raise WorkerError(f"the endpoint refuses requests for {self._dialect.model}: {error}") from error
            return Written(error=f"endpoint: {error}"[:REASON_CHARS])
        if not reply.content.strip():
            return Written(error=f"endpoint: an empty response (finish_reason {reply.ending or 'not given'})")
        return Written(
            text=reply.content, num_tokens=reply.completion_tokens, truncated=reply.ending not in ("stop", "")
        )

    def _content(self, prompt: Prompt) -> list[dict[str, Any]]:
        """The question with its media where their marks stand."""
        media, content = iter(prompt.media), list[dict[str, Any]]()
        for piece in MARK.split(self._text_of(prompt.record)):
            if MARK.fullmatch(piece):
                content += self._medium(next(media))
            elif piece.strip():
                content.append(_text(piece))
        return content

    def _medium(self, ref: MediaRef) -> Iterator[dict[str, Any]]:
        """An image; or the frames of a video, each after its time."""
        clip: MediaClip = load(ref)
        times = clip.metadata.timestamps if isinstance(clip.metadata, VideoMetadata) else (None,)
        for seconds, frame in zip(times, clip.frames.transpose(0, 2, 3, 1), strict=True):
            if seconds is not None:
                yield _text(f"<{seconds:.1f} seconds>")
            buffer = io.BytesIO()
            quality = {"quality": JPEG_QUALITY} if self._dialect.image_format == "jpeg" else {}
            Image.fromarray(frame).save(buffer, self._dialect.image_format, **quality)
            data = base64.b64encode(buffer.getvalue()).decode()
            yield {
                "type": "image_url",
                "image_url": {"url": f"data:image/{self._dialect.image_format};base64,{data}"},
            }

    def _body(self, content: list[dict[str, Any]], plan: SamplingPlan, row: int, index: int) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._dialect.model,
            "messages": [{"role": "user", "content": content}],
            "temperature": plan.temperature,
            "top_p": plan.top_p,
            "max_tokens": plan.max_tokens,
        }
        if plan.seed is not None:
            body["seed"] = row_seed(plan.seed, row, index) & 0x7FFFFFFF
        if plan.stop:
            body["stop"] = list(plan.stop)
        neutral = SamplingPlan()
        for name in ("top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty"):
            if getattr(plan, name) != getattr(neutral, name):
                body[name] = getattr(plan, name)
        return {name: value for name, value in (body | dict(self._dialect.extra)).items() if value is not None}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
