#!/usr/bin/env bash
# From nothing to a trained, merged and reloaded video policy: bash scripts/quickstart.sh
# Makes videos and a tiny model in code, trains it with GRPO on this machine, and asks it a question. Downloads no data.
# Everything it makes is under outputs/quickstart; the next run reuses environment, videos, model and cached frames.
# Arguments are passed on as configuration: bash scripts/quickstart.sh trainer.max_steps=10
# With --all-kinds as the first, it asks a question of every task instead, under outputs/quickstart_all_kinds; with
# --joint, about videos, images and text, under outputs/quickstart_joint.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

out=outputs/quickstart
config=examples/quickstart/quickstart.yaml
videos=() model=() warm_up=()
if [[ ${1:-} == --all-kinds ]]; then
  shift
  out=outputs/quickstart_all_kinds
  config=examples/quickstart/all_kinds.yaml
  videos=(--kinds all --train 816 --val 340) model=(--all-kinds)
  warm_up=(--steps 400 --captions 10 --lr 3e-3 --decay)
elif [[ ${1:-} == --joint ]]; then
  shift
  out=outputs/quickstart_joint
  config=examples/quickstart/joint.yaml
  videos=(--joint --train 448 --val 140)
fi
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1
unset RAY_ADDRESS
started=$(date +%s)

say() { printf '\n== %s\n' "$*"; }
phase() { # name: notes the seconds since the last phase ended
  local now
  now=$(date +%s)
  printf '%s\t%s\n' "$1" "$((now - started))" >>"$out/phases.tsv"
  started=$now
}

mkdir -p "$out"
: >"$out/phases.tsv"

say "environment"
bash scripts/setup.sh
python=.venv/bin/python
echo "environment: $PWD/.venv"
phase setup

say "videos and model"
"$python" -m examples.quickstart.make_videos --directory "$out/data" ${videos[@]+"${videos[@]}"}
"$python" -m examples.quickstart.make_model --directory "$out/random" ${model[@]+"${model[@]}"}
"$python" -m examples.quickstart.warm_up --model "$out/random" --data "$out/data" --output "$out/model" \
  ${warm_up[@]+"${warm_up[@]}"}
phase "videos and model"

say "video cache"
for split in train val; do
  "$python" scripts/preprocess_videos.py \
    --input_file "$out/data/$split.jsonl" --output_file "$out/data/$split.preprocessed.jsonl" \
    --image_dir "$out/data" --output_dir "$out/cache" --workers 2 \
    --video_fps 2 --video_max_frames 8 --video_min_pixels 4096 --video_max_pixels 4096
done
phase "video cache"

say "training (details in $out/train.log)"
rm -rf "$out/run"
"$python" -m verl.trainer.main "config=$config" "$@" >"$out/train.log" ||
  { tail -n 40 "$out/train.log"; exit 1; }
phase training

say "merging"
"$python" scripts/model_merger.py --local_dir "$("$python" -m examples.quickstart.report --last-actor "$out/run")" \
  --target_dir "$out/merged"
"$python" -m verl.tracking.curve "$out/run/experiment_log.jsonl" "$out/curve.png"
phase merging

say "one question to the merged model, through vLLM"
"$python" -W ignore -m examples.quickstart.ask --config "$config" --model "$out/merged"
phase question

"$python" -m examples.quickstart.report "$out"
if [[ $config == *all_kinds* ]]; then
  "$python" -W ignore -m examples.quickstart.by_kind --config "$config" --picture "$out/by_kind.png"
fi
