# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What the commands that sample responses to a data file have in common: flags, rows, and who answers."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from verl.config.checks import split_location
from verl.config.load import load
from verl.config.plan import Plan, image_spec, video_spec
from verl.config.trainer import Config
from verl.data.dataset import PromptDataset, build_dataset
from verl.data.templates import Template
from verl.errors import ConfigError, DataError, VerlError
from verl.models.adapter import ModelAdapter, load_adapter, local_folder
from verl.rewards.custom import load_reward
from verl.rewards.judge_client import Endpoint
from verl.rewards.router import validate_answer
from verl.rollout.attempts import Bar, Ledger, Tried, key_of
from verl.rollout.configured import engine_options, sampling_plan
from verl.rollout.endpoint import Dialect, EndpointWriter
from verl.rollout.environment import engine_environment, resolve_backend
from verl.rollout.sampler import Sampler, failures
from verl.rollout.server import VllmServer
from verl.rollout.writers import EngineWriter, Writer

DONE, FAILED, USAGE_ERROR, INTERRUPTED = 0, 1, 2, 130
REASONS = 20  # to print
JUDGING = ("base_url", "model", "tasks", "max_response_chars", "max_tokens", "temperature", "extra_body")
SLOTS_PER_SEQUENCE = 2  # responses asked for while as many are generated


def parser(description: str) -> argparse.ArgumentParser:
    """The flags that the commands share."""
    flags = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    flags.add_argument("settings", nargs="*", help="as for training: config=FILE, then key=value; data.* makes prompts")
    flags.add_argument("--input_file", help="rows, named as in data.train_files; default: data.train_files")
    flags.add_argument("--output_file", type=Path, required=True, help="JSON lines")
    flags.add_argument("--attempts", type=int, default=8, help="responses to each row")
    flags.add_argument("--threshold", type=float, default=0.5, help="a response with this score or more is right")
    flags.add_argument("--score_part", default="accuracy", help="part of the score that is looked at, or overall")
    flags.add_argument("--retry_failed", action="store_true", help="try rows again whose attempts had errors")
    served = flags.add_argument_group("an OpenAI-compatible endpoint in place of an engine of our own")
    served.add_argument("--base_url", help="such as http://localhost:8000/v1")
    served.add_argument("--model", help="name of the model there")
    served.add_argument("--api_key_env", help="environment variable that holds the key")
    served.add_argument("--concurrency", type=int, default=16, help="requests at a time")
    served.add_argument("--timeout", type=float, default=600.0, help="seconds for one response")
    served.add_argument("--max_retries", type=int, default=5, help="of a request that failed")
    served.add_argument("--image_format", choices=("jpeg", "png"), default="jpeg", help="of the frames; png is exact")
    served.add_argument("--request_extra", type=json.loads, default={}, help="JSON object of more request fields")
    return flags


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What there is to do, read and checked."""

    flags: argparse.Namespace
    config: Config
    adapter: ModelAdapter
    dataset: PromptDataset

    @classmethod
    def of(cls, flags: argparse.Namespace) -> Job:
        """Read the configuration and the rows as training does. Raises ConfigError or DataError."""
        if bool(flags.base_url) != bool(flags.model):
            raise ConfigError("--base_url and --model belong together")
        for name in ("attempts", "concurrency", "keep"):
            if getattr(flags, name, 1) < 1:
                raise ConfigError(f"--{name} {getattr(flags, name)}: must be at least 1")
        if not isinstance(flags.request_extra, dict):
            raise ConfigError(f"--request_extra {json.dumps(flags.request_extra)}: must be a JSON object")
        config = load(flags.settings)
        if flags.input_file:
            config = replace(config, data=replace(config.data, train_files=(flags.input_file,)))
        _check_output(flags.output_file, config.data.train_files)
        if config.worker.reward.model.model_path is not None and flags.score_part == "overall":
            raise ConfigError(
                "--score_part overall: worker.reward.model has a share in it when training, and does not score here;"
                " take another part, or set worker.reward.model.model_path=null"
            )
        model = config.worker.actor.model
        if not model.model_path:
            raise ConfigError("worker.actor.model.model_path is not set: its tokenizer and frame sizes make prompts")
        adapter = load_adapter(
            local_folder(model.model_path),
            tokenizer_path=local_folder(model.tokenizer_path) if model.tokenizer_path else None,
            chat_template=config.data.override_chat_template,
            trust_remote_code=model.trust_remote_code,
        )
        check = validate_answer if config.worker.reward.reward_function is None else None
        dataset = build_dataset(config.data, adapter, train=True, check_answer=check)
        return cls(flags=flags, config=config, adapter=adapter, dataset=dataset)

    @property
    def bar(self) -> Bar:
        """What counts as right."""
        return Bar(part=self.flags.score_part, threshold=self.flags.threshold)

    @property
    def ledger_path(self) -> Path:
        """Where attempts are kept, beside the output."""
        return self.flags.output_file.with_name(f"{self.flags.output_file.stem}.attempts.jsonl")

    def settings(self) -> dict[str, Any]:
        """All that attempts depend on, templates and reward by what their files hold.

        Not the threshold: attempts are kept whatever they score.
        """
        data, reward, flags = self.config.data, self.config.worker.reward, self.flags
        keys = ("prompt", "answer", "image", "video", "options", "problem_type")
        names = (*(f"{key}_key" for key in keys), "image_dir", "video_dir", "max_prompt_length")
        files = (
            data.format_prompt,
            data.override_chat_template,
            _file(reward.reward_function),
            reward.judge.prompt_path if reward.judge.base_url else None,
        )
        return {
            "writer": f"{flags.base_url} {flags.model}"
            if flags.base_url
            else self.config.worker.actor.model.model_path,
            "request_extra": flags.request_extra if flags.base_url else {},
            "sampling": asdict(sampling_plan(self.config).override({"n": flags.attempts})),
            "prompts": {name: getattr(data, name) for name in names},
            "videos": asdict(video_spec(data, self.adapter.align, train=True)),
            "images": asdict(image_spec(data, self.adapter.align, train=True)),
            "reward": [reward.reward_function, dict(reward.reward_function_kwargs)],
            "weights": None if reward.reward_function else [reward.accuracy_weight, reward.format_weight],
            "judge": {name: getattr(reward.judge, name) for name in JUDGING} if reward.judge.base_url else None,
            "files": {file: _digest(Path(file).expanduser()) for file in files if file},
        }

    def tried(self, ledger: Ledger) -> list[Tried]:
        """What is known of each row, in their order."""
        return [ledger[key] for record in self.dataset.records if (key := key_of(record)) in ledger]


def _file(location: str | None) -> str | None:
    """The file of "path/to/file.py:name"."""
    return location.partition(".py:")[0].removesuffix(".py") + ".py" if location else None


def _check_output(output: Path, locations: Sequence[str]) -> None:
    """Raises ConfigError where writing would change what is read."""
    for location in locations:
        source = Path(split_location(location)[0]).expanduser().resolve()
        if output.resolve() == source or (source.is_dir() and output.resolve().parent in (source, source / "data")):
            raise ConfigError(
                f"--output_file {output} is {'in' if source.is_dir() else 'the same file as'} the input {location},"
                " which must stay as it is; name another place"
            )


def _digest(file: Path) -> str:
    return hashlib.blake2b(file.read_bytes(), digest_size=8).hexdigest()


WriterOpener = Callable[[Job], AbstractAsyncContextManager[Writer]]


@asynccontextmanager
async def open_writer(job: Job) -> AsyncIterator[Writer]:
    """The endpoint that the flags name, else an engine with the policy's weights."""
    if job.flags.base_url:
        template = Template(job.config.data.format_prompt)
        dialect = Dialect(model=job.flags.model, image_format=job.flags.image_format, extra=job.flags.request_extra)
        endpoint = EndpointWriter(_endpoint(job.flags), dialect, template.render)
        try:
            yield endpoint
        finally:
            await endpoint.close()
        return
    server = VllmServer(_engine(job))
    try:
        await server.start()
        yield EngineWriter(server)
    finally:
        await server.close()


def _engine(job: Job) -> Any:
    """An engine that has its devices to itself."""
    device = job.config.trainer.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    os.environ |= engine_environment(device, resolve_backend("auto", device, colocated=False))
    config = replace(job.config, worker=replace(job.config.worker, rollout=_alone(job.config.worker.rollout)))
    records = job.dataset.records
    videos = max(len(record.videos) for record in records)
    images = max(len(record.images) for record in records)
    plan = Plan.of(config, max(config.worker.rollout.tensor_parallel_size, 1), device)
    return engine_options(config, device, plan, max_videos=videos or int(not images), max_images=images)


def _alone(rollout: Any) -> Any:
    return replace(rollout, colocated=False, weight_transfer="auto")


def _endpoint(flags: argparse.Namespace) -> Endpoint:
    key = os.environ.get(flags.api_key_env) if flags.api_key_env else None
    if flags.api_key_env and not key:
        raise ConfigError(f"--api_key_env {flags.api_key_env}: this variable is not set")
    return Endpoint(
        base_url=flags.base_url,
        key=key,
        timeout_seconds=flags.timeout,
        max_retries=flags.max_retries,
        max_concurrency=flags.concurrency,
    )


async def sample(job: Job, ledger: Ledger, opener: WriterOpener = open_writer) -> None:
    """Have all rows tried that are not in the ledger."""
    if job.flags.retry_failed:
        ledger.forget([row.key for row in job.tried(ledger) if row.errors])
    if all(key_of(record) in ledger for record in job.dataset.records):
        return
    plan = sampling_plan(job.config).override({"n": job.flags.attempts})
    slots = job.flags.concurrency if job.flags.base_url else SLOTS_PER_SEQUENCE * job.config.worker.rollout.max_num_seqs
    async with opener(job) as writer:
        sampler = Sampler(
            writer=writer,
            reward=load_reward(job.config.worker.reward),
            plan=plan,
            ledger=ledger,
            num_rows_at_once=-(-slots // plan.n),
        )
        await sampler.run(job.dataset.records, job.dataset.__getitem__)


def run(flags: argparse.Namespace, finish: Callable[[Job, list[Tried]], str], opener: WriterOpener) -> int:
    """Sample, write what `finish` makes of it, say what happened; the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        job = Job.of(flags)
        ledger = Ledger(job.ledger_path, job.settings())
        try:
            asyncio.run(sample(job, ledger, opener))
            tried = job.tried(ledger)
        finally:
            ledger.close()
        print(finish(job, tried))
    except KeyboardInterrupt:
        print("interrupted: what is done is kept, the same command goes on from there", file=sys.stderr)
        return INTERRUPTED
    except VerlError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return USAGE_ERROR if isinstance(error, ConfigError | DataError) else FAILED
    for count, reason, first in failures(tried)[:REASONS]:
        print(f"  {count} attempts without a score: {reason} (first: {first})")
    return DONE


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """All rows or, if this is cut short, what was there before."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
