#!/usr/bin/env bash
# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
#
# Trains one policy on videos, images and text. Machines, environment variables and arguments are those of
# examples/video_rl/run_video_rl.sh; TRAIN_DATA may name several files: TRAIN_DATA=[videos.jsonl,images.jsonl]
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export CONFIG_PATH=${CONFIG_PATH:-$root/examples/unified_rl/unified_rl.yaml}
exec bash "$root/examples/video_rl/run_video_rl.sh" "$@"
