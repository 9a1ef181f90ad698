# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""python -m verl.trainer.main config=FILE key=value ..."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from verl.config.checks import check
from verl.config.load import help_text, load, to_yaml
from verl.errors import ConfigError, DataError, VerlError

HELP_FLAGS = {"-h", "--help"}
USAGE_ERROR = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Train as the arguments say; the process's exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if HELP_FLAGS & set(argv):
        _print(help_text())
        return 0
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        config = load(argv)
        check(config)
        _print(to_yaml(config))
        from verl.trainer.wiring import launched

        with launched(config) as trainer:
            trainer.fit()
    except (ConfigError, DataError) as error:
        return _fail(error, USAGE_ERROR)
    except VerlError as error:
        logging.getLogger(__name__).exception("the run ended with an error")
        return _fail(error, 1)
    except KeyboardInterrupt:
        return _fail(KeyboardInterrupt("interrupted"), 128 + signal.SIGINT)
    return 0


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    """A polite end, such as a scheduler's, takes the same way out as Ctrl-C: workers are stopped first."""
    raise KeyboardInterrupt


def _print(text: str) -> None:
    sys.stdout.write(text.rstrip() + "\n")
    sys.stdout.flush()


def _fail(error: BaseException, status: int) -> int:
    sys.stdout.flush()
    sys.stderr.write(f"\nverl: {type(error).__name__}: {error}\n")
    sys.stderr.flush()
    return status


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status) if status else sys.exit(0)
