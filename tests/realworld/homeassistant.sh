#!/usr/bin/env bash
# Runs homeassistant.py against the newest Home Assistant Core of PyPI and Debian's Mosquitto.
#
#   tests/realworld/homeassistant.sh              installs what is missing, runs the test, leaves no process behind
#   tests/realworld/homeassistant.sh brief        without the wait for its statistics and without the orders of restart
#   tests/realworld/homeassistant.sh release      all of it with an optimised build, and measures reaction times
#   tests/realworld/homeassistant.sh embedded     another test: at the built-in broker, with MQTT 5 and 3.1.1
#   GRIDKEEPER_LOOK=FOLDER …/homeassistant.sh     also writes pictures of its pages there, by a real browser
#
# Needs root: Home Assistant wants a newer Python than Debian 12 has, so it lives in a Debian root of its own, made by
# debootstrap and entered by chroot in a mount namespace that ends with it. 1.7 GB, kept for the next run.
. "$(dirname "$0")/common.sh"

[ "$(id -u)" -eq 0 ] || cannot "needs root, for debootstrap and chroot"
unshare --mount true 2>/dev/null || cannot "no mount namespace can be made here"
root=$peers/homeassistant

# in_root COMMAND...: with /dev and /proc, in a mount namespace that ends with the command.
in_root() {
  unshare --mount -- sh -c 'root=$1; shift
    mount --bind /dev "$root/dev" && mount -t proc proc "$root/proc" && exec chroot "$root" "$@"' sh "$root" "$@"
}

# What Home Assistant would fetch by itself at its first start: asked of its own manifests, with its own constraints.
requirements() {
  cat <<'PYTHON'
import json, pathlib
import homeassistant
from homeassistant import bootstrap

components = pathlib.Path(homeassistant.__file__).parent / "components"
todo = {"mqtt", "api", "config", "recorder", "history", "energy", "template", "hassio"}
for group in ("CORE", "FRONTEND", "DEFAULT", "LOGGING_AND_HTTP_DEPS"):
    todo |= set(getattr(bootstrap, f"{group}_INTEGRATIONS", ()))
seen, wanted = set(), set()
while todo:
    name = todo.pop()
    seen.add(name)
    manifest = components / name / "manifest.json"
    if manifest.exists():
        about = json.loads(manifest.read_text())
        wanted |= set(about.get("requirements", ()))
        todo |= set(about.get("dependencies", ())) - seen
print("\n".join(sorted(wanted)))
PYTHON
}

install() {
  need_debian mosquitto mosquitto-clients debootstrap ca-certificates python3
  if [ ! -e "$root/.made" ]; then
    say "making a Debian root of 0.8 GB"
    local mirror include=python3,python3-venv,python3-dev,ca-certificates,gcc,g++,libc6-dev,libffi-dev,libssl-dev
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -n 1)
    rm -rf "$root"
    # All recent suites share one script; an older debootstrap does not know their names.
    debootstrap --variant=minbase --include="$include,zlib1g-dev,libturbojpeg0" forky "$root" "$mirror" \
      /usr/share/debootstrap/scripts/sid >"$peers/debootstrap.log" 2>&1 || cannot "debootstrap: see $peers/debootstrap.log"
    touch "$root/.made"
  fi
  # So that pip inside reaches the same registry, trusted by the same authorities.
  cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
  [ ! -e /etc/pip.conf ] || cp /etc/pip.conf "$root/etc/"
  cp /etc/resolv.conf "$root/etc/"
  if [ ! -e "$root/opt/ha/.installed" ]; then
    say "installing Home Assistant"
    local pip="env PIP_CACHE_DIR=/var/cache/pip /opt/ha/bin/pip install"
    in_root python3 -m venv /opt/ha
    in_root $pip homeassistant >"$peers/pip.log" 2>&1 || cannot "pip could not install homeassistant: see $peers/pip.log"
    requirements >"$root/opt/ha/requirements.py"
    in_root /opt/ha/bin/python /opt/ha/requirements.py >"$root/opt/ha/requirements.txt"
    local constraints
    constraints=$(cd "$root" && find opt/ha/lib -path '*/homeassistant/package_constraints.txt')
    in_root $pip -r /opt/ha/requirements.txt -c "/$constraints" >>"$peers/pip.log" 2>&1 ||
      cannot "pip could not install what Home Assistant needs: see $peers/pip.log"
    rm -rf "$root/var/cache/pip"
    touch "$root/opt/ha/.installed"
  fi
  # While it runs it cannot even ask for a name outside.
  printf 'nameserver 127.0.0.1\noptions timeout:1 attempts:1\n' >"$root/etc/resolv.conf"
  mkdir -p "$root/config"
  if [ -n "${GRIDKEEPER_LOOK:-}" ]; then
    need_debian chromium fonts-dejavu-core
    need_npm "$peers/browser" playwright-core
    mkdir -p "$GRIDKEEPER_LOOK"
  fi
}

install
build "${1:-}"
say "Home Assistant $(in_root /opt/ha/bin/hass --version), Mosquitto $(dpkg-query -W -f '${Version}' mosquitto)"
GRIDKEEPER_EXTENT=${1:-} GRIDKEEPER_HA_ROOT=$root GRIDKEEPER_BROWSER=$peers/browser python3 "$here/homeassistant.py"
say "passed"
