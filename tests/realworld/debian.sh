#!/usr/bin/env bash
# Builds the Debian package around the program, installs it into an empty root with dpkg, upgrades, removes and purges it
# there, and has systemd judge the unit. Needs root, for dpkg. Nothing is installed on this machine but tools.
. "$(dirname "$0")/common.sh"

[ "$(id -u)" -eq 0 ] || cannot "needs root, for dpkg"
(need_debian dpkg-dev systemd strace python3) || cannot "no dpkg, systemd-analyze or strace"
build
python3 "$here/debian.py"
say "passed"
