# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Trains the quickstart's policy with every advantage and every loss, and draws what came of it.

    python -m scripts.bench.learning [--only grpo,LUFFY] [--steps 25] [--report]

Results are lines of outputs/learning/results.jsonl. A run that is in it, with the settings it would have now, is not
made again; the tables of docs/learning.md and docs/learning.png are made from that file after every run. Runs that need
the same processes share them: each begins with the model from its folder, a new optimizer and its own random state.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.bench.learning_cases import RESULTS, Case, cases, missing
from scripts.bench.learning_report import Outcome, outcome_of, read_results, write_report
from scripts.bench.learning_world import make_sparse, make_world
from verl.algorithms.contract import Needs
from verl.config.checks import check
from verl.config.load import load
from verl.errors import ContractError, NoSignal
from verl.rollout.configured import engine_options
from verl.rollout.options import EngineOptions
from verl.tracking.curve import read_log
from verl.tracking.tracker import TRACKERS, Run
from verl.trainer import crew, orders
from verl.trainer.critic import critic_orders
from verl.trainer.wiring import Parts, assemble, prepare

RESULTS_FILE = RESULTS / "results.jsonl"
ENOUGH = 0.9  # validation accuracy at which a run ends


class Learned(Exception):
    """A run has reached ENOUGH."""


@TRACKERS.register("until_learned")
class UntilLearned:
    """Ends a run that is good enough. It comes last, so that the others have logged the step."""

    def __init__(self, run: Run) -> None: ...

    def resume(self, step: int) -> None:
        """See Tracker."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """See Tracker. Raises Learned."""
        if values.get("val/accuracy_reward", 0.0) >= ENOUGH:
            raise Learned

    def generations(self, rows: Sequence[Any], step: int) -> None:
        """See Tracker."""

    def close(self) -> None:
        """See Tracker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A case, ready to be run."""

    case: Case
    arguments: Sequence[str]
    parts: Parts

    @property
    def engine(self) -> EngineOptions:
        """The engine it needs."""
        return engine_options(self.parts.config, self.parts.device, self.parts.plan, max_videos=1)

    @property
    def processes(self) -> str:
        """Equal for runs that can share their processes: the same model, engine and rewards, and no critic."""
        critic = self.case.key if Needs.CRITIC in self.parts.advantage.needs else ""
        return f"{critic} {self.engine} {self.parts.config.worker.reward}"

    def policy_orders(self) -> list[Any]:
        """What the policy ranks are told."""
        machines = orders.machines_of(self.parts.config, self.parts.device)
        return orders.policy_orders(self.parts.config, machines, self.parts.plan, self.parts.num_steps)


def main() -> int:
    """Make what is missing of the chosen runs, then the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", type=lambda text: text.split(","), help="names or topics, with commas between")
    parser.add_argument("--steps", type=int, default=25, help="training steps of a run; fewer where it has learned")
    parser.add_argument("--seed", type=int, default=1, help="of data and sampling")
    parser.add_argument(
        "--report", action="store_true", help="only the tables and the plot, from the results there are"
    )
    arguments = parser.parse_args()
    if absent := missing():
        print(f"not tried: {', '.join(absent)}; add them to scripts/bench/learning_cases.py")
        return 1
    if not arguments.report:
        os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        os.environ.pop("RAY_ADDRESS", None)
        train_all(chosen(cases(), arguments.only), arguments.steps, arguments.seed)
    write_report(read_results(RESULTS_FILE))
    return 0


def chosen(all_cases: Sequence[Case], wanted: Sequence[str] | None) -> list[Case]:
    """The cases with these names, keys or topics, in the order asked for. Exits where there is none such."""
    if wanted is None:
        return list(all_cases)
    unknown = [word for word in wanted if not any(_is_meant(case, word) for case in all_cases)]
    if unknown:
        raise SystemExit(f"--only {','.join(unknown)}: choose among {', '.join(case.key for case in all_cases)}")
    found = {case.key: case for word in wanted for case in all_cases if _is_meant(case, word)}
    return list(found.values())


def _is_meant(case: Case, word: str) -> bool:
    return word in (case.topic, case.name, case.key)


def train_all(wanted: Sequence[Case], steps: int, seed: int) -> None:
    """All of these that have no result yet, with as few starts of processes as can be."""
    done = {(outcome.key, tuple(outcome.arguments)) for outcome in read_results(RESULTS_FILE).values()}
    todo = [(case, case.arguments(steps, seed)) for case in wanted]
    todo = [(case, arguments) for case, arguments in todo if (case.key, tuple(arguments)) not in done]
    if not todo:
        return
    make_world()
    if any(case.topic == "sparse" for case, _ in todo):
        make_sparse()
    sharing: defaultdict[str, list[Planned]] = defaultdict(list)
    for one in (planned(*each) for each in todo):
        sharing[one.processes].append(one)
    for first, *others in sharing.values():
        print(f"starting processes for {first.case.key} and {len(others)} more", flush=True)
        with processes(first) as workers:
            for one in (first, *others):
                if one is not first:
                    begin_anew(workers, one)
                record(train(one, workers))
                write_report(read_results(RESULTS_FILE))


def planned(case: Case, arguments: Sequence[str]) -> Planned:
    """Its configuration, checked, and all that needs no other process."""
    config = load(arguments)
    check(config)
    return Planned(case=case, arguments=arguments, parts=prepare(config))


@contextmanager
def processes(one: Planned) -> Iterator[crew.Crew]:
    """Those that `one` needs."""
    parts, config = one.parts, one.parts.config
    machines = orders.machines_of(config, parts.device)
    has_critic = Needs.CRITIC in parts.advantage.needs
    told = crew.Orders(
        policy=one.policy_orders(),
        critic=critic_orders(config, machines, parts.plan, parts.num_steps) if has_critic else (),
        engine=one.engine,
    )
    with crew.started(config, machines, parts.plan, told) as workers:
        yield workers


def begin_anew(workers: crew.Crew, one: Planned) -> None:
    """Give the policy ranks another order: fresh weights and optimizer, and the same engines to send weights to."""
    policy = workers.policy
    policy.each("begin", [(order,) for order in one.policy_orders()])
    meeting, *_ = policy.all("rendezvous")
    transfers = [orders.transfer_settings(one.engine, rank, meeting) for rank in range(len(policy))]
    policy.each("connect", [(workers.rollout.actors, transfer) for transfer in transfers])


def train(one: Planned, workers: crew.Crew) -> Outcome:
    """The run, and what it logged."""
    parts, problem, started = one.parts, "", time.monotonic()
    trainer = assemble(parts, workers)
    try:
        trainer.fit()
    except Learned:
        pass
    except (ContractError, NoSignal) as error:
        problem = f"{type(error).__name__}: {error}"
    finally:
        trainer.progress.close()
        parts.loader.close()
        parts.trackers.close()
    seconds = time.monotonic() - started
    log = read_log(Path(str(parts.config.trainer.save_checkpoint_path)) / "experiment_log.jsonl")
    outcome = outcome_of(one.case, one.arguments, log)
    shown = f"{outcome.key}: {outcome.curve} {problem} ({seconds:.0f} s)"
    print(shown, flush=True)
    return outcome.ended(seconds, problem)


def record(outcome: Outcome) -> None:
    """Append to the results."""
    RESULTS_FILE.parent.mkdir(parents=True, exist_ok=True)
    with RESULTS_FILE.open("a", encoding="utf-8") as file:
        file.write(json.dumps(outcome.to_json()) + "\n")


if __name__ == "__main__":
    sys.exit(main())
