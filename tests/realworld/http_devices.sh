#!/usr/bin/env bash
# Runs tests/http_devices.rs: our stand-ins of Shelly and HomeWizard, read by aioshelly and python-homewizard-energy.
#
# Needs bash, cargo, Python 3.11 or newer with venv (installed with apt-get where it is missing) and PyPI. The libraries
# go into a temporary folder; the newest that the Python at hand can run are taken. API version 2 of HomeWizard needs Python
# 3.12 or newer, which Debian 12 has not: $GRIDKEEPER_PYTHON3 names another one; without it that part is skipped, aloud.
set -euo pipefail

fail() { echo "http_devices.sh: $*" >&2; exit 1; }

self=$(realpath "${BASH_SOURCE[0]}")
cd "$(dirname "$self")/../.."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

python3=${GRIDKEEPER_PYTHON3:-python3}
if ! "$python3" -m venv "$dir/venv" >/dev/null 2>&1; then
  command -v apt-get >/dev/null || fail "python3 with venv is missing, and there is no apt-get"
  export DEBIAN_FRONTEND=noninteractive
  install=(apt-get install -y --no-install-recommends python3 python3-venv)
  "${install[@]}" >/dev/null 2>&1 || { apt-get update >/dev/null 2>&1 && "${install[@]}" >/dev/null 2>&1; } ||
    fail "apt-get could not install python3-venv (are you root, is there a network?)"
  "$python3" -m venv "$dir/venv" || fail "no virtual environment could be made"
fi
"$dir/venv/bin/pip" install --quiet "aioshelly>=13,<15" "python-homewizard-energy>=6,<11" ||
  fail "pip could not install aioshelly and python-homewizard-energy"
echo "http_devices.sh: $("$dir/venv/bin/pip" list 2>/dev/null | grep -iE '^(aioshelly|python-homewizard-energy) ' | tr -s ' ' | paste -sd,)"
skip=()
if ! "$dir/venv/bin/python" -c 'from homewizard_energy import HomeWizardEnergyV2' 2>/dev/null; then
  echo "http_devices.sh: SKIPPED: this Python is too old for a library that knows API version 2 of HomeWizard"
  skip=(--skip version_2)
fi
GRIDKEEPER_PYTHON=$dir/venv/bin/python cargo test --test http_devices -- --ignored "${skip[@]}"
echo "http_devices.sh: passed"
