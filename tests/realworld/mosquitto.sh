#!/usr/bin/env bash
# Runs tests/mqtt_mosquitto.rs against Debian's Mosquitto.
#
#   tests/realworld/mosquitto.sh                       all of it: broker up, tests, broker down
#   tests/realworld/mosquitto.sh DIR start|stop|freeze|thaw    what the tests themselves ask for
#
# Needs bash, cargo, openssl; installs mosquitto and mosquitto-clients with apt-get when they are missing.
# The broker listens on free loopback ports, wants a login, keeps everything in a temporary folder.
set -euo pipefail

fail() { echo "mosquitto.sh: $*" >&2; exit 1; }

broker() { command -v mosquitto || { [ -x /usr/sbin/mosquitto ] && echo /usr/sbin/mosquitto; }; }

need() {
  if broker >/dev/null && command -v mosquitto_sub >/dev/null && command -v mosquitto_pub >/dev/null; then return; fi
  command -v apt-get >/dev/null || fail "mosquitto and mosquitto-clients are not installed, and there is no apt-get"
  local install=(apt-get install -y --no-install-recommends mosquitto mosquitto-clients)
  export DEBIAN_FRONTEND=noninteractive
  "${install[@]}" >/dev/null 2>&1 || { apt-get update >/dev/null 2>&1 && "${install[@]}" >/dev/null 2>&1; } ||
    fail "apt-get could not install mosquitto and mosquitto-clients (are you root, is there a network?)"
}

# Two ports that nobody uses now.
free_ports() {
  local port found=()
  for port in $(shuf -i 20000-32000 -n 50); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || found+=("$port")
    [ ${#found[@]} -eq 2 ] && break
  done
  [ ${#found[@]} -eq 2 ] || fail "no free port found"
  echo "${found[@]}"
}

prepare() {
  local plain=$1 tls=$2
  openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=gridkeeper test authority" \
    -keyout "$dir/ca.key" -out "$dir/ca.pem" 2>/dev/null
  openssl req -newkey rsa:2048 -nodes -subj "/CN=localhost" -keyout "$dir/broker.key" -out "$dir/broker.csr" 2>/dev/null
  openssl x509 -req -in "$dir/broker.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -CAcreateserial -days 2 \
    -extfile <(printf 'subjectAltName=DNS:localhost,IP:127.0.0.1') -out "$dir/broker.pem" 2>/dev/null
  touch "$dir/passwords"
  chmod 600 "$dir/passwords"
  mosquitto_passwd -b "$dir/passwords" house keeper
  cat >"$dir/mosquitto.conf" <<CONF
$([ "$(id -u)" -eq 0 ] && echo "user root")
allow_anonymous false
password_file $dir/passwords
listener $plain 127.0.0.1
listener $tls 127.0.0.1
cafile $dir/ca.pem
certfile $dir/broker.pem
keyfile $dir/broker.key
CONF
  echo "$plain" >"$dir/port"
}

start() {
  "$(broker)" -c "$dir/mosquitto.conf" >>"$dir/log" 2>&1 &
  echo $! >"$dir/pid"
  disown
  local port _
  port=$(cat "$dir/port")
  for _ in $(seq 100); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && return
    sleep 0.05
  done
  cat "$dir/log" >&2
  fail "mosquitto does not listen on port $port"
}

stop() {
  [ -f "$dir/pid" ] || return 0
  local pid _
  pid=$(cat "$dir/pid")
  kill -CONT "$pid" 2>/dev/null || true
  kill "$pid" 2>/dev/null || true
  for _ in $(seq 100); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.05
  done
  kill -KILL "$pid" 2>/dev/null || true
  rm -f "$dir/pid"
}

if [ $# -eq 2 ]; then
  dir=$1
  [ -f "$dir/mosquitto.conf" ] || fail "$dir was not prepared by this script"
  case $2 in
    start) start ;;
    stop) stop ;;
    freeze) kill -STOP "$(cat "$dir/pid")" ;;
    thaw) kill -CONT "$(cat "$dir/pid")" ;;
    *) fail "$2 is not one of start, stop, freeze, thaw" ;;
  esac
  exit
fi
[ $# -eq 0 ] || fail "usage: mosquitto.sh [DIR start|stop|freeze|thaw]"

self=$(realpath "${BASH_SOURCE[0]}")
cd "$(dirname "$self")/../.."
need
dir=$(mktemp -d)
trap 'stop; rm -rf "$dir"' EXIT
read -r plain tls <<<"$(free_ports)"
prepare "$plain" "$tls"
start
echo "mosquitto.sh: $("$(broker)" -h | head -n 1) on 127.0.0.1:$plain, with TLS on $tls"
GRIDKEEPER_MOSQUITTO_DIR=$dir GRIDKEEPER_MOSQUITTO_PORT=$plain GRIDKEEPER_MOSQUITTO_TLS_PORT=$tls \
  GRIDKEEPER_MOSQUITTO_CONTROL=$self \
  cargo test --test mqtt_mosquitto -- --ignored --test-threads=1
echo "mosquitto.sh: passed"
