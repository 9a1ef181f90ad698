# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import errno
import json
import time
from collections import Counter

import pytest

from eval.budget import ByteBudget
from eval.engines import Answerer, EngineLostError, Idleness
from eval.item import Grade
from eval.pipeline import SILENCE, BenchmarkRun, Limits, Pipeline
from eval.pulse import Pulse
from eval.runner import told
from eval.store import Journal, Outcome, StoreError, read_outcomes
from tests.unit.eval.world import ToyEngine, ToyQuestions, item
from verl.errors import ConfigError, DataError, WorkerError
from verl.rollout.engine import SamplingPlan

PLAN = SamplingPlan(max_tokens=8)
LIMITS = Limits(videos=2, load_workers=4)


def ask(folder, items, engines, *, judging=None, unjudged=(), deaths=5, silence=60.0, limits=LIMITS, questions=None):
    """Run the pipeline to its end; the outcomes on disk, and the answerer."""
    remaining = list(engines)
    answerer = Answerer(lambda: remaining.pop(0) if len(remaining) > 1 else remaining[0], PLAN, deaths, silence)
    with Journal(folder / "journal-1of1.jsonl") as journal:
        asked = {"questions": questions or ToyQuestions(), "items": tuple(items), "unjudged": tuple(unjudged)}
        asyncio.run(Pipeline(answerer, limits, judging).run([BenchmarkRun(**asked, journal=journal)]))
    return read_outcomes(folder), answerer


def test_every_item_is_answered_graded_and_written_once(tmp_path):
    items = [item(f"{video}-{n}", video) for video in "abc" for n in range(3)]
    engine = ToyEngine({"b-1": "A"})
    found, _ = ask(tmp_path, items, [engine])
    assert {one.id: one.official.score for one in found.values()} == {one.id: float(one.id != "b-1") for one in items}
    assert found["a-0"].robust.score == 1.0
    assert len((tmp_path / "journal-1of1.jsonl").read_text().splitlines()) == len(items)


def test_an_answer_is_written_while_later_questions_are_still_loading(tmp_path):
    journal, seen = tmp_path / "journal-1of1.jsonl", []

    class Slow(ToyQuestions):
        def build(self, item):
            deadline = time.monotonic() + 10
            while item.video != "a" and not journal.stat().st_size and time.monotonic() < deadline:
                time.sleep(0.005)
            seen.append(journal.stat().st_size > 0)
            return super().build(item)

    items = [item(f"{video}-0", video) for video in "abcd"]
    ask(tmp_path, items, [ToyEngine()], limits=Limits(load_workers=1), questions=Slow())
    assert seen == [False, True, True, True]


def test_a_video_with_several_questions_is_read_once_before_they_are_asked(tmp_path):
    engine = ToyEngine()
    ask(tmp_path, [item("a-0", "a"), item("a-1", "a"), item("b-0", "b")], [engine])
    first = next(entry for entry in engine.asked if entry[0].startswith("a"))
    assert first == ("a-0", 1)
    assert [entry for entry in engine.asked if entry[0].startswith("b")] == [("b-0", 8)]


def test_an_item_that_cannot_be_worded_or_answered_is_a_row_with_its_reason(tmp_path):
    found, _ = ask(tmp_path, [item("a-unworded", "a"), item("a-1", "a"), item("b-0", "b")], [ToyEngine({"b-0": "!"})])
    assert found["a-unworded"].failure == "DataError: this item cannot be worded"
    assert found["b-0"].failure == "WorkerError: gave up on this one"
    assert found["a-1"].failure is None


def test_a_dead_engine_is_replaced_and_its_questions_are_asked_again(tmp_path):
    deadly = {"a-1": 1}
    engines = [ToyEngine(deadly=deadly), ToyEngine(deadly=deadly)]
    found, answerer = ask(tmp_path, [item(f"a-{n}", "a") for n in range(4)], engines)
    assert {one.official.score for one in found.values()} == {1.0}
    assert answerer.deaths == 1


def test_a_question_that_kills_every_engine_fails_alone(tmp_path):
    deadly = {"b-0": 99}
    engines = [ToyEngine(deadly=deadly) for _ in range(6)]
    found, answerer = ask(tmp_path, [item("a-0", "a"), item("b-0", "b"), item("c-0", "c")], engines)
    assert found["b-0"].failure.startswith("WorkerError: the engine died or hung 3 times")
    assert found["a-0"].failure is None and found["c-0"].failure is None
    assert answerer.deaths == 3


def test_questions_beside_a_deadly_one_are_answered(tmp_path):
    deadly = {"a-1": 99}
    items = [item(f"a-{n}", "a") for n in range(4)]
    found, answerer = ask(tmp_path, items, [ToyEngine(deadly=deadly) for _ in range(9)])
    assert {name: one.failure is None for name, one in found.items()} == {one.id: one.id != "a-1" for one in items}
    assert answerer.deaths == 3


def test_deaths_with_answers_between_them_do_not_end_a_run(tmp_path):
    deadly = {f"b-{n}": 1 for n in range(8)}
    items = [one for name in deadly for one in (item(name, name), item(f"a{name}", f"a{name}"))]
    found, answerer = ask(tmp_path, items, [ToyEngine(deadly=deadly) for _ in range(9)], deaths=4)
    assert {one.failure for one in found.values()} == {None}
    assert answerer.deaths > 4


class Hanging(ToyEngine):
    """Silent after so many questions, and nothing says that it is dead."""

    def __init__(self, answered: int) -> None:
        super().__init__()
        self.left = answered
        self.cancelled = self.closed = 0

    async def generate_group(self, prompt, group, plan):
        self.left -= 1
        if self.left < 0:
            try:
                await asyncio.sleep(3600)
            finally:
                self.cancelled += 1
        async for row in super().generate_group(prompt, group, plan):
            yield row

    async def close(self):
        self.closed += 1


@pytest.mark.parametrize("answered", [0, 3])
def test_an_engine_that_hangs_is_replaced_and_its_questions_are_asked_again(tmp_path, answered, caplog):
    hanging, items = Hanging(answered), [item(f"{video}-0", video) for video in "abcdef"]
    found, answerer = ask(tmp_path, items, [hanging, ToyEngine()], silence=0.1)
    assert {one.official.score for one in found.values()} == {1.0} and len(found) == len(items)
    assert (answerer.deaths, hanging.closed) == (1, 1) and hanging.cancelled > 0
    assert "the engine gave no token for 0.1 seconds while" in caplog.text


def test_engines_that_keep_hanging_end_the_run_and_fail_no_item(tmp_path):
    with pytest.raises(ExceptionGroup) as caught:
        ask(tmp_path, [item("a-0", "a"), item("b-0", "b")], [Hanging(0)], silence=0.02, deaths=1)
    assert caught.group_contains(EngineLostError, match="died or hung 2 times") and read_outcomes(tmp_path) == {}


class Watched(ToyEngine):
    """Its time passes when it is looked at."""

    now = 0.0

    def __init__(self, tokens_a_look: int) -> None:
        super().__init__()
        self.tokens_a_look = tokens_a_look

    async def tokens_made(self):
        self.now += 0.01
        self.tokens += self.tokens_a_look
        return self.tokens


def test_an_engine_that_is_slow_or_was_idle_or_may_be_silent_is_let_alone():
    async def watch(engine, limit, *waits):
        pulse = Pulse(engine, limit, lambda: engine.now)
        for wait in waits:
            await pulse.during(asyncio.sleep(wait))
            engine.now += 100.0
        return engine.tokens

    slow = Watched(1)
    asyncio.run(watch(slow, 0.04, 0.2, 0.0, 0.02))
    assert slow.tokens > 8
    for idle in (watch(Watched(0), 0.08, 0.0, 0.02, 0.02), watch(Watched(1), 0.0, 0.02)):
        assert asyncio.run(idle) == 0
    with pytest.raises(WorkerError, match=r"no token for 0\.04 seconds while 1 questions waited"):
        asyncio.run(watch(Watched(0), 0.04, 3600.0))


class Broken(ToyEngine):
    async def start(self) -> None:
        raise WorkerError("no memory")


def test_an_engine_that_does_not_come_back_ends_the_run_and_fails_no_item(tmp_path):
    items = [item(f"{video}-{n}", video) for video in "abcd" for n in range(2)]
    with pytest.raises(ExceptionGroup) as caught:
        ask(tmp_path, items, [ToyEngine(deadly={"b-0": 1}), Broken()])
    assert caught.group_contains(EngineLostError, match="no memory")
    assert {one.failure for one in read_outcomes(tmp_path).values()} <= {None}


def test_engines_that_keep_dying_end_the_run_and_keep_what_is_answered(tmp_path):
    deadly = {f"b-{n}": 99 for n in range(9)}
    engines = [ToyEngine(deadly=deadly) for _ in range(9)]
    items = [item("a-0", "a"), *(item(name, name) for name in deadly)]
    with pytest.raises(ExceptionGroup) as caught:
        ask(tmp_path, items, engines, deaths=2)
    assert caught.group_contains(EngineLostError)


class Judge:
    name = "judge"

    def __init__(self, verdict):
        self.verdict = verdict
        self.asked = []

    def judge(self, benchmark, item, response):
        self.asked.append((benchmark.name, item.id, response))
        return self.verdict


def test_a_judge_decides_what_rules_cannot_and_its_failure_leaves_the_item_open(tmp_path):
    items = [item("a-0", "a"), item("b-0", "b")]
    judge = Judge(Grade(score=1.0, parsed="?"))
    found, _ = ask(tmp_path, items, [ToyEngine({"a-0": "? maybe"})], judging=judge)
    assert judge.asked == [("toy", "a-0", "? maybe")]
    assert found["a-0"].judged and found["a-0"].official.score == 1.0
    failing = Judge("timed out")
    found, _ = ask(tmp_path / "again", items, [ToyEngine({"a-0": "?"})], judging=failing)
    assert not found["a-0"].judged and found["a-0"].official.score is None
    assert found["a-0"].notes == {"judge": "timed out"}


def test_a_slow_judge_keeps_no_question_from_the_engine(tmp_path):
    items = [item(f"{n}-0", str(n)) for n in range(10)]
    engine = ToyEngine({one.id: "?" for one in items})

    class Slow(Judge):
        def judge(self, benchmark, item, response):
            deadline = time.monotonic() + 10
            while len(engine.asked) < len(items) and time.monotonic() < deadline:
                time.sleep(0.005)
            return Grade(score=float(len(engine.asked) == len(items)), parsed="?")

    found, _ = ask(tmp_path, items, [engine], judging=Slow(None))
    assert [one.official.score for one in found.values()] == [1.0] * len(items)


def test_a_judge_that_never_answers_is_left_alone(tmp_path):
    items = [item(f"{n}-0", str(n)) for n in range(40)]
    judge = Judge("timed out")
    found, _ = ask(tmp_path, items, [ToyEngine({one.id: "?" for one in items})], judging=judge)
    assert SILENCE <= len(judge.asked) < SILENCE + Limits().judge_workers
    assert {one.official.score for one in found.values()} == {None} and len(found) == len(items)
    assert Counter(one.notes["judge"] for one in found.values())["timed out"] == len(judge.asked)
    assert sorted(told(list(found.values()))) == [
        "40 of 40 answers have no verdict and count as wrong; the same command with a judge asks for them again. Most"
        " often: the judge gave no verdict 16 times in a row and was asked no more"
    ]


def test_a_run_that_ends_early_does_not_wait_for_videos(tmp_path, monkeypatch):
    finished = []

    def long(pairs, cache_dir, options, told):
        for _ in range(500):
            time.sleep(0.01)
            told("some other clip")
        finished.append(pairs)

    monkeypatch.setattr("eval.pipeline.build", long)
    monkeypatch.setattr(
        "eval.pipeline._missing", lambda group: {"k": (tmp_path, "a.mp4", None)} if group.items[0].video == "a" else {}
    )
    with pytest.raises(ExceptionGroup) as caught:
        ask(tmp_path, [item("a-0", "a"), item("b-0", "b")], [Broken()])
    assert caught.group_contains(EngineLostError) and not finished


def test_what_is_answered_but_not_judged_is_judged_without_asking_again(tmp_path):
    open_one = Outcome(id="a-0", response="?", official=Grade(score=None, parsed="?"))
    engine, judge = ToyEngine(), Judge(Grade(score=0.5, parsed="?"))
    found, _ = ask(tmp_path, [], [engine], judging=judge, unjudged=[(item("a-0", "a"), open_one)])
    assert engine.asked == [] and found["a-0"].official.score == 0.5


def test_a_torn_last_line_is_cut_and_its_item_asked_again(tmp_path):
    path = tmp_path / "journal-1of1.jsonl"
    with Journal(path) as journal:
        journal.add([Outcome(id="a", response="B"), Outcome(id="b", failure="X: no")])
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"id": "c", "resp')
    assert set(read_outcomes(tmp_path)) == {"a", "b"}
    with Journal(path) as journal:
        journal.add([Outcome(id="c", response="A")])
    assert set(read_outcomes(tmp_path)) == {"a", "b", "c"}


def test_an_outcome_survives_its_row():
    one = Outcome(
        id="a", response="x", frames=(8, 1), official=Grade(score=None, parsed="x", parts={"iou": 0.5}), notes={"k": 1}
    )
    assert Outcome.from_row(json.loads(json.dumps(one.as_row()))) == one


def test_a_damaged_journal_names_the_line(tmp_path):
    (tmp_path / "journal-1of1.jsonl").write_text('{"id": "a"}\n')
    with pytest.raises(DataError, match=r"journal-1of1.jsonl:1: .*delete the line"):
        read_outcomes(tmp_path)


def test_two_processes_cannot_write_one_journal(tmp_path):
    with Journal(tmp_path / "journal-1of1.jsonl"), pytest.raises(ConfigError, match="another process"):
        Journal(tmp_path / "journal-1of1.jsonl")


def test_a_full_disk_says_so(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("eval.store.os.fsync", full)
    with (
        Journal(tmp_path / "journal-1of1.jsonl") as journal,
        pytest.raises(StoreError, match=r"No space left on device; .* start the same command again"),
    ):
        journal.add([Outcome(id="a")])
    assert read_outcomes(tmp_path) == {}


def test_the_byte_budget_bounds_what_is_held_and_lets_the_oversized_pass_alone():
    held = []

    async def hold(budget, size):
        async with budget.take(size):
            held.append(budget.held)
            await asyncio.sleep(0.001)

    async def main():
        budget = ByteBudget(10)
        await asyncio.gather(*(hold(budget, size) for size in (4, 6, 5, 25, 3, 3)))
        assert budget.held == 0

    asyncio.run(main())
    assert sorted(held)[-1] == 25 and all(size <= 10 for size in held if size != 25)


def test_idleness_counts_only_the_time_without_a_question():
    now = iter([0.0, 3.0, 5.0, 6.0]).__next__

    async def main():
        idle = Idleness(now)
        async with idle.question():  # 0 to 3
            pass
        async with idle.question():  # 5 to 6
            pass
        return idle.idle_seconds, idle.busy_seconds

    assert asyncio.run(main()) == (2.0, 4.0)
