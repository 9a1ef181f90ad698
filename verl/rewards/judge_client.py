# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Chat completions over HTTP: tries again when that may help, and says why when it does not."""

from __future__ import annotations

import asyncio
import email.utils
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from verl.errors import VerlError

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 30.0
CONNECT_SECONDS = 10.0
MAX_REPLY_BYTES = 4 << 20


class RequestError(VerlError):
    """A request that got no usable reply."""

    def __init__(self, what: str, *, status: int | None = None, wait: float | None = None, passing: bool = False):
        super().__init__(what)
        self.status = status
        self.wait = wait  # seconds, as the endpoint asked in Retry-After
        self.passing = passing  # whether another attempt may help


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the model said."""

    content: str
    model: str  # the name the endpoint gives itself
    ending: str  # finish_reason
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where requests go, and how patient they are. The key is not shown when this is printed."""

    base_url: str
    key: str | None = field(default=None, repr=False)
    timeout_seconds: float  # of one attempt
    max_retries: int
    max_concurrency: int


class ChatClient:
    """A client of one endpoint, to be made and used in one event loop. `count` is told of "requests" and "retries"."""

    def __init__(self, endpoint: Endpoint, count: Callable[[str], None]) -> None:
        self._count = count
        self._endpoint = endpoint
        self._slots = asyncio.Semaphore(endpoint.max_concurrency)
        self._url = endpoint.base_url.rstrip("/") + "/chat/completions"
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            connector=aiohttp.TCPConnector(limit=0),  # slots are the bound: waiting for one is not part of an attempt
            trust_env=True,  # proxies
        )

    async def close(self) -> None:
        """Hang up."""
        await self._session.close()

    async def complete(self, body: dict[str, Any], deadline: float) -> Reply:
        """The reply to `body`, by `deadline` on the monotonic clock. Raises RequestError.

        A request that waits for its next attempt keeps its slot: an endpoint in trouble gets fewer of them.
        """
        try:
            async with asyncio.timeout(deadline - time.monotonic()), self._slots:
                return await self._persist(body, deadline)
        except TimeoutError:
            raise RequestError("no reply before the deadline of the batch") from None

    async def _persist(self, body: dict[str, Any], deadline: float) -> Reply:
        attempt = 0
        while True:
            try:
                return await self._attempt(body)
            except RequestError as error:
                wait = _wait_seconds(attempt, error.wait)
                if not error.passing or attempt >= self._endpoint.max_retries:
                    tries = f" (attempt {attempt + 1})" if attempt else ""
                    raise RequestError(f"{error}{tries}", status=error.status) from error
                if time.monotonic() + wait >= deadline:
                    message = f"{error}; the next attempt, in {wait:.1f} s, would be after the deadline"
                    raise RequestError(message, status=error.status) from error
            attempt += 1
            self._count("retries")
            await asyncio.sleep(wait)

    async def _attempt(self, body: dict[str, Any]) -> Reply:
        self._count("requests")
        seconds = self._endpoint.timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                return await self._post(body)
        except TimeoutError:
            raise RequestError(f"no reply within {seconds:g} s", passing=True) from None
        except aiohttp.ClientError as error:
            gist = f"{type(error).__name__} {error}".strip()
            raise RequestError(f"the connection failed: {gist}"[:300], passing=True) from error

    async def _post(self, body: dict[str, Any]) -> Reply:
        async with self._session.post(self._url, json=body, allow_redirects=False) as response:
            text = await self._read(response)
            if response.status != 200:
                raise RequestError(
                    f"status {response.status}: {self._gist(text)}",
                    status=response.status,
                    wait=_retry_after(response.headers.get("Retry-After")),
                    passing=response.status == 429 or response.status >= 500,
                )
        try:
            return _reply(json.loads(text))
        except (ValueError, RecursionError, LookupError, TypeError) as error:
            raise RequestError(f"the reply is no chat completion: {self._gist(text)}") from error

    async def _read(self, response: aiohttp.ClientResponse) -> str:
        data = bytearray()
        async for piece in response.content.iter_chunked(1 << 16):
            data += piece
            if len(data) > MAX_REPLY_BYTES:
                raise RequestError(f"the reply is longer than {MAX_REPLY_BYTES} bytes")
        return data.decode("utf-8", "replace")

    def _gist(self, text: str) -> str:
        """The beginning of what the endpoint wrote, on one line; endpoints have been seen to repeat the key."""
        key = self._endpoint.key
        return " ".join((text.replace(key, "***") if key else text)[:1_000].split())[:200] or "(nothing)"


def _reply(message: Any) -> Reply:
    """Raises LookupError or TypeError for anything but a completion with one choice of text."""
    [choice] = message["choices"]
    content = choice["message"]["content"]
    if not isinstance(content, str):
        content = ""  # a refusal or a tool call
    usage = message.get("usage") or {}
    return Reply(
        content=content,
        model=str(message.get("model") or ""),
        ending=str(choice.get("finish_reason") or ""),
        prompt_tokens=int(usage.get("prompt_tokens") or 0),
        completion_tokens=int(usage.get("completion_tokens") or 0),
    )


def _wait_seconds(attempt: int, asked: float | None) -> float:
    """Doubling, with jitter, so that clients that failed together do not come back together."""
    if asked is not None:
        return asked + random.uniform(0, min(1.0, 0.1 * asked + 0.05))
    return min(FIRST_WAIT_SECONDS * 2.0**attempt, LONGEST_WAIT_SECONDS) * random.uniform(0.5, 1.0)


def _retry_after(header: str | None) -> float | None:
    """Seconds from a Retry-After header: a number, or a date. None when there is none that can be read."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return min(float(header), 1e6)
    try:
        return max(email.utils.parsedate_to_datetime(header).timestamp() - time.time(), 0.0)
    except (ValueError, OverflowError):
        return None
