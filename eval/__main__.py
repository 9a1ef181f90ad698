# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluates a model folder on video benchmarks: python -m eval run --model DIR --benchmarks videomme,mvbench."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from eval.benchmark import BENCHMARKS
from eval.command import add_run_flags, judge_config, run_options
from eval.judge import ItemJudge
from eval.store import writing
from verl.errors import ConfigError, DataError, VerlError
from verl.rewards.judge import Judge

USAGE_ERROR = 2


def main(argv: Sequence[str] | None = None) -> int:
    """The process's exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    signal.signal(signal.SIGTERM, _as_interrupt)
    given = list(sys.argv[1:] if argv is None else argv)
    arguments = _parser().parse_args(given)
    try:
        arguments.command(arguments, given[1:])
    except (ConfigError, DataError) as error:
        return _fail(error, USAGE_ERROR)
    except VerlError as error:
        return _fail(error, 1)
    except KeyboardInterrupt:
        return _fail(KeyboardInterrupt("interrupted; what is answered is kept, start the same command again"), 130)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m eval", description=(__doc__ or "").partition(":")[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="ask, grade and report; goes on where an earlier start of it ended")
    add_run_flags(run)
    run.set_defaults(command=_run)
    merge = commands.add_parser("merge", help="report on a run whose shards are all done; takes the flags of the run")
    add_run_flags(merge)
    merge.set_defaults(command=_merge)
    report = commands.add_parser("report", help="tables and a page about finished runs")
    report.add_argument("folders", type=Path, nargs="+", help="folders of runs, or what holds them")
    report.add_argument("--output_dir", type=Path, default=Path("outputs/eval"))
    report.set_defaults(command=_report_on, no_report=False)
    against = commands.add_parser("compare", help="two runs of one benchmark, item by item")
    against.add_argument("before", type=Path, help="folder of a finished run")
    against.add_argument("after", type=Path)
    against.set_defaults(command=_compare)
    known = commands.add_parser("list", help="the benchmarks")
    known.set_defaults(command=_list)
    return parser


def _run(arguments: argparse.Namespace, given: Sequence[str]) -> None:
    from eval.fleet import devices, run_fleet
    from eval.runner import run

    options, judging = run_options(arguments), _judging(arguments)
    if arguments.engines > 1:
        visible = devices(arguments.engines, options.engine)
        run_fleet(given, options.shard, visible)
        _merged(arguments)
        return
    _report([one.folder for one in run(options, judging)], arguments)


def _judging(arguments: argparse.Namespace) -> ItemJudge | None:
    """The judge, after it has shown that it can tell right from wrong."""
    config = judge_config(arguments)
    if config is None:
        return None
    judge = Judge(config)
    judge.check()
    return ItemJudge(judge)


def _merge(arguments: argparse.Namespace, given: Sequence[str]) -> None:
    if missing := _merged(arguments):
        raise DataError(f"not all is answered of {', '.join(missing)}; start the shards that are missing")


def _merged(arguments: argparse.Namespace) -> list[str]:
    """Report on what is answered completely; the benchmarks that are not."""
    from eval.runner import finish, prepare

    found = [(one, finish(one)) for one in prepare(run_options(arguments))]
    _report([one.folder for one, is_done in found if is_done], arguments)
    return [one.benchmark.name for one, is_done in found if not is_done]


def _report(folders: Sequence[Path], arguments: argparse.Namespace) -> None:
    from eval.finished import read_run
    from eval.report.writing import write_reports

    if folders and not arguments.no_report:
        with writing(arguments.output_dir):
            sys.stdout.write(write_reports(arguments.output_dir, [read_run(folder) for folder in folders]))
        sys.stdout.write(f"reports: {arguments.output_dir}/report.md, .html, .csv, .json\n")


def _report_on(arguments: argparse.Namespace, given: Sequence[str]) -> None:
    from eval.finished import find_runs

    folders = [folder for root in arguments.folders for folder in find_runs(root)]
    if not folders:
        raise DataError(f"no finished run under {', '.join(map(str, arguments.folders))}")
    _report(folders, arguments)


def _compare(arguments: argparse.Namespace, given: Sequence[str]) -> None:
    from eval.compare import compare, text
    from eval.finished import read_run

    sys.stdout.write(text(compare(read_run(arguments.before), read_run(arguments.after))))


def _list(arguments: argparse.Namespace, given: Sequence[str]) -> None:
    for name in BENCHMARKS:
        benchmark = BENCHMARKS[name]
        sys.stdout.write(f"{name:24} {benchmark.num_items or '?':>6}  {benchmark.title}\n")


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _fail(error: BaseException, status: int) -> int:
    sys.stderr.write(f"\neval: {type(error).__name__}: {error}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
