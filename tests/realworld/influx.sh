#!/usr/bin/env bash
# Runs influx.py: our lines in Debian's InfluxDB 1.6 and VictoriaMetrics, config/telegraf.conf by an equivalent of Telegraf,
# every query of config/grafana-dashboard.json.
. "$(dirname "$0")/common.sh"

(need_debian mosquitto mosquitto-clients influxdb victoria-metrics openssl python3) || cannot "no databases of Debian"
build
python3 "$here/influx.py"
say "passed"
