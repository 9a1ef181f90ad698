# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from verl.errors import WorkerError
from verl.scoring.code import HiddenTests, passed, read_tests, unfence
from verl.scoring.confined.process import Confined, Failure, Limits

RUN = "verl.scoring.confined.python:run"


# The last three are how Python names EPERM from starting a thread, setting a limit and setting a timer.
REFUSALS = ("PermissionError", "ModuleNotFoundError", "ImportError", "RuntimeError", "ValueError", "itimer_error")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Confined]:
    confined = Confined(RUN, Limits(memory_mib=512, is_sealed=True))
    yield confined
    confined.close()


def look(sandbox: Confined, expression: str) -> str:
    """What a program sees when it evaluates `expression`."""
    source = f"def f():\n  try: return repr({expression})\n  except BaseException as e: return type(e).__name__"
    [[kind, value]] = sandbox.call({"source": source, "calls": ["f()"], "inputs": []}, 2.0)
    assert kind == "str"
    return value


@pytest.mark.parametrize(
    "expression",
    [
        "open('/etc/hostname').read()",
        "open('/tmp/verl-was-here', 'w')",
        "__import__('os').listdir('/')",
        "__import__('os').stat('/etc/passwd')",
        "__import__('os').fork()",
        "__import__('os').execv('/bin/true', ['true'])",
        "__import__('os').kill(__import__('os').getpid(), 0)",
        "__import__('os').unlink('/tmp/x')",
        "__import__('resource').setrlimit(0, (1, 1))",
        "__import__('signal').signal(14, 1)",
        "__import__('signal').setitimer(0, 0)",
        "__import__('signal').pthread_sigmask(0, [14])",
        "__import__('threading').Thread(target=int).start()",
    ],
)
def test_a_sealed_program_reaches_nothing(sandbox: Confined, expression: str) -> None:
    assert look(sandbox, expression) in REFUSALS


def test_a_sealed_program_opens_no_socket(sandbox: Confined) -> None:
    seen = look(sandbox, "__import__('_socket' if '_socket' in __import__('sys').modules else 'socket').socket()")
    assert seen in ("PermissionError", "ModuleNotFoundError", "ImportError")


def test_a_sealed_program_can_compute(sandbox: Confined) -> None:
    assert look(sandbox, "__import__('math').comb(10, 3) + len(__import__('itertools').__name__)") == "129"
    assert look(sandbox, "__import__('datetime').datetime.strptime('2020', '%Y').year") == "2020"
    assert float(look(sandbox, "__import__('random').random()")) < 1


def test_secrets_of_this_process_stay_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "hush")
    confined = Confined(RUN, Limits(memory_mib=512, is_sealed=True))
    assert "WANDB" not in look(confined, "dict(__import__('os').environ)")
    confined.close()


def test_programs_do_not_meet(sandbox: Confined) -> None:
    look(sandbox, "__import__('builtins').__dict__.__setitem__('left', 1)")
    assert look(sandbox, "left") == "NameError"


@pytest.mark.parametrize(
    ("source", "failure"),
    [
        ("while True: pass", Failure.TIMEOUT),
        ("import os\nos._exit(0)", Failure.CRASH),
        ("def f(:", Failure.ERROR),
    ],
)
def test_failures_have_names(sandbox: Confined, source: str, failure: Failure) -> None:
    assert sandbox.call({"source": source, "calls": ["1"], "inputs": []}, 0.3) is failure


def test_memory_is_bounded(sandbox: Confined) -> None:
    request = {"source": "def f(): return len(bytearray(10**9))", "calls": ["f()"], "inputs": []}
    assert sandbox.call(request, 2.0) == [None]


def test_calls_from_several_threads_keep_their_own_answers(sandbox: Confined) -> None:
    found: dict[int, object] = {}

    def ask(number: int) -> None:
        found[number] = sandbox.call({"source": "", "calls": [str(number)], "inputs": []}, 2.0)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert found == {number: [["int", str(number)]] for number in range(8)}


def test_a_killed_zygote_is_replaced() -> None:
    confined = Confined(RUN, Limits(memory_mib=512, is_sealed=True))
    assert look(confined, "1") == "1"
    assert confined._zygote is not None
    confined._zygote.kill()
    time.sleep(0.05)
    assert [look(confined, "2") for _ in range(2)] == ["2", "2"]
    confined.close()


def test_a_function_that_cannot_start_is_no_fault_of_the_answer() -> None:
    with pytest.raises(WorkerError, match=r"verl\.scoring\.nowhere:f"):
        Confined("verl.scoring.nowhere:f", Limits(memory_mib=512)).call({}, 1.0)


@pytest.mark.parametrize("busy_with", ["pass", "while True: pass"])
def test_nothing_outlives_a_killed_owner(busy_with: str) -> None:
    program = (
        "from verl.scoring.confined.process import Confined, Limits\n"
        f"c = Confined({RUN!r}, Limits(memory_mib=512, is_sealed=True))\n"
        "c.call({'source': '', 'calls': ['1'], 'inputs': []}, 2.0)\n"
        "print(c._zygote.pid, flush=True)\n"
        f"c.call({{'source': {busy_with!r}, 'calls': ['1'], 'inputs': []}}, 1.0)\nimport time\ntime.sleep(60)"
    )
    owner = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    zygote = int(owner.stdout.readline())
    time.sleep(0.3)
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and _is_alive(zygote):
        time.sleep(0.02)
    assert not _is_alive(zygote)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


PAIRS = {"inputs": [[1], [2]], "outputs": [2, 4], "fn_name": "f"}


@pytest.mark.parametrize(
    ("tests", "source"),
    [
        (["assert f(1) == 2", "assert 4 == f(2)"], "def f(x): return 2 * x"),
        (["assert f(1)", "assert not f(0)"], "def f(x): return x > 0"),
        ([{"call": "f(1)", "returns": [1.0, {"a": None}]}], "def f(x): return [1.0 + 1e-12, {'a': None}]"),
        ([{"input": "1 2\n", "output": "3\n\n"}], "print(sum(map(int, input().split())))"),
        (
            [{"input": "1 2", "output": "3"}],
            "import sys\nsys.stdout.write(str(sum(map(int, sys.stdin.read().split()))))",
        ),
        (PAIRS, "```python\ndef f(x): return 2 * x\n```"),
        (json.dumps({"tests": ["assert f('a') == {'a'}", "assert f('') == set()"]}), "f = set"),
        (["assert f(2) == (2, 4)"], "def f(x): return x, 2 * x"),
    ],
)
def test_tests_are_read_and_passed(tests: object, source: str) -> None:
    read = read_tests(tests)
    assert isinstance(read, HiddenTests)
    assert passed(source, read, 2.0) == [True] * len(read.expected)
    assert passed("def f(x): return None", read, 2.0) != [True] * len(read.expected)


def test_each_test_counts_on_its_own() -> None:
    tests = read_tests(["assert f(1) == 1", "assert f(2) == 4", "assert f(0) == 0"])
    assert tests is not None
    assert passed("def f(x): return x / x * x", tests, 2.0) == [True, False, False]
    assert passed("def f(x): return [x]", tests, 2.0) == [False, False, False]


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("x = 1", "x = 1"),
        ("```python\nx = 1\n```", "x = 1\n"),
        ("Here:\n```py\nx = 1\n```\nTry it:\n```python\nprint(x)\n```\n", "x = 1\n"),
        ('```python\nx = """\n```\n"""\n```', 'x = """\n```\n"""\n'),
        ("```python\nx = 1", "```python\nx = 1"),
    ],
)
def test_the_first_fence_holds_the_program(text: str, source: str) -> None:
    assert unfence(text) == source
