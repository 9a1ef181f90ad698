# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
import signal
import subprocess
import sys
import time
from pathlib import Path

SERVER = """
import subprocess, sys, time
from verl.rollout import lifeline
lifeline.announce()
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
print(child.pid, flush=True)
time.sleep(60)
"""
ENGINE = "import time; from verl.rollout import lifeline; lifeline.follow(); time.sleep(60)"
LATE_ENGINE = "import time; time.sleep(0.5); from verl.rollout import lifeline; lifeline.follow(); time.sleep(60)"
DEAF_ENGINE = "import time; time.sleep(60)"


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def outlives(engine, seconds):
    """Whether the child of a process killed by SIGKILL is still there after so many seconds."""
    server = subprocess.Popen([sys.executable, "-c", SERVER, engine], stdout=subprocess.PIPE, text=True)
    child = int(server.stdout.readline())
    server.send_signal(signal.SIGKILL)
    server.wait()
    server.stdout.close()
    deadline = time.monotonic() + seconds
    while is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    survived = is_alive(child)
    if survived:
        subprocess.run(["kill", "-9", str(child)], check=True)
    return survived


def test_a_process_that_follows_dies_with_its_server():
    assert not outlives(ENGINE, 10)


def test_also_when_the_server_is_dead_before_it_follows():
    assert not outlives(LATE_ENGINE, 10)


def test_a_process_that_does_not_follow_lives_on():
    assert outlives(DEAF_ENGINE, 1)
