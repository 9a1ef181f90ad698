# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Verdicts that were paid for, on disk. Several processes of a machine share a file; any may be killed at any time."""

from __future__ import annotations

import logging
import re
import socket
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from verl.errors import ConfigError

BUSY_SECONDS = 10.0

log = logging.getLogger(__name__)


class VerdictCache:
    """Keys to shares of full marks, and to replies to inquiries.

    One SQLite file per machine, because its log cannot be shared over a network.
    """

    def __init__(self, directory: Path) -> None:
        host = re.sub(r"[^\w.-]", "_", socket.gethostname())
        self.path = directory / f"verdicts-{host}.sqlite"
        self._lock = threading.Lock()
        self._is_broken = False
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._database = self._open()
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(
                f"the cache of verdicts {self.path} cannot be used: {error}; delete or move it"
            ) from error

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        deadline = time.monotonic() + BUSY_SECONDS
        while True:  # SQLite does not wait by itself while another process switches to the log
            try:
                database.execute("PRAGMA journal_mode=WAL")
                database.execute("PRAGMA synchronous=NORMAL")
                columns = "key TEXT PRIMARY KEY, score REAL NOT NULL, model TEXT NOT NULL"
                database.execute(f"CREATE TABLE IF NOT EXISTS verdicts ({columns}) WITHOUT ROWID")
                columns = "key TEXT PRIMARY KEY, reply TEXT NOT NULL, model TEXT NOT NULL"
                database.execute(f"CREATE TABLE IF NOT EXISTS replies ({columns}) WITHOUT ROWID")
                return database
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def find(self, keys: Sequence[str]) -> dict[str, float]:
        """The shares that are known, 0 to 1."""
        found: dict[str, float] = {}
        try:
            with self._lock:
                for key in keys:
                    row = self._database.execute("SELECT score FROM verdicts WHERE key = ?", (key,)).fetchone()
                    if row is not None and 0 <= row[0] <= 1:
                        found[key] = float(row[0])
        except sqlite3.Error as error:
            self._complain(error)
        return found

    def add(self, key: str, score: float, model: str) -> None:
        """Keep a verdict. One that cannot be kept, as on a full disk, is asked for again another time."""
        self._insert("verdicts", key, score, model)

    def find_reply(self, key: str) -> str | None:
        """The reply to an inquiry that is known."""
        try:
            with self._lock:
                row = self._database.execute("SELECT reply FROM replies WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            self._complain(error)
            return None
        return None if row is None else str(row[0])

    def add_reply(self, key: str, reply: str, model: str) -> None:
        """Keep the reply to an inquiry, as `add` keeps a verdict."""
        self._insert("replies", key, reply, model)

    def _insert(self, table: str, key: str, value: float | str, model: str) -> None:
        try:
            with self._lock:
                self._database.execute(f"INSERT OR IGNORE INTO {table} VALUES (?, ?, ?)", (key, value, model))
        except sqlite3.Error as error:
            self._complain(error)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def _complain(self, error: sqlite3.Error) -> None:
        if not self._is_broken:
            log.warning("the cache of verdicts %s does not work, judgements are paid for again: %s", self.path, error)
        self._is_broken = True
