#!/usr/bin/env bash
# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
#
# Trains a video policy on one machine, or on several that all run this same script:
#
#   bash examples/video_rl/run_video_rl.sh                                    one machine
#   WORLD_SIZE=2 RANK=0 MASTER_ADDR=10.0.0.1 bash .../run_video_rl.sh         the first of two
#   WORLD_SIZE=2 RANK=1 MASTER_ADDR=10.0.0.1 bash .../run_video_rl.sh         the second
#
# Arguments are passed on as configuration: bash run_video_rl.sh trainer.max_steps=10
# Only Ray processes that this script started are ended by it.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
python=${PYTHON:-$([ -x "$root/.venv/bin/python" ] && echo "$root/.venv/bin/python" || command -v python3)}
ray=("$python" -m ray.scripts.scripts)

WORLD_SIZE=${WORLD_SIZE:-1}
RANK=${RANK:-0}
MASTER_ADDR=${MASTER_ADDR:-127.0.0.1}
MASTER_PORT=${MASTER_PORT:-6379}
if command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi >/dev/null 2>&1; then
  NPROC_PER_NODE=${NPROC_PER_NODE:-$(nvidia-smi --list-gpus | wc -l)}
  gpus=$NPROC_PER_NODE
else
  NPROC_PER_NODE=${NPROC_PER_NODE:-2}
  gpus=0
fi
CONFIG_PATH=${CONFIG_PATH:-$root/examples/video_rl/video_rl.yaml}
JOIN_TIMEOUT=${JOIN_TIMEOUT:-1200}
# Seconds after which a node gives up on a first node that it lost.
export RAY_gcs_rpc_server_reconnect_timeout_s=${RAY_gcs_rpc_server_reconnect_timeout_s:-20}
export RAY_AUTH_MODE=${RAY_AUTH_MODE:-disabled} RAY_USAGE_STATS_ENABLED=0 TOKENIZERS_PARALLELISM=false

# Whatever way this script ends, what it started on this node ends with it.
mark=$$-$(date +%s%N)
"$python" -S "$root/verl/cluster/reaper.py" $$ "$mark" </dev/null >/dev/null 2>&1 &
disown
export VERL_RUN=$mark

ray_pid=
end_ray() {
  [ -n "$ray_pid" ] || return 0
  kill -TERM "$ray_pid" 2>/dev/null || true
  wait "$ray_pid" 2>/dev/null || true
}
trap end_ray EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { echo "[node $RANK of $WORLD_SIZE] $*"; }

reachable() {
  "$python" -c 'import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2).close()' \
    "$MASTER_ADDR" "$MASTER_PORT" 2>/dev/null
}

wait_until() { # seconds, what it waits for, command...
  local left=$1 what=$2
  shift 2
  until "$@"; do
    left=$((left - 2))
    [ "$left" -gt 0 ] || { say "gave up waiting for $what"; exit 1; }
    [ -z "$ray_pid" ] || kill -0 "$ray_pid" 2>/dev/null || { say "Ray ended while waiting for $what"; exit 1; }
    sleep 2
  done
}

if [ "$RANK" -gt 0 ]; then
  say "waiting for the first node at $MASTER_ADDR:$MASTER_PORT"
  wait_until "$JOIN_TIMEOUT" "the first node at $MASTER_ADDR:$MASTER_PORT" reachable
  "${ray[@]}" start --address="$MASTER_ADDR:$MASTER_PORT" --num-gpus="$gpus" --block &
  ray_pid=$!
  say "joined; this node works until the first one ends"
  wait "$ray_pid" || true
  say "the first node has ended"
  exit 0
fi

if [ "$WORLD_SIZE" -gt 1 ]; then
  "${ray[@]}" start --head --node-ip-address="$MASTER_ADDR" --port="$MASTER_PORT" --num-gpus="$gpus" \
    --include-dashboard=false --disable-usage-stats --block &
  ray_pid=$!
  wait_until "$JOIN_TIMEOUT" "Ray on this node" reachable
  export RAY_ADDRESS=$MASTER_ADDR:$MASTER_PORT
else
  unset RAY_ADDRESS
fi

settings=(config="$CONFIG_PATH" trainer.nnodes="$WORLD_SIZE" trainer.n_gpus_per_node="$NPROC_PER_NODE")
setting() { [ -z "$2" ] || settings+=("$1=$2"); } # key, value from the environment, if there is one
setting data.train_files "${TRAIN_DATA:-}"
setting data.val_files "${VAL_DATA:-}"
setting data.format_prompt "${FORMAT_PROMPT:-}"
setting worker.actor.model.model_path "${MODEL_PATH:-}"
setting worker.reward.reward_function "${REWARD_FUNCTION:-}"
setting trainer.experiment_name "${EXPERIMENT_NAME:-}"
setting trainer.save_checkpoint_path "${SAVE_CHECKPOINT_PATH:-}"
setting trainer.find_last_checkpoint "${FIND_LAST_CHECKPOINT:-}"

cd "$root"
"$python" -m verl.trainer.main "${settings[@]}" "$@" 2>&1 | tee -a "${LOG_FILE:-/dev/null}"
