# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Files and folders that survive a power cut: written beside their final name, synced, renamed."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any


def write_json(path: Path, value: Any) -> None:
    """Replace `path` with `value` as JSON. Readers see the old file or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    sync(temporary)
    temporary.replace(path)
    sync(path.parent)


def copy_file(source: Path, target: Path) -> None:
    """Copy one file and wait until it is on disk."""
    shutil.copyfile(source, target)
    sync(target)


def sync(path: Path) -> None:
    """Wait until a file, or the list of names in a folder, is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_folder(source: Path, target: Path) -> None:
    """Give the complete folder `source` the name `target`, in whose place another one may stand."""
    for folder in [source, *(path for path in source.rglob("*") if path.is_dir())]:
        sync(folder)
    replaced = hidden(target, "old")
    shutil.rmtree(replaced, ignore_errors=True)
    if target.exists():
        target.rename(replaced)
    source.rename(target)
    sync(target.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def remove_folder(path: Path) -> None:
    """Delete a folder. Cut short, it leaves a hidden name that nobody takes for the folder."""
    leaving = hidden(path, "old")
    shutil.rmtree(leaving, ignore_errors=True)
    path.rename(leaving)
    shutil.rmtree(leaving)


def hidden(path: Path, why: str) -> Path:
    """The name beside `path` for something unfinished: ".name.why"."""
    return path.with_name(f".{path.name}.{why}")
