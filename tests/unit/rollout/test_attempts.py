# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from verl.errors import ConfigError, DataError
from verl.rollout.attempts import Attempt, Bar, Ledger, Tried, key_of
from verl.types import Record

SETTINGS = {"n": 2, "sampling": {"temperature": 1.0}}
WRITER = """
import sys
from pathlib import Path
from verl.rollout.attempts import Attempt, Ledger, Tried
ledger = Ledger(Path(sys.argv[1]), {"n": 2, "sampling": {"temperature": 1.0}})
for number in range(10**6):
    ledger.add(Tried(key=str(number), id="", where="", attempts=(Attempt(text="x" * 5000),)))
    print(number, flush=True)
"""


def attempt(accuracy: float, text: str = "t", **more: object) -> Attempt:
    return Attempt(text=text, scores={"accuracy": accuracy, "overall": accuracy / 2}, **more)


def tried(*attempts: Attempt, key: str = "k") -> Tried:
    return Tried(key=key, id="1", where="rows.jsonl:1", attempts=attempts)


def test_what_is_added_is_there_when_the_file_is_opened_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "a.jsonl", SETTINGS)
    row = tried(attempt(1.0, "\u2028 \u00e9"), Attempt(error="no reply"))
    ledger.add(row)
    ledger.add(tried(key="again"))
    ledger.add(tried(attempt(0.5), key="again"))
    ledger.close()
    again = Ledger(tmp_path / "a.jsonl", SETTINGS)
    assert again["k"] == row and again["again"] == tried(attempt(0.5), key="again")
    again.forget(["k"])
    assert "k" not in again and "again" in again


def test_half_a_line_is_removed_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    ledger = Ledger(path, SETTINGS)
    ledger.add(tried())
    ledger.close()
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines(keepends=True)[1][:20])
    again = Ledger(path, SETTINGS)
    assert path.read_bytes() == whole
    again.add(tried(key="next"))
    again.close()
    assert "next" in Ledger(path, SETTINGS)
    path.write_bytes(whole + b"{nonsense\n")
    with pytest.raises(DataError, match=r"a.jsonl:3 is damaged"):
        Ledger(path, SETTINGS)


def test_a_file_cut_in_its_first_line_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"setti')
    Ledger(tmp_path / "a.jsonl", SETTINGS).close()
    assert Ledger(tmp_path / "a.jsonl", SETTINGS)._tried == {}


def test_nothing_is_lost_when_the_writer_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path / "a.jsonl")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            if int(line) >= 20:
                writer.kill()
                break
        told = [int(line), *(int(rest) for rest in writer.stdout if rest.endswith(b"\n"))][-1]
    assert all(str(number) in Ledger(tmp_path / "a.jsonl", SETTINGS) for number in range(told + 1))


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    Ledger(tmp_path / "a.jsonl", SETTINGS).close()
    with pytest.raises(ConfigError, match="n was 2, is 3"):
        Ledger(tmp_path / "a.jsonl", {**SETTINGS, "n": 3})
    (tmp_path / "rows.jsonl").write_text('{"problem": "?"}\n')
    with pytest.raises(ConfigError, match="is no file of attempts"):
        Ledger(tmp_path / "rows.jsonl", SETTINGS)


def test_two_processes_cannot_write_one_file(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "a.jsonl", SETTINGS)
    with pytest.raises(ConfigError, match="another process"):
        Ledger(tmp_path / "a.jsonl", SETTINGS)
    ledger.close()


def test_the_rate_counts_what_has_a_score() -> None:
    bar = Bar(threshold=0.7)
    assert bar.rate(tried(attempt(0.7), attempt(0.69), Attempt(error="no reply"), attempt(0.0))) == 1 / 3
    assert bar.rate(tried(Attempt(error="no reply"))) is None
    assert Bar(part="overall", threshold=0.4).rate(tried(attempt(1.0), attempt(0.0))) == 0.5
    with pytest.raises(DataError, match=r"no part 'format' \(they have: accuracy, overall\)"):
        Bar(part="format").rate(tried(attempt(1.0)))


def test_the_best_that_pass_are_kept_each_once() -> None:
    row = tried(
        attempt(0.6, "c"), attempt(0.9, "b"), attempt(1.0, "cut", truncated=True), attempt(0.9, "b"),
        attempt(0.4, "no"),
        attempt(0.9, "a"), attempt(1.0, " "), Attempt(text="broken", error="not scorable"),
    )  # fmt: skip
    assert Bar().best(row, 9) == ["b", "a", "c"]
    assert Bar().best(row, 1) == ["b"]


def test_an_edited_row_is_another_one() -> None:
    record = Record(id="1", where="a:1", problem="?", answer="A", problem_type="", data_type="text", fields={"x": 1})
    other = Record(id="1", where="a:1", problem="?", answer="A", problem_type="", data_type="text", fields={"x": 2})
    assert key_of(record) != key_of(other) and key_of(record).startswith("a:1#")
