#!/usr/bin/env bash
# Makes .venv in this checkout with everything installed: bash scripts/setup.sh [cpu|gpu]
# Without an argument the machine decides. Done once; a second run only checks that nothing has changed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cpu_index=https://download.pytorch.org/whl/cpu
log=.venv/setup.log
stamp=.venv/setup.stamp
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_PROGRESS_BAR=off

say() { printf 'setup: %s\n' "$*"; }

fail() {
    say "$* failed; the last lines of $log:" >&2
    tail -n 25 "$log" >&2
    exit 1
}

pip() { .venv/bin/python -m pip "$@" >>"$log" 2>&1; }

install() {
    pip install --no-compile "$@" || fail "pip install"
    # On all cores, where pip takes one. Some packages carry files for other Pythons, which stay as they are.
    .venv/bin/python -m compileall -qq -j 0 .venv/lib >>"$log" 2>&1 || true
}

can_import() { .venv/bin/python -c "import $1" >>"$log" 2>&1; }

find_python() {
    local name
    for name in python3.11 python3.12 python3 python; do
        if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    say "Python 3.11 or 3.12 is needed, and none is on the PATH; install one, then run this again" >&2
    exit 1
}

has_gpu() { command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q GPU; }

install_cpu() {
    # The exact CPU build, so that nobody downloads CUDA; PyPI does not have it, a local index may.
    local torch index=()
    torch=$(sed -n 's/.*"\(torch==[0-9.]*\)".*/\1+cpu/p' pyproject.toml)
    if ! pip install --dry-run --ignore-installed --no-deps "$torch"; then
        say "pip does not find $torch; taking it from $cpu_index"
        index=(--extra-index-url "$cpu_index")
    fi
    install ${index[@]+"${index[@]}"} "$torch" -e ".[cpu,dev]"
    cure_cpu
}

# CUDA builds of torch's companions that pip may have taken on the way (see scripts/cpu_torchvision.py).
cure_cpu() {
    local package
    for package in torchaudio torchcodec; do
        if ! can_import "$package"; then
            pip uninstall --yes "$package"
        fi
    done
    if ! can_import torchvision; then
        local site
        site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
        cp scripts/cpu_torchvision.py "$site/"
        echo 'import cpu_torchvision; cpu_torchvision.install()' >"$site/cpu_torchvision.pth"
        can_import torchvision || fail "import torchvision"
    fi
}

flavour=${1:-$(has_gpu && echo gpu || echo cpu)}
case $flavour in
    cpu | gpu) ;;
    *) say "usage: bash scripts/setup.sh [cpu|gpu]" >&2; exit 2 ;;
esac

state="$flavour $PWD $(cat pyproject.toml scripts/setup.sh scripts/cpu_torchvision.py | cksum)"
if [[ -f $stamp && $(<"$stamp") == "$state" ]]; then
    exit 0
fi

python=$(find_python)
say "installing for $flavour into $PWD/.venv with $("$python" --version) (some minutes; details in $log)"
rm -f "$stamp"
"$python" -m venv .venv
: >"$log"
case $flavour in
    cpu) install_cpu ;;
    gpu) install -e ".[gpu,dev]" ;;
esac
can_import verl || fail "import verl"
echo "$state" >"$stamp"
say "done"
