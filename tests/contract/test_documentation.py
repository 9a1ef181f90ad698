# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What README and docs say holds: their examples run, the files they name exist."""

from __future__ import annotations

import re

import pytest
import torch

from tests.rows import record
from tests.runs import ROOT
from verl.algorithms.advantage import find_advantage
from verl.algorithms.contract import AdvantageInput
from verl.rewards import contract
from verl.rewards.contract import TASKS, RewardItem
from verl.rewards.custom import FunctionReward
from verl.rewards.router import Router
from verl.types import NotScorable

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


def example(name: str) -> str:
    """The Python block of the README that begins with this file name."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return next(block for block in blocks if block.startswith(f"# {name}"))


def test_the_reward_of_the_readme_scores(tmp_path):
    (tmp_path / "my_reward.py").write_text(example("my_reward.py"))
    reward = FunctionReward(f"{tmp_path / 'my_reward.py'}:score")
    items = [RewardItem(response=text, response_length=1, record=record(answer="B")) for text in ("B", "C")]
    assert [verdict.overall for verdict in reward.score(items)] == [1.0, 0.0]


def test_the_advantage_of_the_readme_centres(tmp_path):
    (tmp_path / "my_advantage.py").write_text(example("my_advantage.py"))
    rewards, mask = torch.tensor([[1.0], [0.0]]), torch.ones(2, 1, dtype=torch.bool)
    given = AdvantageInput(rewards=rewards, mask=mask, group=torch.tensor([0, 0]))
    output = find_advantage(f"{tmp_path / 'my_advantage.py'}:centred").compute(given)
    assert output.advantages.tolist() == [[0.5], [-0.5]]


def test_the_page_of_tasks_has_every_name_of_every_task():
    table = (ROOT / "docs" / "tasks.md").read_text().partition("|---|")[2].partition("\n\n")[0]
    assert {name for row in table.splitlines()[1:] for name in row.split("|")[1].strip().split(", ")} == set(TASKS)


def test_the_task_of_the_page_is_one(monkeypatch):
    source = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "tasks.md").read_text(), re.DOTALL)[0]
    assert "boolean" in TASKS
    monkeypatch.setattr(TASKS, "_entries", dict(TASKS._entries))
    names = {name: getattr(contract, name) for name in ("Grade", "Task", "Wording", "task")}
    exec("from __future__ import annotations\n" + source, names | {"NotScorable": NotScorable})
    rows = [record(answer=3, problem_type="Counting-Backwards")] * 2
    items = [
        RewardItem(response=f"<answer>{text}</answer>", response_length=1, record=row)
        for text, row in zip(("3 2 1", "3 2"), rows, strict=True)
    ]
    assert [verdict.overall for verdict in Router().score(items)] == [1.0, 0.1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page):
    text = page.read_text()
    named = set(re.findall(r"\b(?:scripts|examples|docs|tests|verl)/[\w/.-]*\w", text))
    named |= {f"{page.parent.relative_to(ROOT)}/{link}" for link in re.findall(r"\]\(([\w/.-]+)\)", text)}
    gone = [name for name in sorted(named) if not (ROOT / name).exists()]
    assert gone == []
