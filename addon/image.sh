#!/usr/bin/env bash
# Assembles the root file system of the image: addon/image.sh [amd64] [aarch64], both without arguments.
#
# Takes the binaries of addon/build.sh and this machine's ca-certificates; leaves addon/rootfs/amd64.tar and arm64.tar
# (Docker's names), which the Dockerfile is made of. The same files make the same archive.
set -Eeuo pipefail
cd "$(dirname "$0")/.."
fail() { echo "image.sh: $*" >&2; exit 1; }

[ $# -gt 0 ] || set -- amd64 aarch64
for architecture in "$@"; do
  binary=target/static/$architecture/gridkeeper
  [ -x "$binary" ] || fail "$binary is missing: addon/build.sh $architecture"
  [ -e /etc/ssl/certs/ca-certificates.crt ] || fail "the package ca-certificates is not installed"
  root=$(mktemp -d)
  trap 'rm -rf "$root"' EXIT
  install -D -m 755 "$binary" "$root/usr/bin/gridkeeper"
  install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
  mkdir -p "$root/data" "$root/config"
  mkdir -m 1777 "$root/tmp"
  mkdir -p addon/rootfs
  archive=addon/rootfs/${architecture/aarch64/arm64}.tar
  tar -C "$root" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -cf "$archive" .
  rm -rf "$root"
  echo "image.sh: $archive, $(stat -c %s "$archive") bytes"
done
