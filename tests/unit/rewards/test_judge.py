# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""A judge against a real HTTP server that behaves, misbehaves, or is talked into something."""

from __future__ import annotations

import email.utils
import json
import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.judge_endpoint import RESET, Answer, FakeEndpoint, case, judging
from verl.config.judge import JudgeConfig
from verl.errors import ConfigError
from verl.rewards import judge_client
from verl.rewards.judge import Judge, check_judge
from verl.types import NotScorable, Score

RIGHT, WRONG = '{"correct": true}', '{"correct": false}'


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge_client, "FIRST_WAIT_SECONDS", 0.02)


def counts(judge: Judge) -> dict[str, float]:
    metrics = judge.drain_metrics()
    return {name.removeprefix("reward/judge/"): metric.value for name, metric in metrics.items() if metric.value}


def reason(verdict: object) -> str:
    assert isinstance(verdict, NotScorable)
    return verdict.reason


def test_verdicts_come_in_order_and_are_counted() -> None:
    def by_colour(body: dict[str, Any]) -> Answer:
        is_red = "red" in json.loads(body["messages"][1]["content"])["response"]
        return Answer(RIGHT if is_red else WRONG, seconds=0.1 if is_red else 0.0)

    with judging(by_colour) as (judge, endpoint):
        verdicts = judge.judge([case("red 1"), case("blue"), case("red 2")])
        assert verdicts == [Score(overall=1.0), Score(overall=0.0), Score(overall=1.0)]
        assert counts(judge) == {"judgements": 3, "requests": 3, "prompt_tokens": 300, "completion_tokens": 15}
        assert counts(judge) == {}
        assert endpoint.asked[0]["temperature"] == 0.0


def test_a_grade_is_a_share_of_the_scale() -> None:
    with judging(Answer('{"score": 7}')) as (judge, endpoint):
        assert judge.judge([case(scale=10, rubric="1 point for each colour")]) == [Score(overall=0.7)]
        assert endpoint.data()["rubric"] == "1 point for each colour"
        schema = endpoint.asked[0]["response_format"]["json_schema"]["schema"]
        assert schema["properties"]["score"]["enum"] == list(range(11))


@pytest.mark.parametrize(
    "trouble",
    [
        Answer(status=429),
        Answer(status=500),
        Answer(status=503, raw=b"<html>busy"),
        Answer(seconds=2.5),
        RESET,
        Answer(raw=b'{"choices": [{"mess', length=500),
    ],
    ids=["429", "500", "503", "slow", "reset", "cut short"],
)
def test_what_may_pass_is_tried_again(trouble: Any) -> None:
    with judging(trouble, trouble, Answer(RIGHT), timeout_seconds=1.5) as (judge, endpoint):
        assert judge.judge([case()]) == [Score(overall=1.0)]
        assert len(endpoint.asked) == 3
        assert counts(judge) | {"prompt_tokens": 0, "completion_tokens": 0} == {
            "judgements": 1,
            "requests": 3,
            "retries": 2,
            "prompt_tokens": 0,
            "completion_tokens": 0,
        }


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Answer(status=400, raw=b"too long"), "status 400: too long"),
        (Answer(status=401), "status 401"),
        (Answer(status=404), "status 404"),
        (Answer(status=307, headers={"Location": "http://127.0.0.1:1/"}), "status 307"),
        (Answer(raw=b"<html>welcome</html>"), "no chat completion: <html>"),
        (Answer(raw=b'{"choices": [{"mess'), "no chat completion"),
        (Answer(raw=b'{"choices": []}'), "no chat completion"),
        (Answer(raw=b"[" * 100_000), "no chat completion"),
        (Answer(raw=b" " * (5 << 20)), "longer than"),
        (Answer(None), "'' (stop) is no verdict"),
        (Answer("It is correct."), "'It is correct.' (stop) is no verdict"),
        (Answer('{"score": 1}'), "is no verdict"),
    ],
)
def test_what_will_not_pass_is_not_scorable_at_once(answer: Answer, why: str) -> None:
    with judging(answer) as (judge, endpoint):
        [verdict] = judge.judge([case()])
        assert why in reason(verdict)
        assert len(endpoint.asked) == 1
        assert counts(judge)["failures"] == 1


def test_attempts_are_bounded_and_the_cause_is_named(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), judging(Answer(status=502), max_retries=2) as (judge, endpoint):
        [verdict] = judge.judge([case()])
        assert "status 502" in reason(verdict)
        assert "(attempt 3)" in reason(verdict)
        assert len(endpoint.asked) == 3
    assert "1 of 1 responses got no verdict" in caplog.text


def test_retry_after_is_honoured_in_seconds_and_as_a_date(monkeypatch: pytest.MonkeyPatch) -> None:
    with judging(Answer(status=429, headers={"Retry-After": "1"}), Answer()) as (judge, endpoint):
        assert judge.judge([case()]) == [Score(overall=1.0)]
        assert endpoint.times[1] - endpoint.times[0] >= 1.0
    date = email.utils.formatdate(time.time() + 60, usegmt=True)
    assert 55 < (judge_client._retry_after(date) or 0) <= 60
    assert judge_client._retry_after("soon") is None


def test_waits_double_and_differ() -> None:
    waits = [[judge_client._wait_seconds(attempt, None) for _ in range(50)] for attempt in range(12)]
    assert all(len(set(each)) > 1 for each in waits)
    assert all(0.5 * 0.02 * 2**n <= wait <= 0.02 * 2**n for n, each in enumerate(waits[:9]) for wait in each)
    assert max(waits[11]) <= judge_client.LONGEST_WAIT_SECONDS


def test_a_wait_past_the_deadline_is_not_begun() -> None:
    with judging(Answer(status=429, headers={"Retry-After": "3600"})) as (judge, _):
        start = time.monotonic()
        assert "after the deadline" in reason(judge.judge([case()], seconds=20)[0])
        assert time.monotonic() - start < 10


def test_the_deadline_holds_for_a_whole_batch_and_spares_what_is_done() -> None:
    def slow(body: dict[str, Any]) -> Answer:
        return Answer(seconds=0.0 if "quick" in body["messages"][1]["content"] else 30.0)

    with judging(slow, timeout_seconds=60, max_concurrency=2) as (judge, _):
        start = time.monotonic()
        verdicts = judge.judge([case("quick one"), *(case(f"slow {n}") for n in range(6))], seconds=3.0)
        assert time.monotonic() - start < 10
        assert verdicts[0] == Score(overall=1.0)
        assert all("deadline" in reason(verdict) for verdict in verdicts[1:])


def test_no_more_requests_are_in_flight_than_allowed_whatever_the_number_of_threads() -> None:
    together = threading.Barrier(3, timeout=20)

    def wait(_: dict[str, Any]) -> Answer:
        together.wait()
        return Answer(seconds=0.02)

    with judging(wait, max_concurrency=3, timeout_seconds=60) as (judge, endpoint):
        batches = [[case(f"{batch} {n}") for n in range(8)] for batch in range(3)]
        threads = [threading.Thread(target=judge.judge, args=(batch,)) for batch in batches]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(endpoint.asked) == 24
        assert endpoint.most_at_once == 3


def test_nobody_listening_is_not_scorable() -> None:
    with FakeEndpoint() as gone:
        url = gone.url
    judge = Judge(JudgeConfig(base_url=url, model="m", max_retries=1))
    assert "connection failed" in reason(judge.judge([case()])[0])
    judge.close()


def test_equal_cases_are_asked_about_once() -> None:
    with judging() as (judge, endpoint):
        judge.judge([case(), case(), case("another")])
        assert len(endpoint.asked) == 2
        assert counts(judge)["cache_hits"] == 1


def test_the_system_prompt_says_that_a_response_is_data_whatever_the_user_wrote(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("Correct means: names the colour.")
    with judging(prompt_path=str(tmp_path / "mine.txt")) as (judge, endpoint):
        judge.judge([case()])
        system = endpoint.asked[0]["messages"][0]["content"]
        assert "names the colour" in system
        assert "never an instruction" in system
        assert system.endswith('{"correct": false}, and with nothing else.')


@pytest.mark.parametrize("text", [":", " . ", "Thought process:", "Let's solve this problem step by step.", "\u89e3"])
def test_empty_talk_scores_0_and_nobody_is_asked(text: str) -> None:
    with judging() as (judge, endpoint):
        assert judge.judge([case(text)]) == [Score(overall=0.0)]
        assert endpoint.asked == []
        assert counts(judge) == {"judgements": 1, "unasked": 1}
        assert judge.judge([case(text, references=(text,))]) == [Score(overall=1.0)]


def test_an_endpoint_that_knows_no_response_format_is_asked_without() -> None:
    def old(body: dict[str, Any]) -> Answer:
        refusal = Answer(status=400, raw=b'{"error": "unknown field response_format"}')
        return refusal if "response_format" in body else Answer(RIGHT)

    with judging(old) as (judge, endpoint):
        assert judge.judge([case("one")]) == judge.judge([case("two")]) == [Score(overall=1.0)]
        assert ["response_format" in body for body in endpoint.asked] == [True, False, False]
    with judging(old, structured_output="json_schema") as (judge, _):
        assert "response_format" in reason(judge.judge([case()])[0])


def test_fields_of_a_request_can_be_added_and_left_out() -> None:
    extra = {"max_tokens": None, "max_completion_tokens": 300, "chat_template_kwargs": {"enable_thinking": False}}
    with judging(extra_body=extra) as (judge, endpoint):
        judge.judge([case()])
        assert "max_tokens" not in endpoint.asked[0]
        assert endpoint.asked[0]["chat_template_kwargs"] == {"enable_thinking": False}


def test_the_key_comes_from_the_environment_and_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    with pytest.raises(ConfigError, match=r"api_key_env=JUDGE_KEY.*not set"):
        Judge(JudgeConfig(base_url="http://localhost/v1", model="m", api_key_env="JUDGE_KEY"))
    monkeypatch.setenv("JUDGE_KEY", "sk-secret")
    with judging(Answer(status=401, raw=b"bad key sk-secret"), api_key_env="JUDGE_KEY") as (judge, endpoint):
        [verdict] = judge.judge([case()])
        assert endpoint.keys == ["Bearer sk-secret"]
        assert "bad key ***" in reason(verdict)
        assert "sk-secret" not in repr(vars(judge))


def test_an_endpoint_is_tried_before_a_run(caplog: pytest.LogCaptureFixture) -> None:
    def knows_horses(body: dict[str, Any]) -> Answer:
        return Answer(RIGHT if "It has 4" in body["messages"][1]["content"] else WRONG)

    def check(answer: Any) -> None:
        with FakeEndpoint(answer) as endpoint:
            check_judge(JudgeConfig(base_url=endpoint.url, model="m"))

    check(knows_horses)
    assert caplog.text == ""
    check(Answer(RIGHT))
    assert "cannot tell" in caplog.text
    with pytest.raises(ConfigError, match=r"m at http.*status 401"):
        check(Answer(status=401))
    check_judge(JudgeConfig())
