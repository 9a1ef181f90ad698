# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The worker.reward.judge section: a language model that scores what rules cannot, and what it may cost."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from verl.config.keys import free, key

JUDGED_TASKS = (
    "open-ended",
    "free-form",
    "video qa",
    "video description",
    "video caption",
    "caption",
    "captioning",
    "description",
    "preference",
    "llava",
    "critic",
    "llava critic",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeConfig:
    """A judge behind an OpenAI-compatible endpoint. It sees text only."""

    base_url: str | None = key(None, "endpoint, such as http://localhost:8000/v1; null = no judge")
    model: str | None = key(None, "name of the model there")
    api_key_env: str | None = key(None, "environment variable that holds the key, on every node; null = no key")
    tasks: tuple[str, ...] = key(JUDGED_TASKS, "problem types it scores, where rules alone are not sure")
    prompt_path: str | None = key(None, "text file that says what is right, in place of the built-in wording")
    max_response_chars: int = key(4000, "longer answers are cut, and the judge is told")
    max_tokens: int = key(64, "tokens of a verdict; a model that reasons first needs room for that too")
    temperature: float = key(0.0, "sampling temperature of the judge")
    structured_output: Literal["auto", "json_schema", "choice", "none"] = key(
        "auto",
        "how the endpoint keeps to the form of a verdict; auto = json_schema until it refuses, choice = vLLM's own",
    )
    extra_body: dict[str, Any] = free("more fields of each request, such as chat_template_kwargs")
    max_concurrency: int = key(16, "requests in flight from each process that scores")
    max_retries: int = key(4, "further attempts after status 429 or 5xx, a timeout or a lost connection")
    timeout_seconds: float = key(60.0, "seconds for one attempt")
    deadline_seconds: float = key(240.0, "seconds for all verdicts of a batch; what is late is masked")
    cache_dir: str | None = key(None, "folder on a local disk that keeps verdicts; null = none are kept")


def judge_problems(judge: JudgeConfig) -> Iterator[str]:
    """What is wrong with the section by itself."""
    at = "worker.reward.judge"
    if judge.base_url is None:
        return
    yield from _endpoint(judge, at)
    for name in ("max_response_chars", "max_tokens", "max_concurrency"):
        if (value := getattr(judge, name)) < 1:
            yield f"{at}.{name}={value}: must be at least 1"
    for name in ("temperature", "max_retries"):
        if not 0 <= (value := getattr(judge, name)) < math.inf:
            yield f"{at}.{name}={value}: must not be negative"
    for name in ("timeout_seconds", "deadline_seconds"):
        if not 0 < (value := getattr(judge, name)) < math.inf:
            yield f"{at}.{name}={value}: must be above 0"


def _endpoint(judge: JudgeConfig, at: str) -> Iterator[str]:
    try:
        url = urlsplit(judge.base_url or "")
        is_usable = url.scheme in ("http", "https") and bool(url.hostname) and (url.port or 1) > 0
    except ValueError:
        url, is_usable = urlsplit(""), False
    if not is_usable or url.query or url.fragment:
        yield f"{at}.base_url={judge.base_url}: write http://host:port/v1, without anything behind it"
    if url.username or url.password:
        yield f"{at}.base_url holds a name or password, which would be logged; use {at}.api_key_env"
    if not judge.model:
        yield f"{at}.model is not set: name the model that judges"
    if judge.prompt_path is not None and not Path(judge.prompt_path).expanduser().is_file():
        yield f"{at}.prompt_path={judge.prompt_path}: there is no such file"
