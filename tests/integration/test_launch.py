# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The launch script on two nodes, which here are two Rays on one machine: both end with the run, nobody is left."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from tests.runs import MARK, ROOT, Run, arguments, make_world

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def launch(directory, rank: int, port: int) -> Run:
    mark = f"{directory}-launch"
    node = {"WORLD_SIZE": "2", "RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    settings = {
        "RAY_gcs_rpc_server_reconnect_timeout_s": "5",
        "NPROC_PER_NODE": "1",
        "PYTHON": sys.executable,
        MARK: mark,
        "OMP_NUM_THREADS": "1",
    }
    changes = arguments(directory, "trainer.max_steps=1", "trainer.n_gpus_per_node=1", "trainer.val_freq=-1")
    command = ["bash", str(ROOT / "examples" / "video_rl" / "run_video_rl.sh"), *changes]
    with (directory / "run.log").open("ab") as log:
        process = subprocess.Popen(command, env=os.environ | node | settings, stdout=log, stderr=log)
    return Run(directory, process, mark)


def test_two_nodes_train_and_end_together(tmp_path):
    make_world(tmp_path)
    port = free_port()
    head, other = (launch(tmp_path, rank, port) for rank in (0, 1))
    try:
        assert head.wait_for_end(240) == 0, head.log[-4000:]
        assert other.wait_for_end(120) == 0, head.log[-4000:]
        head.wait_until_gone()
        assert head.steps() == [1]
    finally:
        head.clean_up()
