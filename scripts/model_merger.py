# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Merge a checkpoint's sharded weights into a Hugging Face folder.

python scripts/model_merger.py --local_dir checkpoints/project/experiment/global_step_100/actor

Adapters (LoRA) are merged into the model they were trained beside, or, with --adapter_only, written as a peft folder.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from verl.checkpoint.layout import HUGGINGFACE
from verl.checkpoint.merge import export_adapter, merge
from verl.errors import CheckpointError, VerlError

ADAPTER = "adapter"
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


def main() -> None:
    """Parse, merge, upload if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--local_dir", type=Path, required=True, help="the actor folder of a checkpoint")
    parser.add_argument(
        "--target_dir", type=Path, help=f"where to write (default: LOCAL_DIR/{HUGGINGFACE}, of adapters /{ADAPTER})"
    )
    parser.add_argument("--adapter_only", action="store_true", help="LoRA: write the adapters, as a peft folder")
    parser.add_argument("--base_model", type=Path, help="LoRA: the model that training started from, if it has moved")
    parser.add_argument("--dtype", choices=sorted(DTYPES), help="type of the weights (default: as stored)")
    parser.add_argument("--hf_upload_path", default="", help="also upload to this hub repository, e.g. me/my-model")
    parser.add_argument("--public", action="store_true", help="make the uploaded repository public")
    arguments = parser.parse_args()
    try:
        if arguments.local_dir.name == HUGGINGFACE:
            raise CheckpointError(f"--local_dir is the actor folder, not its {HUGGINGFACE}/ folder: drop the last part")
        folder = _write(arguments)
    except VerlError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    print(f"{'adapter written to' if arguments.adapter_only else 'merged into'} {folder}")
    if arguments.hf_upload_path:
        _upload(folder, arguments.hf_upload_path, private=not arguments.public)


def _write(arguments: argparse.Namespace) -> Path:
    actor, dtype = arguments.local_dir, DTYPES.get(arguments.dtype)
    if arguments.adapter_only:
        return export_adapter(actor, arguments.target_dir or actor / ADAPTER, dtype)
    return merge(actor, arguments.target_dir, dtype, arguments.base_model)


def _upload(folder: Path, repository: str, *, private: bool) -> None:
    from huggingface_hub import HfApi

    api = HfApi()
    api.create_repo(repository, private=private, exist_ok=True)
    api.upload_folder(repo_id=repository, folder_path=folder)
    print(f"uploaded to {repository}")


if __name__ == "__main__":
    main()
