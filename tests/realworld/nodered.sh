#!/usr/bin/env bash
# Runs nodered.py: config/node-red-flows.json in a real Node-RED, and a Node-RED flow that does our job beside us.
#
#   tests/realworld/nodered.sh            both, with an unoptimised build
#   tests/realworld/nodered.sh compare    the comparison alone, with an optimised one: for figures that are quoted
. "$(dirname "$0")/common.sh"

need_debian mosquitto mosquitto-clients python3
# Node-RED 5 wants a newer Node than many machines have; npm has that, too.
need_npm "$peers/node-red" node@22 node-red@5
if [ "${1:-}" = compare ]; then build release; else build; fi
GRIDKEEPER_NODE_RED=$peers/node-red python3 "$here/nodered.py" "$@"
say "passed"
