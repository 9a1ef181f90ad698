# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Python programs, by hidden tests only. A row without tests is not scored: likeness to a solution is no merit."""

from __future__ import annotations

from verl.rewards.contract import Grade, Task, Wording, failure_parts, seconds_setting, task
from verl.scoring.code import MAX_CHARS, HiddenTests, passed, read_tests
from verl.scoring.confined.process import Failure
from verl.scoring.confined.seal import can_seal
from verl.types import NotScorable, Record


@task("code", "coding", "python", "python code")
class Code(Task[HiddenTests]):
    """1 when all tests of the answer, or of the row's field `tests`, pass within `seconds`; with `partial` their share.

    Programs run sealed: no files, no network, no processes, 512 MiB. Parts: passed, timeout, crash.
    """

    max_chars = MAX_CHARS
    bare_chars = MAX_CHARS
    words = Wording(
        form="the complete Python program, without Markdown fences",
        example="def double(x):\n    return 2 * x",
        approach="sketch the program",
    )

    def __init__(self, *, seconds: float = 5.0, partial: bool = False) -> None:
        self._seconds, self._partial = seconds_setting(seconds), partial

    def truth(self, record: Record) -> HiddenTests | NotScorable:
        """The tests."""
        if not can_seal():
            return NotScorable(reason="programs are run on Linux on x86_64 or aarch64 only, where they can be sealed")
        tests = read_tests(record.fields.get("tests") or record.answer)
        return tests or NotScorable(
            reason="the row has no hidden tests that can be run; give them as its answer or its field `tests`: a list "
            'of {"call": "f(1)", "returns": 2}, {"input": "1", "output": "2"} or "assert f(1) == 2"'
        )

    def grade(self, candidate: str, truth: HiddenTests, record: Record) -> Grade:
        """Outcomes compared with what the tests expect, outside the sandbox."""
        outcomes = passed(candidate, truth, self._seconds)
        share = 0.0 if isinstance(outcomes, Failure) else sum(outcomes) / len(outcomes)
        parts = {"passed": share, **failure_parts(outcomes)}
        is_program = outcomes is not Failure.ERROR  # it did not even compile
        accuracy = share if self._partial else float(share == 1.0)
        return Grade(
            accuracy=accuracy, is_readable=is_program, is_typed=is_program and "```" not in candidate, parts=parts
        )
