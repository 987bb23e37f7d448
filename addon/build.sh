#!/usr/bin/env bash
# Builds static binaries: addon/build.sh [amd64] [aarch64], both without arguments.
#
# They land in target/static/ARCHITECTURE/gridkeeper. musl where the toolchain has that target
# (`rustup target add x86_64-unknown-linux-musl`, aarch64-unknown-linux-musl), else glibc linked statically. For aarch64
# without either target on this machine, Debian's own cross toolchain is used inside a Debian root of its own
# (debootstrap, 2.5 GB in $GRIDKEEPER_PEERS, needs root); nothing comes from elsewhere than Debian and crates.io.
set -Eeuo pipefail
cd "$(dirname "$0")/.."
repository=$PWD
profile=${GRIDKEEPER_PROFILE:-release}
output=$repository/target/static
# Packed relocations take 0.6 MB less; a linker that does not know them says so and goes on.
static="-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs"
peers=${GRIDKEEPER_PEERS:-${TMPDIR:-/tmp}/gridkeeper-peers}

fail() { echo "build.sh: $*" >&2; exit 1; }

# has_std TARGET: the toolchain can build for it.
has_std() { [ -n "$(find "$(rustc --print target-libdir --target "$1")" -name 'libstd-*.rlib' 2>/dev/null | head -n 1)" ]; }

# keep ARCHITECTURE FILE
keep() {
  mkdir -p "$output/$1"
  cp "$2" "$output/$1/gridkeeper"
  if readelf -l "$output/$1/gridkeeper" | grep -q INTERP; then fail "the binary for $1 is not static"; fi
  echo "build.sh: $1: $(stat -c %s "$output/$1/gridkeeper") bytes"
}

# with_toolchain ARCHITECTURE TARGET [FLAGS]
with_toolchain() {
  local target_dir=${CARGO_TARGET_DIR:-target}/static folder=$profile
  [ "$profile" != dev ] || folder=debug
  RUSTFLAGS="${3:-}" cargo build --quiet --locked --profile "$profile" --target "$2" --target-dir "$target_dir"
  keep "$1" "$target_dir/$2/$folder/gridkeeper"
}

# The cross toolchain of Debian 12 in a root of its own.
arm_root() {
  local root=$peers/aarch64 mirror
  [ "$(id -u)" -eq 0 ] || fail "aarch64 needs root here, for debootstrap; or install the target with rustup"
  command -v debootstrap >/dev/null || fail "debootstrap is not installed"
  if [ ! -e "$root/.made" ]; then
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -n 1)
    mkdir -p "$root"
    debootstrap --variant=minbase --include=ca-certificates bookworm "$root" "$mirror" >"$peers/aarch64.log" 2>&1 ||
      fail "debootstrap: see $peers/aarch64.log"
    # The same mirrors and authorities as this machine's apt.
    cp -r /etc/apt/sources.list* "$root/etc/apt/"
    [ ! -d /etc/apt/apt.conf.d ] || cp -r /etc/apt/apt.conf.d "$root/etc/apt/"
    [ ! -e /etc/apt/auth.conf ] || cp /etc/apt/auth.conf "$root/etc/apt/"
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
    cp /etc/resolv.conf "$root/etc/"
    in_arm_root sh -c 'dpkg --add-architecture arm64 && apt-get update && apt-get install -y --no-install-recommends \
      rustc-web cargo-web libstd-rust-web-dev:arm64 gcc libc6-dev gcc-aarch64-linux-gnu libc6-dev-arm64-cross' \
      >>"$peers/aarch64.log" 2>&1 || fail "the cross toolchain could not be installed: see $peers/aarch64.log"
    touch "$root/.made"
  fi
}

in_arm_root() {
  DEBIAN_FRONTEND=noninteractive unshare --mount -- sh -c 'root=$1; shift
    mount --bind /dev "$root/dev" && mount -t proc proc "$root/proc" && exec chroot "$root" "$@"' sh "$peers/aarch64" "$@"
}

with_debian() {
  arm_root
  local root=$peers/aarch64 home=${CARGO_HOME:-$HOME/.cargo} folder=$profile
  [ "$profile" != dev ] || folder=debug
  cargo fetch --quiet --locked
  mkdir -p "$root/repository" "$root/cargo" "$root/target"
  unshare --mount -- sh -c 'root=$1; shift
    mount --bind /dev "$root/dev" && mount -t proc proc "$root/proc" && mount --bind "$1" "$root/repository" &&
    mount --bind "$2" "$root/cargo" && shift 2 && exec chroot "$root" "$@"' sh "$root" "$repository" "$home" \
    env -i PATH=/usr/bin:/bin CARGO_HOME=/cargo CARGO_TARGET_DIR=/target \
    CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="$static" \
    sh -c 'cd /repository && exec cargo build --quiet --locked --offline --profile "$1" --target aarch64-unknown-linux-gnu' \
    sh "$profile"
  keep aarch64 "$root/target/aarch64-unknown-linux-gnu/$folder/gridkeeper"
}

build() {
  local machine
  case $1 in
    amd64) machine=x86_64 ;;
    aarch64) machine=aarch64 ;;
    *) fail "$1 is neither amd64 nor aarch64" ;;
  esac
  if has_std "$machine-unknown-linux-musl"; then
    with_toolchain "$1" "$machine-unknown-linux-musl"
  elif [ "$machine" = "$(uname -m)" ]; then
    with_toolchain "$1" "$machine-unknown-linux-gnu" "$static"
  elif [ "$machine" = aarch64 ]; then
    with_debian
  else
    fail "no toolchain for $1: rustup target add $machine-unknown-linux-musl"
  fi
}

[ $# -gt 0 ] || set -- amd64 aarch64
for architecture in "$@"; do build "$architecture"; done
