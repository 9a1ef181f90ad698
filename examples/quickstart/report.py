# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What a quickstart run achieved, as a table.

python -m examples.quickstart.report outputs/quickstart
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from statistics import fmean

from verl.checkpoint.layout import ACTOR, CheckpointRoot
from verl.tracking.curve import read_log

ACCURACY = "val/accuracy_reward"
BY_MODALITY = re.compile(r"val/by_modality/(\w+)/accuracy")
PHASES = {
    "timing_s/gen": "generate",
    "timing_s/old": "log-probs",
    "timing_s/update_actor": "update",
    "timing_s/sync": "send weights",
    "timing_s/step": "whole step",
}


def table(directory: Path) -> list[str]:
    """Lines of the report on the run below `directory`."""
    steps = read_log(directory / "run" / "experiment_log.jsonl")
    validated = [row[ACCURACY] for row in steps.values() if ACCURACY in row]
    trained = [row for row in steps.values() if "timing_s/step" in row]
    rows = [
        ("validation accuracy before", f"{validated[0]:.2f}"),
        ("validation accuracy after", f"{validated[-1]:.2f}"),
        *_modalities(steps.values()),
        ("training steps", str(len(trained))),
    ]
    rows += [(f"seconds per step: {name}", f"{_mean(trained, key):.2f}") for key, name in PHASES.items()]
    rows += [
        ("tokens per second", f"{_mean(trained, 'perf/total_num_tokens') / _mean(trained, 'timing_s/step'):.0f}"),
        ("largest log-prob gap, trainer to vLLM", f"{max(row['rollout/logprob_gap_max'] for row in trained):.1e}"),
        ("clip reads per clip and step", f"{max(row['media/loads_per_clip'] for row in trained):.0f}"),
    ]
    rows += [(f"seconds: {name}", seconds) for name, seconds in _phases(directory / "phases.tsv")]
    rows += [
        ("checkpoint", str(last_actor(directory / "run"))),
        ("merged model", str(directory / "merged")),
        ("metrics", str(directory / "run" / "experiment_log.jsonl")),
        ("learning curve", str(directory / "curve.png")),
    ]
    width = max(len(name) for name, _ in rows)
    return [f"{name:<{width}}  {value}" for name, value in rows]


def _modalities(steps: Collection[Mapping[str, float]]) -> list[tuple[str, str]]:
    """Accuracy by what rows are about, where a run has several kinds."""
    found = {name: match[1] for row in steps for name in row if (match := BY_MODALITY.fullmatch(name))}
    values = {kind: [row[name] for row in steps if name in row] for name, kind in found.items()}
    lines = [(f"validation accuracy, {kind}", f"{of[0]:.2f} to {of[-1]:.2f}") for kind, of in sorted(values.items())]
    return lines if len(lines) > 1 else []


def last_actor(run: Path) -> Path:
    """The actor folder of the last checkpoint of a run."""
    last = CheckpointRoot(run).find_last()
    if last is None:
        raise SystemExit(f"{run} holds no checkpoint; did the training end?")
    return last / ACTOR


def _mean(rows: list[dict[str, float]], key: str) -> float:
    return fmean(row[key] for row in rows)


def _phases(file: Path) -> list[tuple[str, str]]:
    lines = [line.split("\t") for line in file.read_text().splitlines()]
    total = sum(int(seconds) for _, seconds in lines)
    return [(name, seconds) for name, seconds in lines] + [("all together", str(total))]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("directory", type=Path, nargs="?", default=Path("outputs/quickstart"))
    parser.add_argument("--last-actor", type=Path, metavar="RUN", help="print the last checkpoint of a run, no table")
    arguments = parser.parse_args()
    if arguments.last_actor is not None:
        print(last_actor(arguments.last_actor))
        return
    print("\n".join(["", *table(arguments.directory)]))


if __name__ == "__main__":
    main()
