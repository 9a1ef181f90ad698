# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""python -m verl.data.validate [FILE ...] [config=FILE] [key=value ...]: is this data fit to train on?

Every row is read, and the header of every video and image. Files are named as in data.train_files; without any,
those of the configuration are looked at, validation files by the val_* keys. With worker.actor.model.model_path the
prompts are measured too. The exit status is 0 for good data, 1 where there are problems, 2 for a wrong call.
"""

from __future__ import annotations

import logging
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from verl.config.load import load
from verl.config.trainer import Config
from verl.data.checks import RecordCheck
from verl.data.dataset import image_source, prompt_builder, video_source
from verl.data.lengths import Headers, overlong, spread
from verl.data.offline import OfflineReader, offline_reader
from verl.data.prompts import PromptBuilder
from verl.data.records import RowFormat, is_unplaced, report, scan
from verl.errors import ConfigError, DataError, MediaError
from verl.models.adapter import ModelAdapter, load_adapter, local_folder
from verl.rewards.router import validate_answer
from verl.types import Record

ALIGN = 32  # of frames and images, where no model says
PROBLEMS, USAGE_ERROR = 1, 2


@dataclass(kw_only=True)
class Survey:
    """What was found at one location."""

    location: str
    num_rows: int = 0
    num_unplaced: int = 0
    records: list[Record] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)  # tokens of the prompts that can be built
    num_overlong_responses: int = 0  # of the rows' own
    unread: int = 0  # media whose header says that they cannot be read
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surveyor:
    """Looks at files by one configuration."""

    config: Config
    adapter: ModelAdapter | None

    def survey(self, location: str, *, train: bool) -> Survey:
        """All that is wrong with a location, and how much of what there is. Raises DataError if nothing is there."""
        found, sound = Survey(location=location), list[Record]()
        format = RowFormat.of(self.config.data)
        answers = validate_answer if self.config.worker.reward.reward_function is None else None
        for row in scan(location, format, RecordCheck(answer=answers)):
            found.num_rows += 1
            found.problems += row.problems
            if row.record is not None:
                found.records.append(row.record)
                found.num_unplaced += is_unplaced(row.record, format)
                sound += [] if row.problems else [row.record]
        if not found.num_rows:
            found.problems.append(f"{location}: there are no rows in it")
        if self.adapter is not None:
            _read_responses(found, offline_reader(self.config, self.adapter))
        data, align = self.config.data, ALIGN if self.adapter is None else self.adapter.align
        videos, images = video_source(data, align, train=train), image_source(data, align, train=train)
        headers = {"video": Headers(videos), "image": Headers(images)}
        with ThreadPoolExecutor(data.filter_overlong_prompts_workers) as pool:
            readable = _open_media(found, headers, pool)
            if self.adapter is not None:
                builder = prompt_builder(data, self.adapter, train=train)
                builder = replace(builder, videos=headers["video"], images=headers["image"])
                _measure(found, [record for record in sound if readable.issuperset(_media(record))], builder, pool)
        return found


def _read_responses(found: Survey, reader: OfflineReader) -> None:
    """The problems of responses that come with the rows, and how many are too long."""
    for record in found.records:
        found.problems += [f"{record.where}: {problem}" for problem in reader.problems(record)]
        found.num_overlong_responses += reader.num_overlong(record)


def _open_media(found: Survey, headers: Mapping[str, Headers], pool: ThreadPoolExecutor) -> set[tuple[str, str]]:
    """The media that can be read: kind and path."""
    users: dict[tuple[str, str], list[str]] = {}
    for record in found.records:
        for medium in set(_media(record)):
            users.setdefault(medium, []).append(record.where)

    def problem(medium: tuple[str, str]) -> str | None:
        kind, path = medium
        try:
            headers[kind].measure(path)
        except MediaError as error:
            return str(error)
        return None

    present = [medium for medium in users if Path(medium[1]).exists()]  # the others are problems of their rows
    reasons = dict(zip(present, pool.map(problem, present), strict=True))
    for medium, reason in reasons.items():
        if reason is not None:
            first, *others = users[medium]
            more = f" (and {len(others)} more)" if others else ""
            found.problems.append(f"{first}{more}: {reason}")
    readable = {medium for medium, reason in reasons.items() if reason is None}
    found.unread = len(users) - len(readable)
    return readable


def _measure(found: Survey, records: Sequence[Record], builder: PromptBuilder, pool: ThreadPoolExecutor) -> None:
    """Lengths of the prompts of `records`, and the problems of those that cannot be built or are too long."""
    for record, length in zip(records, pool.map(lambda record: _length(record, builder), records), strict=True):
        if isinstance(length, str):
            found.problems.append(length)
            continue
        found.lengths.append(length)
        if length > builder.max_prompt_length:
            found.problems.append(overlong(record, length, builder.max_prompt_length))


def main(argv: Sequence[str] | None = None) -> int:
    """Look, tell, and return the process's exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if {"-h", "--help"} & set(argv):
        _print((__doc__ or "").strip())
        return 0
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        surveys = list(_surveys(argv))
    except (ConfigError, DataError) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return USAGE_ERROR
    return PROBLEMS if any(survey.problems for survey in surveys) else 0


def describe(survey: Survey) -> str:
    """A survey in words."""
    types = Counter(record.problem_type or "(none)" for record in survey.records)
    kinds = Counter(record.data_type for record in survey.records)
    media = Counter(kind for kind, _ in {medium for record in survey.records for medium in _media(record)})
    offline = sum(bool(record.offline_responses) for record in survey.records)
    lines = [
        f"{survey.location}: {survey.num_rows} rows",
        f"  problem types: {_counts(types)}",
        f"  data types: {_counts(kinds)}",
        f"  different media: {_counts(media)}; {survey.unread} cannot be read",
    ]
    if survey.num_unplaced:
        lines.append(f"  rows that do not say where their media go: {survey.num_unplaced}, put at the front")
    if offline:
        lines.append(f"  rows with responses of their own: {offline}")
    if survey.num_overlong_responses:
        lines.append(f"  of these, longer than data.max_response_length: {survey.num_overlong_responses} responses")
    if survey.lengths:
        lines.append(f"  prompt tokens of {len(survey.lengths)} rows: {spread(survey.lengths)}")
    if survey.problems:
        lines.append(report(survey.problems, "problems" if len(survey.problems) > 1 else "problem"))
    return "\n".join(lines)


def _surveys(argv: Sequence[str]) -> Iterator[Survey]:
    settings = [text for text in argv if re.match(r"[A-Za-z_][\w.]*=", text) and not Path(text).exists()]
    config = load(settings)
    named = [(text, True) for text in argv if text not in settings]
    configured = [(text, True) for text in config.data.train_files] + [(text, False) for text in config.data.val_files]
    if not (named or configured):
        raise ConfigError("name the files to look at, or a configuration that does (config=FILE)")
    model = config.worker.actor.model
    adapter = None
    if model.model_path:
        adapter = load_adapter(
            local_folder(model.model_path),
            tokenizer_path=local_folder(model.tokenizer_path) if model.tokenizer_path else None,
            chat_template=config.data.override_chat_template,
            trust_remote_code=model.trust_remote_code,
        )
    surveyor = Surveyor(config=config, adapter=adapter)
    for location, train in named or configured:
        survey = surveyor.survey(location, train=train)
        _print(describe(survey))
        yield survey


def _length(record: Record, builder: PromptBuilder) -> int | str:
    try:
        return builder.length(record)
    except DataError as error:
        return str(error)


def _media(record: Record) -> list[tuple[str, str]]:
    """Kind and path of every medium."""
    return [("video", path) for path in record.videos] + [("image", path) for path in record.images]


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counter.most_common()) or "none"


def _print(text: str) -> None:
    sys.stdout.write(text.rstrip() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
