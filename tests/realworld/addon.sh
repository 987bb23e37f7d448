#!/usr/bin/env bash
# Assembles the add-on's root file system and runs the program in it: addon.sh [amd64] [aarch64], amd64 without an argument.
#
# addon.py stands in for the Supervisor. aarch64 runs under qemu-user. GRIDKEEPER_PROFILE=release takes longer and is
# what an image is made of; the default here is dev. Needs root, for chroot.
. "$(dirname "$0")/common.sh"

[ "$(id -u)" -eq 0 ] || fail "needs root, for chroot"
[ $# -gt 0 ] || set -- amd64
need_debian mosquitto mosquitto-clients python3 python3-yaml ca-certificates apparmor binutils
build
cd "$here/../.."
for architecture in "$@"; do
  if [ "$architecture" = aarch64 ]; then need_debian qemu-user-static debootstrap; fi
  say "$architecture"
  GRIDKEEPER_PROFILE=${GRIDKEEPER_PROFILE:-dev} addon/build.sh "$architecture"
  addon/image.sh "$architecture"
  # Debian's Python has python3-yaml; another one that comes first in PATH may not.
  /usr/bin/python3 "$here/addon.py" "$architecture"
done
say "passed"
