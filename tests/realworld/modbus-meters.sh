#!/usr/bin/env bash
# Runs the ignored test of tests/modbus_meters against pymodbus as the server of ten meters: Modbus TCP, RTU over TCP, and
# RTU on a serial port (two pseudo-terminals, one at each end of a cable).
#
# Needs bash, cargo, python3 with venv (installed with apt-get when missing) and PyPI. Everything is in a temporary
# folder; ports are free ones on loopback.
set -euo pipefail

fail() { echo "modbus-meters.sh: $*" >&2; exit 1; }

cd "$(dirname "$0")/../.."
if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
  command -v apt-get >/dev/null || fail "python3 with venv is not installed, and there is no apt-get"
  export DEBIAN_FRONTEND=noninteractive
  apt-get install -y --no-install-recommends python3 python3-venv >/dev/null 2>&1 ||
    { apt-get update >/dev/null 2>&1 && apt-get install -y --no-install-recommends python3 python3-venv >/dev/null 2>&1; } ||
    fail "apt-get could not install python3-venv (are you root, is there a network?)"
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q 'pymodbus[serial]>=3.11' >"$dir/pip.log" 2>&1 || { tail -5 "$dir/pip.log" >&2; fail "pip could not install pymodbus"; }
echo "modbus-meters.sh: pymodbus $("$dir/venv/bin/python" -c 'import pymodbus; print(pymodbus.__version__)')"
GRIDKEEPER_PYMODBUS_PYTHON=$dir/venv/bin/python cargo test --test modbus_meters -- --ignored pymodbus
echo "modbus-meters.sh: passed"
