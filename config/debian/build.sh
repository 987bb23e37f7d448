#!/usr/bin/env bash
# Builds the Debian package: config/debian/build.sh [amd64] [arm64] [--binary FILE] [--output FOLDER], amd64 without an
# argument.
#
# Takes the static binaries of addon/build.sh, or FILE; leaves gridkeeper_VERSION_ARCHITECTURE.deb in FOLDER, else in
# target/debian. Needs dpkg-deb and gzip. The same files make the same package. GRIDKEEPER_COMPRESSION=none is quicker.
set -Eeuo pipefail
cd "$(dirname "$0")/../.."
fail() { echo "build.sh: $*" >&2; exit 1; }
command -v dpkg-deb >/dev/null || fail "dpkg-deb is not installed"

binary=
output=target/debian
architectures=()
while [ $# -gt 0 ]; do
  case $1 in
    amd64 | arm64) architectures+=("$1") ;;
    --binary) binary=${2:?--binary wants a file}; shift ;;
    --output) output=${2:?--output wants a folder}; shift ;;
    *) fail "$1 is none of amd64, arm64, --binary FILE, --output FOLDER" ;;
  esac
  shift
done
[ ${#architectures[@]} -gt 0 ] || architectures=(amd64)
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y Cargo.toml)}
export SOURCE_DATE_EPOCH

package() {
  local architecture=$1 root program
  program=${binary:-target/static/${architecture/arm64/aarch64}/gridkeeper}
  [ -x "$program" ] || fail "$program is missing: addon/build.sh ${architecture/arm64/aarch64}"
  root=$(mktemp -d)
  # shellcheck disable=SC2064
  trap "rm -rf '$root'" EXIT
  chmod 755 "$root"
  install -D -m 755 "$program" "$root/usr/bin/gridkeeper"
  install -D -m 644 config/systemd/gridkeeper.service "$root/usr/lib/systemd/system/gridkeeper.service"
  install -D -m 644 config/systemd/gridkeeper.sysusers.conf "$root/usr/lib/sysusers.d/gridkeeper.conf"
  install -D -m 644 config/systemd/gridkeeper.modules-load.conf "$root/usr/lib/modules-load.d/gridkeeper.conf"
  install -D -m 644 config/debian/gridkeeper.toml "$root/usr/share/gridkeeper/gridkeeper.toml"
  install -D -m 644 config/debian/default "$root/etc/default/gridkeeper"
  install -d -m 750 "$root/etc/gridkeeper"
  local documents=$root/usr/share/doc/gridkeeper
  install -D -m 644 README.md "$documents/README.md"
  install -D -m 644 LICENSE "$documents/copyright"
  gzip -9n <CHANGELOG.md >"$documents/changelog.gz"
  chmod 644 "$documents/changelog.gz"
  install -d -m 755 "$documents/examples"
  install -m 644 config/gridkeeper.toml config/telegraf.conf config/grafana-dashboard.json config/node-red-flows.json \
    config/schema.json "$documents/examples/"
  install -d -m 755 "$root/DEBIAN"
  install -m 755 config/debian/postinst config/debian/prerm config/debian/postrm "$root/DEBIAN/"
  # The environment is a conffile, which dpkg asks about; the configuration is none: no package ever changes it.
  echo /etc/default/gridkeeper >"$root/DEBIAN/conffiles"
  cat >"$root/DEBIAN/control" <<CONTROL
Package: gridkeeper
Version: $version
Architecture: $architecture
Maintainer: The Gridkeeper project <gridkeeper@localhost>
Section: net
Priority: optional
Depends: systemd | systemd-standalone-sysusers, init-system-helpers
Installed-Size: $(du -sk --apparent-size "$root" | cut -f1)
Description: keeps a home inside its fuses while cars charge
 Reads meters, decides, and commands the chargers of electric cars by itself;
 speaks MQTT, so that Home Assistant, Node-RED and Grafana see and steer it.
 Not a protective device: breaker and RCD stay.
CONTROL
  mkdir -p "$output"
  local file=$output/gridkeeper_${version}_$architecture.deb
  dpkg-deb --root-owner-group "-Z${GRIDKEEPER_COMPRESSION:-xz}" --build "$root" "$file" >/dev/null
  rm -rf "$root"
  trap - EXIT
  echo "build.sh: $file, $(stat -c %s "$file") bytes"
}

for architecture in "${architectures[@]}"; do package "$architecture"; done
