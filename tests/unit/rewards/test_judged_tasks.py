# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Which responses a judge is asked about, and what becomes of its verdicts."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.judge_endpoint import Answer, FakeEndpoint
from tests.rows import record
from verl.config.judge import JUDGED_TASKS, JudgeConfig
from verl.config.worker import RewardConfig
from verl.errors import ConfigError
from verl.rewards.contract import JudgedTask, RewardItem, find_task
from verl.rewards.custom import FunctionReward, item_of, load_reward, row_of
from verl.types import NotScorable, Record, Score, Verdict
from verl.workers.reward import RewardWorker

Say = Callable[..., list[Verdict]]


def right_if_yes(body: dict[str, Any]) -> Answer:
    said = json.loads(body["messages"][1]["content"])
    if "fail" in said["response"]:
        return Answer(status=400)
    share = "good" in said["response"]
    grade = {"score": 8 if share else 2} if "score" in body["messages"][0]["content"] else {"correct": share}
    return Answer(json.dumps(grade))


@pytest.fixture
def endpoint() -> Iterator[FakeEndpoint]:
    with FakeEndpoint(right_if_yes) as endpoint:
        yield endpoint


def row(problem_type: str = "video qa", answer: Any = "a red ball rolls", **fields: Any) -> Record:
    return record(problem_type=problem_type, answer=answer, problem="<video>What\nhappens?", fields=fields)


def items(row: Record, *answers: str) -> list[RewardItem]:
    return [RewardItem(response=f"<answer>{a}</answer>", response_length=3, record=row) for a in answers]


@pytest.fixture
def score(endpoint: FakeEndpoint) -> Say:
    def of(row: Record, *answers: str, **judge: Any) -> list[Verdict]:
        settings = JudgeConfig(base_url=endpoint.url, model="m", **judge)
        return load_reward(RewardConfig(judge=settings)).score(items(row, *answers))

    return of


def test_the_judge_sees_the_question_the_references_and_the_answer_without_its_reasoning(
    endpoint: FakeEndpoint,
) -> None:
    reward = load_reward(RewardConfig(judge=JudgeConfig(base_url=endpoint.url, model="m")))
    response = "<think>secret</think><answer>a good thing</answer>"
    reward.score([RewardItem(response=response, response_length=3, record=row())])
    assert endpoint.data() == {
        "question": "What\nhappens?",
        "references": ["a red ball rolls"],
        "response": "a good thing",
    }


def test_a_verdict_is_the_accuracy_and_a_failure_masks_its_own_response(score: Say) -> None:
    right, wrong, failed = score(row(), "good", "bad", "fail")
    assert right == Score(overall=1.0, parts={"accuracy": 1.0, "format": 1.0, "readable": 1.0, "judged": 1.0})
    assert isinstance(wrong, Score)
    assert wrong.overall == pytest.approx(0.1)
    assert isinstance(failed, NotScorable)
    assert "status 400" in failed.reason


def test_what_the_rules_are_sure_of_is_not_asked(score: Say, endpoint: FakeEndpoint) -> None:
    verdicts = score(row(), "The red ball rolls.", "", "\u200b" * 20)
    verdicts += score(row(answer="yes"), "No, it does not", "It does not seem good")
    assert endpoint.asked == []
    assert [verdict.parts["accuracy"] for verdict in verdicts if isinstance(verdict, Score)] == [1, 0, 0, 0, 0]
    assert all(verdict.parts["judged"] == 0 for verdict in verdicts if isinstance(verdict, Score))


def test_a_description_is_graded_and_so_is_a_row_with_a_rubric(score: Say, endpoint: FakeEndpoint) -> None:
    [described] = score(row("video description"), "good")
    [ruled] = score(row(rubric=["names the colour", "names the shape"]), "A red ball rolls.")
    assert isinstance(described, Score) and isinstance(ruled, Score)
    assert (described.parts["accuracy"], ruled.parts["accuracy"]) == (0.8, 0.2)
    assert endpoint.data()["rubric"] == "names the colour\nnames the shape"


def test_a_preference_in_prose_is_judged_and_a_plain_one_is_not(score: Say, endpoint: FakeEndpoint) -> None:
    verdicts = score(row("preference", "Response 1"), "Response 2", "I go for the former, which is good")
    assert [verdict.parts["accuracy"] for verdict in verdicts if isinstance(verdict, Score)] == [0.0, 1.0]
    assert [verdict.parts["format"] for verdict in verdicts if isinstance(verdict, Score)] == [1.0, 0.5]
    assert endpoint.data()["references"] == ["response 1"]
    assert len(endpoint.asked) == 1


def test_only_the_tasks_asked_for_are_judged(score: Say, endpoint: FakeEndpoint) -> None:
    [verdict] = score(row("open-ended"), "a ball", tasks=("video_qa",))
    assert isinstance(verdict, Score)
    assert 0 < verdict.parts["accuracy"] < 1
    assert "judged" not in verdict.parts
    assert endpoint.asked == []


@pytest.mark.parametrize(
    ("name", "message"), [("video q", "did you mean 'video qa'"), ("multiple choice", "rules score")]
)
def test_a_task_that_cannot_be_judged_is_refused(score: Say, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        score(row(), "x", tasks=(name,))


def test_the_default_tasks_are_all_that_can_be_judged() -> None:
    assert all(isinstance(find_task(name), JudgedTask) for name in JUDGED_TASKS)


def test_judged_responses_of_a_batch_are_asked_about_side_by_side() -> None:
    together = threading.Barrier(8, timeout=20)  # nobody gets an answer before eight have asked

    def wait(body: dict[str, Any]) -> Answer:
        together.wait()
        return right_if_yes(body)

    rows = [*items(row(), *(f"good {n}" for n in range(16))), *items(record(answer="A"), "A", "B")]
    with FakeEndpoint(wait) as endpoint:
        config = RewardConfig(judge=JudgeConfig(base_url=endpoint.url, model="m", max_concurrency=8))
        timed = RewardWorker(config).score(rows[::-1])
    assert endpoint.most_at_once == 8
    accuracies = [verdict.parts["accuracy"] for verdict in timed.verdicts if isinstance(verdict, Score)]
    assert accuracies == [0, 1, *[1] * 16]
    assert timed.metrics["reward/judge/requests"].value == 16


def test_time_that_rules_took_is_taken_off_the_deadline(endpoint: FakeEndpoint, monkeypatch: Any) -> None:
    def slow(*_: Any) -> Any:
        time.sleep(0.6)
        return grade(*_)

    grade = find_task("multiple choice").grade  # type: ignore[union-attr]
    monkeypatch.setattr(find_task("multiple choice"), "grade", slow)
    config = RewardConfig(judge=JudgeConfig(base_url=endpoint.url, model="m", deadline_seconds=0.6))
    choice, judged = load_reward(config).score([*items(record(answer="A"), "A"), *items(row(), "good")])
    assert isinstance(choice, Score)
    assert isinstance(judged, NotScorable)


def test_without_a_judge_nothing_changes() -> None:
    reward = load_reward(RewardConfig())
    [verdict] = reward.score(items(row(rubric="names the colour"), "a red ball rolls"))
    assert verdict == Score(overall=1.0, parts={"accuracy": 1.0, "format": 1.0, "readable": 1.0})
    assert reward.drain_metrics() == {}
    with pytest.raises(ConfigError, match="model is not set"):
        load_reward(RewardConfig(judge=JudgeConfig(base_url="http://localhost/v1")))


def test_a_users_function_sees_the_rubric(tmp_path: Any) -> None:
    (tmp_path / "f.py").write_text("def main(rows): return [{'overall': len(r['rubric'])} for r in rows]")
    reward = FunctionReward(str(tmp_path / "f.py"))
    [item] = items(row(rubric="abc"), "x")
    assert reward.score([item]) == reward.score([item_of(row_of(item))]) == [Score(overall=3.0)]
    assert reward.drain_metrics() == {}
