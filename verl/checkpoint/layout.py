# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Where checkpoints are, which ones are complete, and what the driver remembers in them.

    <root>/checkpoint_tracker.json
    <root>/global_step_N/trainer_state.json
    <root>/global_step_N/actor/{shards/, rng/, schedule.json, huggingface/}
    <root>/global_step_N/critic/{shards/, rng/, schedule.json}            where there is a critic

All ranks write into a hidden sibling, `.global_step_N.tmp`; the driver renames it when every rank is done. So a
folder with its final name is complete, and a run that died while saving left nothing to mistake for a checkpoint.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from verl.checkpoint import durable
from verl.errors import CheckpointError

STATE_FILE = "trainer_state.json"
TRACKER_FILE = "checkpoint_tracker.json"
ACTOR = "actor"
CRITIC = "critic"
HUGGINGFACE = "huggingface"
_SMALL = {".json", ".txt", ".jinja", ".model", ".py"}
_STEP = re.compile(r"global_step_(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracker:
    """The keys of checkpoint_tracker.json."""

    last_global_step: int
    best_global_step: int | None = None
    best_val_reward_score: float | None = None
    last_actor_path: str | None = None


class CheckpointRoot:
    """The folder that holds the checkpoints of one run."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def step_dir(self, step: int) -> Path:
        """Final name of a checkpoint."""
        return self.root / f"global_step_{step}"

    def begin(self, step: int) -> Path:
        """A new, empty, hidden folder for all ranks to write into. Removes what earlier runs left unfinished."""
        self.root.mkdir(parents=True, exist_ok=True)
        for leftover in self.root.glob(".global_step_*"):
            shutil.rmtree(leftover)
        temporary = durable.hidden(self.step_dir(step), "tmp")
        temporary.mkdir()
        return temporary

    def commit(self, temporary: Path, state: Mapping[str, Any], tracker: Tracker) -> Path:
        """Make what all ranks wrote into `temporary` the checkpoint of `tracker.last_global_step`; its folder.

        `state` is what the driver remembers, as JSON values. Raises CheckpointError when a rank's part is missing.
        """
        durable.write_json(temporary / STATE_FILE, dict(state))
        problem = _problem(temporary)
        if problem is not None:
            raise CheckpointError(f"{temporary} cannot become a checkpoint: {problem}; did every rank save?")
        final = self.step_dir(tracker.last_global_step)
        durable.replace_folder(temporary, final)
        actor = str((final / ACTOR).resolve())
        durable.write_json(self.root / TRACKER_FILE, asdict(replace(tracker, last_actor_path=actor)))
        return final

    def tracker(self) -> Tracker | None:
        """What checkpoint_tracker.json says, None when there is none."""
        path = self.root / TRACKER_FILE
        if not path.is_file():
            return None
        try:
            return Tracker(**_read_json(path))
        except TypeError as error:
            raise CheckpointError(f"{path} has other keys than expected ({error}); delete or repair it") from error

    def complete(self) -> list[int]:
        """Steps with a complete checkpoint, ascending."""
        found = {_step(path): path for path in self.root.glob("global_step_*")}
        return sorted(step for step, path in found.items() if step is not None and _problem(path) is None)

    def find_last(self) -> Path | None:
        """The checkpoint written last: the tracker's, or the highest complete step when that one is gone."""
        steps = self.complete()
        tracker = self.tracker()
        if tracker is not None and tracker.last_global_step in steps:
            return self.step_dir(tracker.last_global_step)
        return self.step_dir(steps[-1]) if steps else None


def read_state(path: Path) -> dict[str, Any]:
    """What the driver remembered in the checkpoint at `path`, a global_step_N folder.

    Raises CheckpointError when it is missing or incomplete.
    """
    problem = _problem(path)
    if problem is not None:
        raise CheckpointError(
            f"{path} is not a checkpoint: {problem}; set trainer.load_checkpoint_path to a complete global_step_N"
            " folder, or leave it unset to start anew"
        )
    return _read_json(path / STATE_FILE)


def copy_model_files(
    model_path: Path,
    folder: Path,
    *,
    tokenizer_path: Path | None = None,
    override_config: Mapping[str, Any] | None = None,
) -> None:
    """Copy config, tokenizer and processor files, everything but weights, into `folder`/huggingface.

    `override_config` is what the run changed in config.json. Files of `tokenizer_path` win over those of the model,
    the two configs excepted.
    """
    target = folder / HUGGINGFACE
    copy_small_files(model_path, target)
    if tokenizer_path is not None:
        copy_small_files(tokenizer_path, target, but=("config.json", "generation_config.json"))
    if override_config:
        config = target / "config.json"
        durable.write_json(config, _updated(_read_json(config), override_config))


def copy_small_files(source: Path, target: Path, but: Collection[str] = ()) -> None:
    """Copy what a model folder holds beside its weights. `source` may be a hub name that was downloaded before."""
    if not source.is_dir():
        from transformers.utils.hub import cached_file

        source = Path(str(cached_file(str(source), "config.json", local_files_only=True))).parent
    target.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        is_small = path.suffix in _SMALL and not path.name.endswith(".index.json")
        if path.is_file() and is_small and path.name not in but:
            durable.copy_file(path, target / path.name)


def _updated(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    nested = {
        name: _updated(config.get(name) or {}, value) for name, value in changes.items() if isinstance(value, Mapping)
    }
    return {**config, **changes, **nested}


def _step(path: Path) -> int | None:
    match = _STEP.fullmatch(path.name)
    return int(match.group(1)) if match else None


def _problem(path: Path) -> str | None:
    if not path.is_dir():
        return "there is no such folder"
    if not (path / STATE_FILE).is_file():
        return f"it has no {STATE_FILE}"
    roles = [ACTOR, *([CRITIC] if (path / CRITIC).is_dir() else [])]
    for role in roles:
        if not (path / role / "shards" / ".metadata").is_file():
            return f"{role}/shards is incomplete"
    return None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); use another checkpoint") from error
