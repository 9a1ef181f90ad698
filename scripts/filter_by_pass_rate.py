#!/usr/bin/env python
# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Keep the rows of a data file that a model answers rightly sometimes: what it always or never does teaches nothing."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sampling import USAGE_ERROR, Job, WriterOpener, open_writer, parser, run, write_rows

from verl.rollout.attempts import Tried, key_of


def main(argv: Sequence[str] | None = None, opener: WriterOpener = open_writer) -> int:
    """0: all rows were tried; 1: engine or endpoint failed; 2: bad flags, settings or rows; 130: interrupted."""
    given = flags().parse_intermixed_args(argv)
    if not given.above < given.below:
        print(f"ConfigError: --above {given.above} --below {given.below}: no rate is between them", file=sys.stderr)
        return USAGE_ERROR
    return run(given, finish, opener)


def flags() -> argparse.ArgumentParser:
    """All flags."""
    own = parser(__doc__)
    own.add_argument("--above", type=float, default=0.0, help="rows with a pass rate above this, ...")
    own.add_argument("--below", type=float, default=1.0, help="... and below this are kept; 1.1: also those at 1")
    return own


def rates_path(output_file: Path) -> Path:
    """Where the pass rates of all rows go."""
    return output_file.with_name(f"{output_file.stem}.pass_rates.jsonl")


def finish(job: Job, tried: list[Tried]) -> str:
    """The rows that are kept, each with its pass rate, and the rates of all."""
    above, below = job.flags.above, job.flags.below
    by_key = {row.key: row for row in tried}
    kept, told, unknown = [], [], 0
    for record in job.dataset.records:
        row = by_key[key_of(record)]
        rate = job.bar.rate(row)
        unknown += rate is None
        keeps = rate is not None and above < rate < below
        told.append(
            {
                "problem_id": record.id,
                "where": record.where,
                "pass_rate": rate,
                "num_scored": len(row.scored),
                "kept": keeps,
                "errors": dict(row.errors),
            }
        )
        if keeps:
            kept.append({**record.fields, "pass_rate": rate})
    write_rows(job.flags.output_file, kept)
    write_rows(rates_path(job.flags.output_file), told)
    return (
        f"{len(kept)} of {len(told)} rows written to {job.flags.output_file}, {unknown} without any score left out;"
        f" all rates: {rates_path(job.flags.output_file)}"
    )


if __name__ == "__main__":
    sys.exit(main())
