# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""All reports on some runs, side by side in one folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eval.finished import FinishedRun
from eval.report import page, tables
from eval.summary import summarise


def write_reports(folder: Path, runs: Sequence[FinishedRun]) -> str:
    """report.md, .csv, .json and .html; the table for the terminal."""
    summaries = [summarise(run) for run in runs]
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "md": tables.markdown(summaries),
        "csv": tables.comma_separated(summaries),
        "json": tables.as_json(summaries),
        "html": page.page(list(zip(runs, summaries, strict=True))),
    }
    for suffix, text in contents.items():
        (folder / f"report.{suffix}").write_text(text, encoding="utf-8")
    return tables.console(summaries)
