#!/usr/bin/env bash
# Plays two houses of the independent plant in real time over P1 and Modbus, and compares with the simulated result.
#
#   plant.sh                  the two houses, eight and a half minutes, whatever the machine
#   plant.sh table [ARGS]     the table of docs/control.md: every scenario, every baseline and ours, simulated (ARGS go to
#                             the plant's run.py: --set FILE for other seeds, --per-seed, -j 1 ...)
#
# The plant lies beside this repository (../shared/plant) or where $GRIDKEEPER_PLANT says; without it nothing is tested,
# and that is said. Needs bash, cargo, python3 with venv (installed with apt-get when missing) and numpy of PyPI.
# Everything is on loopback and in a temporary folder.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

cd "$here/../.."
plant=${GRIDKEEPER_PLANT:-../shared/plant}
if [ ! -e "$plant/serve.py" ]; then
  say "SKIPPED: there is no plant at $plant; nothing was tested"
  exit 0
fi
need_debian python3 python3-venv
venv=$peers/plant-venv
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/python" -c 'import numpy' 2>/dev/null ||
  "$venv/bin/pip" install -q numpy >"$peers/pip.log" 2>&1 || fail "pip could not install numpy, see $peers/pip.log"
export PYTHONDONTWRITEBYTECODE=1
if [ "${1:-}" = table ]; then
  shift
  cargo build --quiet --release --bin gridkeeper
  binary=$(realpath "${CARGO_TARGET_DIR:-target}/release/gridkeeper")
  cd "$plant"
  PLANT_CONTROLLER="$binary simulate --stdio -c" exec "$venv/bin/python" run.py --extra controllers.external:Gridkeeper "$@"
fi
cargo build --quiet --bin gridkeeper
binary=${CARGO_TARGET_DIR:-target}/debug/gridkeeper
"$venv/bin/python" tests/realworld/plant.py "$plant" "$binary"
say "passed"
