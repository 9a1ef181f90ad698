# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""A language model as a judge of text, behind any OpenAI-compatible endpoint.

A verdict that cannot be had (the endpoint is down, the reply is not a verdict, the deadline has passed) is
NotScorable, never 0.
"""

from __future__ import annotations

import asyncio
import atexit
import hashlib
import json
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from verl.config.judge import JudgeConfig, judge_problems
from verl.errors import ConfigError
from verl.rewards.inquiry import Found, Inquiry
from verl.rewards.judge_cache import VerdictCache
from verl.rewards.judge_client import ChatClient, Endpoint, Reply, RequestError
from verl.rewards.judge_prompt import JudgeCase, choices, is_empty_talk, messages, read_verdict, schema
from verl.tracking.metrics import Metrics, Sum
from verl.types import NotScorable, Score, Verdict

Constraint: TypeAlias = Callable[[int | None], dict[str, Any]]  # request fields by the scale of a verdict

COUNTED = (
    "judgements",
    "unasked",
    "cache_hits",
    "requests",
    "retries",
    "failures",
    "prompt_tokens",
    "completion_tokens",
)
_FORMAT_WORDS = ("response_format", "json_schema", "schema", "structured", "guided", "grammar")

RIGHT, WRONG = (
    JudgeCase(question="How many legs does a horse have?", references=("four",), response=response)
    for response in ("It has 4 legs.", "It has 3 legs.")
)

log = logging.getLogger(__name__)


class Judge:
    """Judges from any number of threads; the bound on requests in flight holds for all of them together.

    Raises ConfigError for settings that cannot work, and for a key that is not in the environment.
    """

    def __init__(self, config: JudgeConfig) -> None:
        problems = list(judge_problems(config))
        if config.base_url is None or problems:
            raise ConfigError("\n".join(problems) or "worker.reward.judge.base_url is not set")
        self.config = config
        self._endpoint = _endpoint(config, config.base_url)
        path = config.prompt_path
        self._instructions = Path(path).expanduser().read_text(encoding="utf-8") if path else None
        self._cache = VerdictCache(Path(config.cache_dir).expanduser()) if config.cache_dir else None
        self._constrain = {"choice": choices, "none": _freely}.get(config.structured_output, schema)
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: ChatClient | None = None

    def judge(self, cases: Sequence[JudgeCase], *, seconds: float | None = None) -> list[Verdict]:
        """One verdict per case, in order: a Score whose `overall` is the share of full marks, or NotScorable.

        Returns within `seconds`, by default `deadline_seconds`. Equal cases are asked about once.
        """
        deadline = time.monotonic() + (self.config.deadline_seconds if seconds is None else seconds)
        keys = [None if is_empty_talk(case) else self._key(case) for case in cases]
        asked = {key: case for key, case in zip(keys, cases, strict=True) if key is not None}
        known = self._cache.find(list(asked)) if self._cache else {}
        missing = {key: case for key, case in asked.items() if key not in known}
        verdicts: dict[str, Verdict] = {key: Score(overall=share) for key, share in known.items()}
        verdicts |= self._ask_all(missing, deadline)
        given = [Score(overall=0.0) if key is None else verdicts[key] for key in keys]
        failures = [verdict.reason for verdict in given if isinstance(verdict, NotScorable)]
        if failures:
            log.warning("%d of %d responses got no verdict; the first: %s", len(failures), len(cases), failures[0])
        self._count("judgements", len(cases))
        self._count("unasked", keys.count(None))
        self._count("cache_hits", len(cases) - keys.count(None) - len(missing))
        self._count("failures", len(failures))
        return given

    def inquire(self, inquiry: Inquiry[Found]) -> Found | NotScorable:
        """What an inquiry finds; within `deadline_seconds`, bounded, tried again and kept as verdicts are."""
        key = self._digest([self._inquiry_body(inquiry, _freely), dict(inquiry.form)])
        kept = self._cache.find_reply(key) if self._cache else None
        found = None if kept is None else inquiry.read(kept)
        self._count("judgements")
        if found is not None:
            self._count("cache_hits")
            return found
        asking = self._inquire(inquiry, key, time.monotonic() + self.config.deadline_seconds)
        answer = asyncio.run_coroutine_threadsafe(asking, self._running_loop()).result()
        if isinstance(answer, NotScorable):
            log.warning("no reply to an inquiry: %s", answer.reason)
            self._count("failures")
        return answer

    def check(self) -> None:
        """One right and one wrong answer, past the cache. Raises ConfigError when the judge gives no verdict."""
        deadline = time.monotonic() + self.config.deadline_seconds
        verdicts = self._ask_all({"right": RIGHT, "wrong": WRONG}, deadline, keep=False)
        for verdict in verdicts.values():
            if isinstance(verdict, NotScorable):
                raise ConfigError(
                    f"worker.reward.judge: {self.config.model} at {self.config.base_url} gives no verdict on a simple"
                    f" answer: {verdict.reason}"
                )
        if verdicts != {"right": Score(overall=1.0), "wrong": Score(overall=0.0)}:
            log.warning("the judge %s cannot tell that a horse has 4 legs and not 3", self.config.model)

    def drain_metrics(self) -> Metrics:
        """What judging cost since the last call."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        return {f"reward/judge/{name}": Sum(float(counts[name])) for name in COUNTED}

    def close(self) -> None:
        """Hang up, and close the cache."""
        loop, client = self._loop, self._client
        self._loop = self._client = None
        atexit.unregister(self.close)
        if loop is not None and client is not None:
            asyncio.run_coroutine_threadsafe(client.close(), loop).result(timeout=5)
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)
        if self._cache is not None:
            self._cache.close()

    def _ask_all(self, cases: Mapping[str, JudgeCase], deadline: float, *, keep: bool = True) -> dict[str, Verdict]:
        if not cases:
            return {}
        asking = self._gather(cases, deadline, keep)
        return asyncio.run_coroutine_threadsafe(asking, self._running_loop()).result()

    async def _gather(self, cases: Mapping[str, JudgeCase], deadline: float, keep: bool) -> dict[str, Verdict]:
        cache = self._cache if keep else None

        async def ask(key: str, case: JudgeCase) -> Verdict:
            try:
                reply = await self._complete(partial(self._body, case), deadline)
            except RequestError as error:
                return NotScorable(reason=f"judge: {error}")
            share = self._read(reply, case)
            if share is None:
                return NotScorable(reason=f"judge: {reply.content[:80]!r} ({reply.ending}) is no verdict")
            if cache is not None:
                cache.add(key, share, reply.model)
            return Score(overall=share)

        verdicts = await asyncio.gather(*(ask(key, case) for key, case in cases.items()))
        return dict(zip(cases, verdicts, strict=True))

    async def _inquire(self, inquiry: Inquiry[Found], key: str, deadline: float) -> Found | NotScorable:
        try:
            reply = await self._complete(partial(self._inquiry_body, inquiry), deadline)
        except RequestError as error:
            return NotScorable(reason=f"judge: {error}")
        self._count("prompt_tokens", reply.prompt_tokens)
        self._count("completion_tokens", reply.completion_tokens)
        found = inquiry.read(reply.content)
        if found is None:
            return NotScorable(reason=f"judge: {reply.content[:80]!r} ({reply.ending}) is not in the form asked for")
        if self._cache is not None:
            self._cache.add_reply(key, reply.content, reply.model)
        return found

    async def _complete(self, body: Callable[[Constraint], dict[str, Any]], deadline: float) -> Reply:
        """A reply, constrained to the form asked for unless the endpoint refuses that."""
        if self._client is None:
            self._client = ChatClient(self._endpoint, self._count)
        client, constrain = self._client, self._constrain
        try:
            return await client.complete(body(constrain), deadline)
        except RequestError as error:
            is_refusal = error.status in (400, 422) and any(word in str(error).lower() for word in _FORMAT_WORDS)
            if not is_refusal or constrain is _freely or self.config.structured_output != "auto":
                raise
            log.warning("the judge's endpoint takes no response_format, replies are free text from now on: %s", error)
            self._constrain = _freely
            return await client.complete(body(_freely), deadline)

    def _read(self, reply: Reply, case: JudgeCase) -> float | None:
        self._count("prompt_tokens", reply.prompt_tokens)
        self._count("completion_tokens", reply.completion_tokens)
        return read_verdict(reply.content, case.scale)

    def _body(self, case: JudgeCase, constrain: Constraint) -> dict[str, Any]:
        """A request. In `extra_body` a field that is null leaves out one of these."""
        talk = messages(case, self.config.max_response_chars, self._instructions)
        return self._request(talk, self.config.max_tokens, constrain(case.scale))

    def _inquiry_body(self, inquiry: Inquiry[Any], constrain: Constraint) -> dict[str, Any]:
        fields = {} if constrain is _freely else inquiry.constraint(is_choice=constrain is choices)
        return self._request(inquiry.messages(), max(self.config.max_tokens, inquiry.max_tokens), fields)

    def _request(self, talk: list[dict[str, str]], max_tokens: int, constraint: dict[str, Any]) -> dict[str, Any]:
        body = {
            "model": self.config.model,
            "messages": talk,
            "temperature": self.config.temperature,
            "max_tokens": max_tokens,
            **constraint,
        }
        return {name: value for name, value in (body | self.config.extra_body).items() if value is not None}

    def _key(self, case: JudgeCase) -> str:
        """Everything that can change a verdict: the endpoint, and all that is sent to it."""
        return self._digest([self._body(case, _freely), case.scale])

    def _digest(self, sent: list[Any]) -> str:
        recipe = [self.config.base_url, self.config.structured_output, *sent]
        return hashlib.blake2b(json.dumps(recipe, sort_keys=True).encode(), digest_size=16).hexdigest()

    def _count(self, name: str, amount: int = 1) -> None:
        with self._lock:
            self._counts[name] += amount

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        """The loop that all requests share, in a thread of its own."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="judge", daemon=True).start()
                atexit.register(self.close)
            return self._loop


def _freely(scale: int | None) -> dict[str, Any]:
    return {}


def open_judge(config: JudgeConfig) -> Judge | None:
    """The judge that a configuration asks for, if it does."""
    return None if config.base_url is None else Judge(config)


def check_judge(config: JudgeConfig) -> None:
    """See Judge.check; nothing where no judge is asked for."""
    judge = open_judge(config)
    if judge is not None:
        try:
            judge.check()
        finally:
            judge.close()


def _endpoint(config: JudgeConfig, base_url: str) -> Endpoint:
    key = os.environ.get(config.api_key_env) if config.api_key_env else None
    if config.api_key_env and not key:
        raise ConfigError(
            f"worker.reward.judge.api_key_env={config.api_key_env}: this variable is not set here; set it on every node"
            " before Ray starts"
        )
    return Endpoint(
        base_url=base_url,
        key=key,
        timeout_seconds=config.timeout_seconds,
        max_retries=config.max_retries,
        max_concurrency=config.max_concurrency,
    )
