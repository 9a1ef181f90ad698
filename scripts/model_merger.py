# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Merge a checkpoint's sharded weights into a Hugging Face folder.

python scripts/model_merger.py --local_dir checkpoints/project/experiment/global_step_100/actor
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from verl.checkpoint.layout import HUGGINGFACE
from verl.checkpoint.merge import merge
from verl.errors import CheckpointError, VerlError

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


def main() -> None:
    """Parse, merge, upload if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--local_dir", type=Path, required=True, help="the actor folder of a checkpoint")
    parser.add_argument("--target_dir", type=Path, help=f"where to write (default: LOCAL_DIR/{HUGGINGFACE})")
    parser.add_argument("--dtype", choices=sorted(DTYPES), help="type of the weights (default: as stored)")
    parser.add_argument("--hf_upload_path", default="", help="also upload to this hub repository, e.g. me/my-model")
    parser.add_argument("--public", action="store_true", help="make the uploaded repository public")
    arguments = parser.parse_args()
    try:
        if arguments.local_dir.name == HUGGINGFACE:
            raise CheckpointError(f"--local_dir is the actor folder, not its {HUGGINGFACE}/ folder: drop the last part")
        folder = merge(arguments.local_dir, arguments.target_dir, DTYPES.get(arguments.dtype))
    except VerlError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    print(f"merged into {folder}")
    if arguments.hf_upload_path:
        _upload(folder, arguments.hf_upload_path, private=not arguments.public)


def _upload(folder: Path, repository: str, *, private: bool) -> None:
    from huggingface_hub import HfApi

    api = HfApi()
    api.create_repo(repository, private=private, exist_ok=True)
    api.upload_folder(repo_id=repository, folder_path=folder)
    print(f"uploaded to {repository}")


if __name__ == "__main__":
    main()
