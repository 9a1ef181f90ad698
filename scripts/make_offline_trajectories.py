#!/usr/bin/env python
# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Have a model answer the rows of a data file and keep answers that are right, for training on mixed trajectories."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence

from sampling import Job, WriterOpener, open_writer, parser, run, write_rows

from verl.rollout.attempts import Tried, key_of

COLUMNS = ("has_offline_trajectory", "offline_output", "offline_logprobs")


def main(argv: Sequence[str] | None = None, opener: WriterOpener = open_writer) -> int:
    """0: all rows were tried; 1: engine or endpoint failed; 2: bad flags, settings or rows; 130: interrupted."""
    return run(flags().parse_intermixed_args(argv), finish, opener)


def flags() -> argparse.ArgumentParser:
    """All flags."""
    own = parser(__doc__)
    own.add_argument("--keep", type=int, default=1, help="most responses to keep for a row, the best first")
    own.add_argument("--drop_rows", action="store_true", help="leave rows out of which no response is kept")
    return own


def finish(job: Job, tried: list[Tried]) -> str:
    """Every row as it was, with the columns that training reads."""
    kept = {row.key: job.bar.best(row, job.flags.keep) for row in tried}
    rows = []
    for record in job.dataset.records:
        responses = kept.get(key_of(record), [])
        if responses or not job.flags.drop_rows:
            fields = {name: value for name, value in record.fields.items() if name not in COLUMNS}
            rows.append({**fields, "has_offline_trajectory": bool(responses), "offline_output": responses})
    write_rows(job.flags.output_file, rows)
    counts = Counter(len(responses) for responses in kept.values())
    spread = ", ".join(f"{rows} rows with {number}" for number, rows in sorted(counts.items(), reverse=True))
    return f"{len(rows)} rows written to {job.flags.output_file}; responses kept: {spread}"


if __name__ == "__main__":
    sys.exit(main())
