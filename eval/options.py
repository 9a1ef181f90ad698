# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What a run is told, and what of it can change a response."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import verl
from eval.benchmark import Benchmark, Budget, Style
from eval.engines import LONGEST, SILENCE_SECONDS, EngineSettings
from eval.identity import file_identity, model_identity
from eval.item import EvalItem
from eval.pipeline import Limits
from eval.questions import Sight
from verl.errors import ConfigError
from verl.rollout.engine import SamplingPlan

DEFAULT_MAX_TOKENS: Mapping[Style, int] = {"official": 128, "instruct": 1024, "thinking": 16_384}
PACKAGES = ("vllm", "transformers", "torch")  # whose versions may change a response


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Which of how many machines this is."""

    index: int = 0
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read "2/8": the second of eight. Raises ConfigError."""
        index, _, count = text.partition("/")
        if not (index.isdigit() and count.isdigit() and 1 <= int(index) <= int(count)):
            raise ConfigError(f"--shard {text!r}: write i/n with 1 <= i <= n, for example 1/4")
        return cls(index=int(index) - 1, count=int(count))

    def holds(self, video: str) -> bool:
        """Whether the questions about `video` are asked here; the same on every machine."""
        number = int.from_bytes(hashlib.blake2b(video.encode(), digest_size=8).digest(), "big")
        return number % self.count == self.index

    def __str__(self) -> str:
        return f"{self.index + 1}of{self.count}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """One command."""

    model: str
    benchmarks: tuple[str, ...]
    data_root: Path
    output_dir: Path
    cache_dir: Path
    style: Style = "official"
    annotations: Mapping[str, Path] = field(default_factory=dict)  # by benchmark, instead of those in data_root
    media: Mapping[str, Path] = field(default_factory=dict)
    budget: Mapping[str, Any] = field(default_factory=dict)  # fields of Budget, for every benchmark
    sampling: Mapping[str, Any] = field(default_factory=dict)  # fields of SamplingPlan
    engine: EngineSettings = field(default_factory=EngineSettings)
    limits: Limits = field(default_factory=Limits)
    shard: Shard = Shard()
    limit: int | None = None  # items of each benchmark
    blind: bool = False
    retry_failed: bool = False
    sampler: str = "qwen_utils"
    silence_seconds: float = SILENCE_SECONDS  # see Answerer

    def budget_of(self, benchmark: Benchmark) -> Budget:
        """The benchmark's frame budget with what the command changes."""
        return Budget(**asdict(benchmark.budget) | dict(self.budget))

    def plan_of(self, benchmark: Benchmark) -> SamplingPlan:
        """Greedy, unless the command says otherwise."""
        most = benchmark.max_tokens.get(self.style, DEFAULT_MAX_TOKENS[self.style])
        return SamplingPlan(temperature=0.0, max_tokens=most, seed=1).override(dict(self.sampling))

    def locate(self, benchmark: Benchmark) -> tuple[Path, Path]:
        """Annotations and folder of media."""
        name, shared = benchmark.name, benchmark.folder or benchmark.name
        annotations = self.annotations.get(name, self.annotations.get(shared))
        media = self.media.get(name, self.media.get(shared))
        if self.blind and media is None:
            media = self.data_root if self.data_root.exists() else Path()  # nobody looks into it
        return locate(benchmark, self.data_root, annotations, media)


def locate(benchmark: Benchmark, root: Path, annotations: Path | None, media: Path | None) -> tuple[Path, Path]:
    """Annotations and folder of media, as given or in `root`. Raises ConfigError naming where they were looked for."""
    name = benchmark.folder or benchmark.name
    files = [root / name / "annotations", *(root / f"{name}{end}" for end in (".json", ".jsonl", ".parquet"))]
    folders = [root / name / "videos", root / name]
    return (
        _first(annotations, files, f"annotations of {benchmark.title} ({benchmark.source})"),
        _first(media, folders, f"videos of {benchmark.title}"),
    )


def longest(model: str) -> int:
    """Tokens of prompt and response that a model folder allows, and no more than 65,536."""
    file = Path(model) / "config.json"
    config = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    allowed = {**config, **config.get("text_config", {})}.get("max_position_embeddings")
    return min(LONGEST, allowed or LONGEST)


def _first(given: Path | None, places: list[Path], what: str) -> Path:
    wanted = [given] if given is not None else places
    for place in wanted:
        if place.exists():
            return place
    looked = ", ".join(map(str, wanted))
    raise ConfigError(f"no {what}: looked at {looked}; python -m eval.prepare tells what goes where")


def manifest(options: RunOptions, benchmark: Benchmark, sight: Sight, items: Sequence[EvalItem]) -> dict[str, Any]:
    """Everything that may change a response or its grade, but for what `plugins` adds; and where the model was."""
    plan = asdict(options.plan_of(benchmark))
    return {
        "benchmark": benchmark.name,
        "style": options.style,
        "blind": options.blind,
        "limit": options.limit,
        "model": model_identity(options.model),
        "items": {"count": len(items), "content": items_identity(items)},
        "video": asdict(sight.spec),
        "image": asdict(sight.image_spec),
        "sampling": {name: list(value) if isinstance(value, tuple) else value for name, value in plan.items()},
        "engine": {"dtype": options.engine.dtype, "max_model_len": options.engine.max_model_len},
        "version": verl.__version__,
        "packages": _versions(),
    }


def plugins(*names: str) -> dict[str, str]:
    """Content of the files of one's own among names such as "kitchen.py:KITCHEN"; nothing for what is in the tree."""
    files = {name: Path(name.partition(".py:")[0] + ".py").expanduser() for name in names if ".py:" in name}
    return {f"{file.name}:{name.partition('.py:')[2]}": file_identity(file) for name, file in files.items()}


@cache
def _versions() -> dict[str, str]:
    """Of modules, which may be installed under other names; "none" where one is not."""
    found = packages_distributions()
    return {name: version(found[name][0]) if name in found else "none" for name in PACKAGES}


def deciding(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest without the place of the model, which decides nothing."""
    return {**manifest, "model": {name: value for name, value in manifest["model"].items() if name != "path"}}


def fingerprint(manifest: Mapping[str, Any]) -> str:
    """Name of the folder that such a run writes to: 12 hex digits."""
    return hashlib.blake2b(json.dumps(deciding(manifest), sort_keys=True).encode(), digest_size=6).hexdigest()


def items_identity(items: Sequence[EvalItem]) -> str:
    """What is asked, as it was read: subtitles are part of it, the names of files are not."""
    digest = hashlib.blake2b(digest_size=8)
    for one in items:
        asked = (one.id, one.media, one.question, one.options, one.answer, one.subtitles)
        digest.update(repr(asked).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
