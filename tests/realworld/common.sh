# What the scripts of this folder share; sourced, does nothing by itself.

set -Eeuo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
script=$(basename "$0")
# Software that is not Debian's own is installed here once and found again by the next run.
peers=${GRIDKEEPER_PEERS:-${TMPDIR:-/tmp}/gridkeeper-peers}
mkdir -p "$peers"

say() { printf '%s: %s\n' "$script" "$*"; }
fail() { printf '%s: %s\n' "$script" "$*" >&2; exit 1; }
# cannot WHAT: this machine has not what the script needs; `.ci/run` goes on with the next.
cannot() { printf '%s: left out: %s\n' "$script" "$*" >&2; exit 77; }
trap 'fail "line $LINENO: $BASH_COMMAND"' ERR

# need_debian PACKAGE...: installs those that are missing.
need_debian() {
  local package missing=()
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  command -v apt-get >/dev/null || fail "${missing[*]} not installed, and there is no apt-get"
  local install=(apt-get install -y --no-install-recommends "${missing[@]}")
  export DEBIAN_FRONTEND=noninteractive
  "${install[@]}" >"$peers/apt.log" 2>&1 || { apt-get update >/dev/null 2>&1 && "${install[@]}" >"$peers/apt.log" 2>&1; } ||
    fail "apt-get could not install ${missing[*]} (are you root, is there a network?)"
}

# need_npm FOLDER PACKAGE...: installs them there unless they are.
need_npm() {
  local folder=$1 wanted
  shift
  wanted="$*"
  [ "$(cat "$folder/.installed" 2>/dev/null)" = "$wanted" ] && return
  command -v npm >/dev/null || fail "npm is not installed"
  mkdir -p "$folder"
  [ -e "$folder/package.json" ] || echo '{"private":true}' >"$folder/package.json"
  (cd "$folder" && NPM_CONFIG_UPDATE_NOTIFIER=false npm install --no-fund --no-audit --omit=dev "$@") >"$folder/npm.log" 2>&1 ||
    fail "npm could not install $wanted: $(tail -n 1 "$folder/npm.log")"
  echo "$wanted" >"$folder/.installed"
}

# build [release]: builds the appliance and the simulated house, and tells the tests where they are; not when
# GRIDKEEPER_BINARY and GRIDKEEPER_HOUSE name others. `release`: the appliance optimised, as it is shipped.
build() {
  cd "$here/../.."
  [ -z "${GRIDKEEPER_BINARY:-}" ] || [ -z "${GRIDKEEPER_HOUSE:-}" ] || return 0
  local target=${CARGO_TARGET_DIR:-target} folder=debug
  cargo build --quiet --bin gridkeeper --example house
  if [ "${1:-}" = release ]; then
    cargo build --quiet --release --bin gridkeeper
    folder=release
  fi
  GRIDKEEPER_BINARY=$(realpath "$target/$folder/gridkeeper")
  GRIDKEEPER_HOUSE=$(realpath "$target/debug/examples/house")
  export GRIDKEEPER_BINARY GRIDKEEPER_HOUSE
}
