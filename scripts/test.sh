#!/usr/bin/env bash
# Everything that must hold: style, types, then tests, fast ones first. Arguments go to pytest:
#   bash scripts/test.sh                      all of it
#   bash scripts/test.sh -m "not cluster"     without the tests that start Ray, vLLM and FSDP2
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/setup.sh </dev/null
export PATH="$PWD/.venv/bin:$PATH"

ruff check --quiet .
ruff format --quiet --check .
mypy --no-error-summary & # beside the first tests, which leave a core to it
types=$!
failed=0
python -m pytest "$@" </dev/null || failed=$?
wait "$types"
exit "$failed"
