# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The learning bench without its runs: what is tried, and what is told of it."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from scripts.bench import learning_cases, learning_report
from scripts.bench.learning import Learned, UntilLearned, chosen
from scripts.bench.learning_cases import CONFIG, Case, cases, missing
from scripts.bench.learning_report import Outcome, outcome_of, read_results, shown, table, with_table, write_report
from scripts.bench.learning_world import RareForm, RareWarmUp, with_answer
from tests.world import tiny_model
from verl.algorithms.advantage import find_advantage
from verl.algorithms.policy_loss import find_loss
from verl.config.load import load
from verl.data.files import Row
from verl.data.records import RowFormat, to_record
from verl.rewards.contract import RewardItem
from verl.rewards.router import Router
from verl.tracking.tracker import Run

ROOT = Path(__file__).parents[3]
CASES = {case.key: case for case in cases()}


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def log(*accuracies: float, **further: float) -> dict[int, dict[str, float]]:
    """One row per step, the first before training; every step validated."""
    trained = {"timing_s/step": 1.0, "reward/accuracy": 0.5, "groups/no_signal_share": 0.25, **further}
    return {
        step: {"val/accuracy_reward": accuracy, **(trained if step else {})} for step, accuracy in enumerate(accuracies)
    }


def outcome(key: str, *accuracies: float, **further: float) -> Outcome:
    return outcome_of(CASES[key], ["a=1"], log(*accuracies, **further))


def test_every_advantage_and_every_loss_is_tried() -> None:
    assert missing() == []


@pytest.mark.parametrize(
    ("which", "name", "told"), [("ADVANTAGE_SETTINGS", "opo", "advantage opo"), ("LOSS_SETTINGS", "sapo", "loss sapo")]
)
def test_one_that_is_left_out_is_named(monkeypatch: pytest.MonkeyPatch, which: str, name: str, told: str) -> None:
    monkeypatch.delitem(getattr(learning_cases, which), name)
    assert missing() == [told]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_case_is_a_configuration_that_trains_what_it_says(case: Case) -> None:
    config = load(case.arguments(7, 3))
    assert (config.trainer.max_steps, config.data.seed, config.worker.rollout.seed) == (7 * case.length, 3, 3)
    if case.topic == "advantage":
        assert find_advantage(config.algorithm.adv_estimator).name == case.name
    if case.topic == "loss":
        assert find_loss(config.worker.actor.loss_type).name == case.name
    assert config.data.rollout_batch_size // config.worker.actor.global_batch_size == 4


def test_keys_are_distinct() -> None:
    assert len(CASES) == len(cases())


def test_the_sparse_runs_have_equal_budgets() -> None:
    configs = [load(case.arguments(7, 3)) for case in cases() if case.topic == "sparse"]
    budgets = [(c.trainer.max_steps, c.worker.rollout.n, c.data, c.worker.actor.optim) for c in configs]
    first, *others = [(*budget, c.worker.actor.model) for budget, c in zip(budgets, configs, strict=True)]
    assert len(others) == 2 and all(budget == first for budget in others)


def test_dynamic_sampling_is_all_that_differs() -> None:
    off, on = (CASES[f"sampling-{name}"].settings for name in ("off", "on"))
    assert dict(on) == {**off, "algorithm.online_filtering": "true"}


def test_cases_are_chosen_by_name_key_or_topic() -> None:
    keys = [case.key for case in chosen(cases(), ["sampling", "gpg", "loss-sapo", "loss-gpg"])]
    assert keys == ["sampling-off", "sampling-on", "advantage-gpg", "loss-gpg", "loss-sapo"]
    with pytest.raises(SystemExit, match="nonsense"):
        chosen(cases(), ["nonsense"])


def test_a_run_ends_when_it_has_learned() -> None:
    watch = UntilLearned(Run(project="p", experiment="e", directory=Path(), config={}))
    watch.log({"val/accuracy_reward": 0.89}, 5)
    watch.log({"reward/accuracy": 1.0}, 6)
    with pytest.raises(Learned):
        watch.log({"val/accuracy_reward": 0.9}, 10)


def test_an_outcome_is_what_the_log_says() -> None:
    found = outcome("advantage-gae", 0.25, 0.5, 0.71, 0.6, **{"critic/explained_variance": 0.31})
    assert found.curve == {0: 0.25, 1: 0.5, 2: 0.71, 3: 0.6} and found.training == [0.5] * 3
    assert (found.reached, found.explains, found.steps) == (2, 1, 3)
    assert found.useful == [0.75] * 3 and found.rounds == 1.0


def test_with_a_filter_all_groups_are_useful_and_some_are_drawn_in_vain() -> None:
    found = outcome("sampling-on", 0.25, 0.5, **{"groups/rounds": 2.0, "reward/unfiltered/accuracy": 0.3})
    assert (found.useful, found.rounds, found.training) == ([1.0], 2.0, [0.3])


def test_results_are_read_back_and_the_latest_counts(tmp_path: Path) -> None:
    first, second = outcome("loss-gspo", 0.25), outcome("loss-gspo", 0.25, 0.8).ended(3.0, "")
    file = tmp_path / "results.jsonl"
    file.write_text("".join(json.dumps(one.to_json()) + "\n" for one in (first, second)))
    assert read_results(file) == {"loss-gspo": second}
    assert read_results(tmp_path / "none") == {}


def test_the_table_says_what_was_reached_what_was_not_and_what_was_not_run() -> None:
    runs = {key: outcome(key, *curve) for key, curve in (("advantage-grpo", (0.25, 0.9)), ("loss-gspo", (0.2, 0.6)))}
    runs["loss-dro"] = outcome("loss-dro", 0.25, 0.25).ended(1.0, "NoSignal: nothing; try more")
    lines = {line.split("|")[1].strip(): line for line in table("loss", runs)}
    assert lines["`default`"].startswith("| `default` | 0.25 | 0.90 | 1 |")
    assert "| 0.20 | 0.60 | - | not in 1 steps; " in lines["`gspo`"]
    assert "right in 50%, and siblings differ in 75%" in lines["`gspo`"]
    assert "NoSignal: nothing |" in lines["`dro`"] and "not run" in lines["`sapo`"]


def test_every_row_of_a_table_has_every_column() -> None:
    for topic in learning_report.TITLES:
        runs = {key: outcome(key, 0.25, 0.9) for _, key in shown(topic)[::2]}
        assert len({line.count("|") for line in table(topic, runs)}) == 1


def test_tables_are_renewed_and_words_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document, picture = tmp_path / "learning.md", tmp_path / "learning.png"
    monkeypatch.setattr(learning_report, "DOCUMENT", document)
    monkeypatch.setattr(learning_report, "PICTURE", picture)
    words = (ROOT / "docs" / "learning.md").read_text()
    document.write_text(words)
    write_report({key: outcome(key, 0.25, 0.9) for key in CASES})
    text = document.read_text()
    outside = r"(?s)(<!-- (?!end)\w+ -->\n).*?(<!-- end -->)"
    assert re.sub(outside, "", text) == re.sub(outside, "", words)
    assert all(f"| `{case.name}` | 0.25 | 0.90 |" in text for case in cases() if case.topic == "loss")
    assert picture.stat().st_size > 10_000
    with pytest.raises(ValueError, match="nowhere"):
        with_table("", "nowhere", [])


def test_the_sparse_policy_is_seldom_right(tmp_path: Path) -> None:
    lessons = RareForm(tiny_model(tmp_path / "model"), tmp_path, RareWarmUp())
    counts = Counter(lessons.random_answer({}) for _ in range(7000))
    assert len(counts) == 26
    assert 300 < sum(counts[letter] for letter in "ABCD") < 500  # 4 of 70


def test_the_response_that_a_row_carries_is_right() -> None:
    format = RowFormat.of(load([f"config={CONFIG}"]).data)
    row = {"problem": "<video>?", "answer": "C", "options": ["A. red", "B. green", "C. blue"], "videos": ["v.mp4"]}
    fields = with_answer({**row, "problem_type": "multiple choice", "data_type": "video"})
    read = to_record(Row(where="rows.jsonl:1", fields=fields), format)
    items = [RewardItem(response=text, response_length=6, record=read) for text in read.offline_responses]
    assert [verdict.overall for verdict in Router().score(items)] == [1.0]
