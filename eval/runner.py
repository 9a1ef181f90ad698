# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""A command to finished benchmarks: what is left to ask, one engine for all of it, sorted results at the end."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.benchmark import BENCHMARKS, Benchmark
from eval.engines import Answerer, open_engine
from eval.item import EvalItem
from eval.options import RunOptions, fingerprint, manifest, plugins
from eval.pipeline import BenchmarkRun, Judging, Pipeline
from eval.progress import Progress
from eval.questions import Questions, Sight, located
from eval.store import Journal, Outcome, read_outcomes, replace_file, write_results
from verl.errors import ConfigError, DataError, VerlError
from verl.models.adapter import ModelAdapter, load_adapter
from verl.rollout.engine import SamplingPlan

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """One benchmark of a command, before anything is asked."""

    benchmark: Benchmark
    items: tuple[EvalItem, ...]  # of all shards
    questions: Questions
    plan: SamplingPlan
    folder: Path
    manifest: dict[str, Any]
    where: dict[str, str]  # files, which do not change a response

    def done(self, options: RunOptions) -> dict[str, Outcome]:
        """What earlier starts of this very run have left."""
        found = read_outcomes(self.folder)
        known = {item.id for item in self.items}
        dropped = {key for key, one in found.items() if key not in known or (options.retry_failed and one.failure)}
        return {key: one for key, one in found.items() if key not in dropped}


def prepare(options: RunOptions) -> list[Prepared]:
    """Read and check what needs no engine. Raises ConfigError or DataError."""
    adapter = load_adapter(options.model, trust_remote_code=options.engine.trust_remote_code)
    return [_prepare(options, name, adapter) for name in options.benchmarks]


def _prepare(options: RunOptions, name: str, adapter: ModelAdapter) -> Prepared:
    benchmark = BENCHMARKS.resolve(name)
    annotations, media = options.locate(benchmark)
    items = read_items(benchmark, annotations)[: options.limit]
    sight = Sight.of(
        options.budget_of(benchmark),
        adapter.align,
        folder=media,
        cache_dir=options.cache_dir,
        sampler=options.sampler,
    )
    plan = options.plan_of(benchmark)
    described = manifest(options, benchmark, sight, items) | plugins(name, options.sampler)
    room = options.engine.max_model_len - plan.max_tokens
    if room < 1:
        raise ConfigError(
            f"{benchmark.name}: a response may have {plan.max_tokens} tokens, which leaves none of"
            f" {options.engine.max_model_len} for the prompt; lower --max_tokens or raise --max_model_len"
        )
    return Prepared(
        benchmark=benchmark,
        items=items,
        questions=Questions(
            benchmark=benchmark,
            style=options.style,
            sight=sight,
            adapter=adapter,
            max_prompt_length=room,
            blind=options.blind,
        ),
        plan=plan,
        folder=options.output_dir / benchmark.name / fingerprint(described),
        manifest=described,
        where={
            "benchmark": name,
            "annotations": str(annotations.absolute()),
            "media": str(media.absolute()),
            "cache": str(options.cache_dir),
        },
    )


def read_items(benchmark: Benchmark, annotations: Path) -> tuple[EvalItem, ...]:
    """All items of a benchmark. Raises DataError for none, or for two with one id."""
    items = tuple(benchmark.read(annotations))
    if not items:
        raise DataError(f"{annotations}: holds no item of {benchmark.title}")
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            raise DataError(f"{annotations}: two items of {benchmark.title} have the id {item.id!r}")
        seen.add(item.id)
    return items


def run(options: RunOptions, judging: Judging | None = None) -> list[Prepared]:
    """Ask what is left of this shard; the benchmarks that are now answered completely, by all shards."""
    prepared = prepare(options)
    with ExitStack() as stack:
        runs = [stack.enter_context(_opened(one, options, judging)) for one in prepared]
        for one, each in zip(prepared, runs, strict=True):
            if each.items and not one.done(options):
                _check_data(one)
        left = sum(len(one.items) + len(one.unjudged) for one in runs)
        log.info("%d of %d items are to be asked or judged", left, sum(len(one.items) for one in prepared))
        if left:
            _work(options, prepared, runs, judging)
    return [one for one in prepared if finish(one)]


def _check_data(one: Prepared) -> None:
    """Before a run begins: raises ConfigError where every item would fail, and says where items are not all."""
    expected, folder = one.benchmark.num_items, one.questions.sight.folder
    if one.manifest["limit"] is None and expected not in (None, len(one.items)):
        log.warning(
            "%s: %d items, the official set has %d: figures compare with published ones over the same items only",
            one.benchmark.name,
            len(one.items),
            expected,
        )
    media = dict.fromkeys(medium.path for item in one.items for medium in item.media)
    missing = [path for path in media if not one.questions.blind and not located(folder, path).exists()]
    if missing and len(missing) == len(media):
        raise ConfigError(
            f"{one.benchmark.title}: none of its {len(media)} media files is in {folder}, the first would be"
            f" {located(folder, missing[0])}; set --videos, or get them from {one.benchmark.source}"
        )
    if missing:
        log.warning(
            "%s: %d of %d media files are missing and their items fail; python -m eval.prepare names them",
            one.benchmark.name,
            len(missing),
            len(media),
        )


@contextmanager
def _opened(one: Prepared, options: RunOptions, judging: Judging | None) -> Iterator[BenchmarkRun]:
    _describe(one)
    with Journal(one.folder / f"journal-{options.shard}.jsonl") as journal:
        done = one.done(options)
        mine = [item for item in one.items if options.shard.holds(item.video)]
        held = [(item, done[item.id]) for item in mine if item.id in done]
        yield BenchmarkRun(
            questions=one.questions,
            items=tuple(item for item in mine if item.id not in done),
            unjudged=() if judging is None else tuple(pair for pair in held if pair[1].lacks(judging.name)),
            journal=journal,
        )


def _describe(one: Prepared) -> None:
    for name, values in (("manifest", one.manifest), ("where", one.where)):
        replace_file(one.folder / f"{name}.json", [json.dumps(values, indent=2, sort_keys=True)])


def _work(
    options: RunOptions, prepared: Sequence[Prepared], runs: Sequence[BenchmarkRun], judging: Judging | None
) -> None:
    total = sum(len(one.items) + len(one.unjudged) for one in runs)
    with Progress(total) as progress:
        try:
            asyncio.run(_ask(options, prepared, runs, judging, progress))
        except ExceptionGroup as group:
            raise _cause(group) from None


def _cause(group: ExceptionGroup) -> Exception:
    """What ended the run, in our words; the whole group when there is a fault of ours in it."""
    first: Exception = group
    while isinstance(first, ExceptionGroup) and group.split(VerlError)[1] is None:
        first = first.exceptions[0]
    return first


async def _ask(
    options: RunOptions,
    prepared: Sequence[Prepared],
    runs: Sequence[BenchmarkRun],
    judging: Judging | None,
    progress: Progress,
) -> None:
    """Benchmarks with the same sampling are asked together, the others one after another, of one engine."""
    items = [item for one in prepared for item in one.items]
    answerer = Answerer(
        lambda: open_engine(options.model, options.engine, items),
        prepared[0].plan,
        silence_seconds=options.silence_seconds,
    )
    try:
        for plan in dict.fromkeys(one.plan for one in prepared):
            together = [each for one, each in zip(prepared, runs, strict=True) if one.plan == plan]
            answerer.plan = plan
            await Pipeline(answerer, options.limits, judging, progress.advance).run(together)
        await progress.summary(answerer)
    finally:
        await answerer.close()


def finish(one: Prepared) -> bool:
    """Write the sorted results if every item is answered, and say what has gone wrong; whether it is."""
    found = read_outcomes(one.folder)
    missing = [item.id for item in one.items if item.id not in found]
    if missing:
        log.info("%s: %d items are left to other shards or another start", one.benchmark.name, len(missing))
        return False
    outcomes = [found[item.id] for item in one.items]
    _describe(one)  # shards on other machines may have theirs elsewhere
    write_results(one.folder / "results.jsonl", outcomes)
    for line in told(outcomes):
        log.warning("%s: %s", one.benchmark.name, line)
    return True


def told(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """What went wrong, and what can be done about it."""
    failed = Counter(one.failure for one in outcomes if one.failure is not None)
    if failed:
        yield (
            f"{failed.total()} of {len(outcomes)} items failed and count as wrong; --retry_failed asks them again. Most"
            f" often: {failed.most_common(1)[0][0]}"
        )
    still = [str(one.notes.get("judge", "there was no judge")) for one in outcomes if one.is_open]
    if still:
        yield (
            f"{len(still)} of {len(outcomes)} answers have no verdict and count as wrong; the same command with a judge"
            f" asks for them again. Most often: {Counter(still).most_common(1)[0][0]}"
        )


def check_names(names: Sequence[str]) -> None:
    """Raises ConfigError for a benchmark that does not exist."""
    for name in names:
        BENCHMARKS.resolve(name)
    if not names:
        raise ConfigError(f"--benchmarks names none; known: {', '.join(BENCHMARKS)}")
