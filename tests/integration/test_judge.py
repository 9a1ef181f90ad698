# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""A judge in vLLM's own OpenAI server. The tiny model knows nothing; its verdicts are verdicts all the same."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.world import tiny_model
from verl.config.judge import JudgeConfig
from verl.errors import ConfigError
from verl.rewards.judge import Judge, check_judge
from verl.rewards.judge_prompt import JudgeCase
from verl.rollout.environment import engine_environment
from verl.types import NotScorable, Score

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

SERVE = "--dtype float32 --max-model-len 2048 --max-num-seqs 8 --enforce-eager --served-model-name tiny"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("judge")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    options = [*SERVE.split(), "--kv-cache-memory-bytes", str(64 << 20), "--host", "127.0.0.1", "--port", port]
    module = "vllm.entrypoints.openai.api_server"
    command = [sys.executable, "-m", module, "--model", str(tiny_model(directory / "model", "qwen3")), *options]
    with (directory / "log").open("wb") as log:
        server = subprocess.Popen(command, env={**os.environ, **engine_environment("cpu")}, stdout=log, stderr=log)
    try:
        _wait_until_up(server, f"http://127.0.0.1:{port}/health", directory / "log")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(30)


def _wait_until_up(server: subprocess.Popen[bytes], health: str, log: Path) -> None:
    deadline = time.monotonic() + 180
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(health, timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"the server did not start; its log ends with:\n{log.read_text(errors='replace')[-4000:]}")


def test_a_model_that_knows_nothing_gives_strict_verdicts_when_decoding_is_constrained(url: str) -> None:
    kinds = (None, 10) * 4
    cases = [
        JudgeCase(question="Which?", references=("red",), response=f"<|im_end|> blue {n}", scale=scale)
        for n, scale in enumerate(kinds)
    ]
    config = JudgeConfig(base_url=url, model="tiny", structured_output="choice")
    check_judge(config)
    judge = Judge(config)
    verdicts = judge.judge(cases)
    assert all(isinstance(verdict, Score) and 0 <= verdict.overall <= 1 for verdict in verdicts), verdicts
    metrics = judge.drain_metrics()
    judge.close()
    assert metrics["reward/judge/failures"].value == 0
    assert metrics["reward/judge/prompt_tokens"].value > 8 * 100


def test_a_schema_is_understood_and_what_free_text_says_is_refused(url: str) -> None:
    case = JudgeCase(question="Which?", references=("red",), response="blue", scale=10)
    for form, beginning in (("json_schema", "{"), ("none", "")):
        judge = Judge(JudgeConfig(base_url=url, model="tiny", structured_output=form))  # type: ignore[arg-type]
        [verdict] = judge.judge([case])
        judge.close()
        # A schema leaves room for white space, in which a model of noise may lose itself.
        assert isinstance(verdict, Score) or verdict.reason.startswith(f"judge: '{beginning}")
        assert form != "none" or isinstance(verdict, NotScorable)


def test_a_model_that_is_not_served_is_named_before_the_run(url: str) -> None:
    with pytest.raises(ConfigError, match=r"nobody at http.*status 404.*does not exist"):
        check_judge(JudgeConfig(base_url=url, model="nobody"))
