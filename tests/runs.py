# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""A whole training run in small: its folder, its command line, and what is left of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.world import tiny_model, tiny_rows

REWARD = """
def noisy(rows):
    scores = [sum(map(ord, row["response"])) % 5 / 4 for row in rows]
    return [{"overall": score, "accuracy": float(score == 1), "length": len(row["response"])}
            for score, row in zip(scores, rows)]
"""  # a random model is never right: this gives siblings different scores all the same
ROOT = Path(__file__).resolve().parents[1]
MARK = "VERL_TEST_RUN"  # in the environment of every process of a run


def make_world(directory: Path) -> Path:
    """Model, videos and rows for a run in `directory`."""
    tiny_model(directory / "model")
    tiny_rows(directory / "data", 16, kinds="colour:2,boolean:1", split="train")
    tiny_rows(directory / "data", 4, split="val", seed=1)
    (directory / "reward.py").write_text(REWARD)
    return directory


def arguments(directory: Path, *changes: str) -> list[str]:
    """Command line of a run in `directory`: two policy ranks, one engine, a step of 4 prompts x 4 responses."""
    settings = {
        "data.train_files": directory / "data" / "train.jsonl",
        "data.val_files": directory / "data" / "val.jsonl",
        "data.prompt_key": "problem",
        "data.video_dir": directory / "data",
        "data.video_fps": 4.0,
        "data.video_max_frames": 8,
        "data.video_min_pixels": 4096,
        "data.video_max_pixels": 4096,
        "data.preprocessed_video_dir": directory / "cache",
        "data.format_prompt": ROOT / "examples" / "quickstart" / "prompt.jinja",
        "data.max_prompt_length": 160,
        "data.max_response_length": 12,
        "data.rollout_batch_size": 4,
        "algorithm.disable_kl": "true",
        "worker.actor.global_batch_size": 2,
        "worker.actor.max_token_len_per_gpu": 512,
        "worker.actor.model.model_path": directory / "model",
        "worker.actor.optim.lr": 1e-3,
        "worker.rollout.n": 4,
        "worker.rollout.dtype": "fp32",
        "worker.rollout.tensor_parallel_size": 1,
        "worker.rollout.max_num_seqs": 32,
        "worker.reward.num_workers": 1,
        "worker.reward.reward_function": f"{directory / 'reward.py'}:noisy",
        "trainer.device": "cpu",
        "trainer.n_gpus_per_node": 2,
        "trainer.max_steps": 4,
        "trainer.logger": "[file]",
        "trainer.save_checkpoint_path": directory / "run",
        "trainer.val_before_train": "false",
    }
    return [*(f"{key}={value}" for key, value in settings.items()), *changes]


@dataclass
class Run:
    """A training process and everything it starts."""

    directory: Path
    process: subprocess.Popen[bytes]
    mark: str

    @classmethod
    def start(cls, directory: Path, *changes: str) -> Run:
        """Begin to train in `directory`."""
        mark = f"{directory}-{time.monotonic_ns()}"
        environment = os.environ | {MARK: mark, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "verl.trainer.main", *arguments(directory, *changes)]
        with (directory / "run.log").open("ab") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        return cls(directory, process, mark)

    @property
    def log(self) -> str:
        """What the run printed so far."""
        return (self.directory / "run.log").read_text(errors="replace")

    def steps(self) -> list[int]:
        """Steps that were logged, in file order."""
        return [row["step"] for row in read_metrics(self.directory / "run") if "actor/pg_loss" in row]

    def wait_for_step(self, step: int, seconds: float = 180.0) -> None:
        """Until `step` was logged."""
        self._wait(lambda: step in self.steps(), seconds, f"step {step}")

    def wait_for_end(self, seconds: float) -> int:
        """Exit status, within `seconds`."""
        self._wait(lambda: self.process.poll() is not None, seconds, "the end of the run", alive=False)
        return self.process.returncode

    def _wait(self, done, seconds: float, what: str, *, alive: bool = True) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            ended = alive and self.process.poll() is not None
            if ended or time.monotonic() > deadline:
                raise AssertionError(f"waited in vain for {what}; the log ends with:\n{self.log[-6000:]}")
            time.sleep(0.1)

    def processes(self, needle: str = "") -> list[int]:
        """Living processes of this run whose command line or title holds `needle`."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                environment = (folder / "environ").read_bytes().decode(errors="replace")
                command = (folder / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if self.mark in environment and needle in command and state != "Z":
                found.append(int(folder.name))
        return found

    def kill(self, needle: str) -> None:
        """SIGKILL to one process of the run."""
        pids = self.processes(needle)
        assert pids, f"no process called {needle} among {[self._title(pid) for pid in self.processes()]}"
        os.kill(pids[0], signal.SIGKILL)

    def wait_until_gone(self, seconds: float = 30.0) -> None:
        """Until no process of the run is left."""
        deadline = time.monotonic() + seconds
        while left := self.processes():
            if time.monotonic() > deadline:
                raise AssertionError(f"orphans: {[self._title(pid) for pid in left]}")
            time.sleep(0.2)

    def clean_up(self) -> None:
        """End whatever is left, at the end of a failed test."""
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)

    @staticmethod
    def _title(pid: int) -> str:
        try:
            return f"{pid} {Path(f'/proc/{pid}/cmdline').read_bytes().decode(errors='replace')[:120]}"
        except OSError:
            return str(pid)


def read_metrics(run: Path) -> list[dict]:
    """Rows of a run's metrics file; none before the first step."""
    file = run / "experiment_log.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []
