# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
import os
import signal
import subprocess
import sys
import time

import pytest

from verl.cluster.reaper import MARK, family

DRIVER = """
import os, subprocess, sys, time
from verl.cluster import reaper
reaper.watch_over()
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(os.environ[reaper.MARK], flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_what_a_driver_started_ends_with_it(how):
    driver = subprocess.Popen([sys.executable, "-c", DRIVER], stdout=subprocess.PIPE, text=True)
    mark = driver.stdout.readline().strip()
    bystander = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], env=os.environ | {MARK: "other"}
    )
    assert len(family(mark, {})) == 1
    driver.send_signal(how)
    driver.wait()
    deadline = time.monotonic() + 20
    while family(mark, {}):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert bystander.poll() is None
    bystander.kill()
