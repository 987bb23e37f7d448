//! The status page: made here whole, exchanged section by section while it is open.

use super::html::Html;
use super::{STALE, WebState};
use crate::config::Severity;
use crate::config::model::MeterRole;
use crate::control::{Problem, Quality};
use crate::influx::InfluxStatus;
use crate::mqtt::{LinkState, MqttStatus};
use crate::quantity::{Milliamp, Mono, Phase, Phases, Span, Watt};
use crate::serve::ServeStatus;
use crate::status::{ChargerView, Health, MeterView, Snapshot, Value, with_decimals};

/// The page as it is at first, usable without scripts.
pub(super) fn page(state: &WebState, snapshot: Option<&Snapshot>, mqtt: &MqttStatus, now: Mono) -> String {
    let mut html = Html::default();
    html.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>")
        .text(&state.info.site_name)
        .raw(" – Gridkeeper</title>\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n")
        .raw("<noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript>\n")
        .raw("<link rel=\"stylesheet\" href=\"status.css\">\n<link rel=\"icon\" href=\"data:,\">\n")
        .raw("<script src=\"status.js\" defer></script>\n</head>\n<body>\n<h1>")
        .text(&state.info.site_name)
        .raw("</h1>\n<p id=\"lost\" class=\"bad\" role=\"alert\" hidden>")
        .raw("No connection to Gridkeeper. What stands below is old.</p>\n<main>\n");
    body(&mut html, state, snapshot, mqtt, now);
    html.raw("</main>\n</body>\n</html>\n");
    html.into_string()
}

/// The sections alone.
pub(super) fn fragment(state: &WebState, snapshot: Option<&Snapshot>, mqtt: &MqttStatus, now: Mono) -> String {
    let mut html = Html::default();
    body(&mut html, state, snapshot, mqtt, now);
    html.into_string()
}

fn body(html: &mut Html, state: &WebState, snapshot: Option<&Snapshot>, mqtt: &MqttStatus, now: Mono) {
    html.raw("<section id=\"problems\" aria-label=\"Problems\" role=\"status\">");
    problems(html, state, snapshot, now);
    html.raw("</section>\n<section id=\"phases\" aria-label=\"Phases\">");
    if let Some(snapshot) = snapshot {
        phases(html, state, snapshot);
    }
    html.raw("</section>\n<section id=\"chargers\" aria-label=\"Chargers\">");
    if let Some(snapshot) = snapshot {
        chargers(html, state, snapshot, now);
    }
    html.raw("</section>\n<section id=\"meters\" aria-label=\"Meters\">");
    if let Some(snapshot) = snapshot {
        meters(html, state, snapshot, now);
    }
    html.raw("</section>\n<section id=\"signals\" aria-label=\"Inputs and relays\">");
    if let Some(snapshot) = snapshot {
        signals(html, state, snapshot, now);
    }
    html.raw("</section>\n<section id=\"links\" aria-label=\"MQTT\">");
    links(html, mqtt);
    database(html, &state.influx.borrow());
    for it in state.serves.iter() {
        served(html, &it.borrow());
    }
    html.raw("</section>\n");
}

fn problems(html: &mut Html, state: &WebState, snapshot: Option<&Snapshot>, now: Mono) {
    html.raw("<h2>State</h2>");
    let mut fine = true;
    let errors = state.diagnostics.iter().any(|it| it.severity == Severity::Error);
    if errors {
        fine = false;
        let known = snapshot.is_some_and(|it| !it.chargers.is_empty());
        html.raw("<p class=\"bad\">The configuration is not accepted. ")
            .raw(if known {
                "Chargers of the last accepted one are held at their fail-safe current."
            } else {
                "No earlier one with a charger is known, so none is touched."
            })
            .raw(" Correct what stands below, then restart.</p>");
    } else if snapshot.is_none() {
        fine = false;
        html.raw("<p>Starting.</p>");
    }
    if !state.diagnostics.is_empty() {
        html.raw("<pre>");
        for diagnostic in state.diagnostics.iter() {
            html.text(diagnostic).raw("\n");
        }
        html.raw("</pre>");
    }
    let Some(snapshot) = snapshot else { return };
    if now.since(snapshot.at) > STALE {
        fine = false;
        html.raw("<p class=\"bad\">The control loop has not answered for ")
            .text(now.since(snapshot.at).0 / 1000)
            .raw(" s. Chargers go to their fail-safe current by themselves.</p>");
    }
    if snapshot.site.problem != Problem::None && !(errors && snapshot.site.problem == Problem::Setup) {
        fine = false;
        html.raw("<p class=\"bad\">").text(problem(snapshot.site.problem)).raw("</p>");
    }
    if snapshot.site.fail_safe && !(errors && snapshot.chargers.is_empty()) {
        fine = false;
        html.raw("<p class=\"bad\">A fail-safe rule is in force.</p>");
    }
    let silent = snapshot.relays.iter().any(|it| !it.status.available);
    if silent || snapshot.inputs.iter().any(|it| it.status.active.is_none()) {
        fine = false;
        html.raw("<p class=\"bad\">An input or a relay needs attention; see below.</p>");
    }
    if !snapshot.site.settings.charging_enabled {
        html.raw("<p class=\"warn\">Charging is switched off for the whole site.</p>");
    }
    if fine {
        html.raw("<p>All is well.</p>");
    }
    if !snapshot.risks.is_empty() {
        html.raw("<h3>Risks</h3><ul>");
        for risk in snapshot.risks.iter() {
            html.raw("<li class=\"bad\">").text(risk).raw("</li>");
        }
        html.raw("</ul>");
    }
}

fn problem(problem: Problem) -> &'static str {
    match problem {
        Problem::None => "None.",
        Problem::Setup => "Not set up yet.",
        Problem::ChargerError => "A charger needs attention; see below.",
        Problem::MeterError => "A meter needs attention; see below.",
        Problem::WebError => "The page has a problem.",
        Problem::NetworkError => "The broker or the network has a problem.",
        Problem::ClockError => "The clock is not set.",
    }
}

fn phases(html: &mut Html, state: &WebState, snapshot: &Snapshot) {
    let grid = state.info.grid_meter.and_then(|at| snapshot.meters.get(at)).and_then(|it| it.status);
    html.raw("<h2>Phases</h2><div class=\"wide\"><table><thead><tr><th scope=\"col\">Phase</th><th scope=\"col\">Load")
        .raw("</th><th scope=\"col\" class=\"number\">Now</th><th scope=\"col\" class=\"number\">Limit</th>")
        .raw("<th scope=\"col\" class=\"number\">Room</th></tr></thead><tbody>");
    for phase in Phase::ALL {
        let current = grid.and_then(|it| it.current[phase]);
        let limit = snapshot.site.limit[phase];
        html.raw("<tr><th scope=\"row\">").text(phase).raw("</th><td>");
        if let (Some(current), Some(top)) = (current, state.info.fuse.or(limit)) {
            let limit = limit.unwrap_or(top);
            html.raw("<meter min=\"0\" max=\"")
                .text(top.as_f64())
                .raw("\" high=\"")
                .text(limit.as_f64())
                .raw("\" low=\"")
                .text(limit.as_f64() * 0.8)
                .raw("\" optimum=\"0\" value=\"")
                .text(current.as_f64())
                .raw("\" aria-label=\"")
                .text(phase)
                .raw(" against its fuse\"></meter>");
        }
        html.raw("</td><td class=\"number\">");
        amps(html, current);
        html.raw("</td><td class=\"number\">");
        amps(html, limit);
        html.raw("</td><td class=\"number\">");
        amps(html, snapshot.site.available[phase]);
        html.raw("</td></tr>");
    }
    html.raw("</tbody></table></div>");
    if let Some(fuse) = state.info.fuse {
        html.raw("<p>Main fuse ").text(fuse).raw(" per phase");
        if let Some(power) = grid.and_then(|it| it.power_total) {
            html.raw(", ").text(power).raw(" from the grid");
        }
        match snapshot.site.charging {
            Some(power) => html.raw(", ").text(power).raw(" into cars.</p>"),
            None => html.raw(".</p>"),
        };
    }
    sources(html, state, snapshot);
}

/// Far more than an inverter takes for itself.
const TURNED: Watt = Watt(-200);

/// What the sun gives, and what batteries give or take.
fn sources(html: &mut Html, state: &WebState, snapshot: &Snapshot) {
    for role in [MeterRole::Solar, MeterRole::Battery] {
        let views = snapshot.meters.iter().zip(&state.info.roles).filter(|it| *it.1 == role).map(|it| it.0);
        let powers: Vec<Option<Watt>> = views
            .map(|view| view.status.filter(|it| it.quality != Quality::Lost).and_then(|it| it.power_total))
            .collect();
        if powers.is_empty() {
            continue;
        }
        // Of several of which one is silent nobody knows the sum.
        let sum = powers.into_iter().try_fold(Watt(0), |sum, power| Some(sum + power?));
        match (role, sum) {
            (MeterRole::Solar, Some(power)) => html.raw("<p>").text(power).raw(" from the sun.</p>"),
            (MeterRole::Solar, None) => html.raw("<p class=\"bad\">What the sun gives is not known.</p>"),
            (_, Some(power)) if power < Watt(0) => html.raw("<p>").text(-power).raw(" into the battery.</p>"),
            (_, Some(power)) => html.raw("<p>").text(power).raw(" from the battery.</p>"),
            (_, None) => html.raw("<p class=\"bad\">What the battery gives or takes is not known.</p>"),
        };
    }
    for (at, view) in snapshot.meters.iter().enumerate() {
        let power = view.status.and_then(|it| it.power_total);
        if state.info.roles.get(at) == Some(&MeterRole::Solar) && power.is_some_and(|it| it < TURNED) {
            html.raw("<p class=\"warn\">").text(state.info.meter_name(at, view));
            html.raw(" counts against the sun: it wants <code>invert</code> turned round.</p>");
        }
    }
}

fn chargers(html: &mut Html, state: &WebState, snapshot: &Snapshot, now: Mono) {
    html.raw("<h2>Chargers</h2>");
    if snapshot.chargers.is_empty() {
        html.raw("<p>None configured.</p>");
    }
    for (at, view) in snapshot.chargers.iter().enumerate() {
        html.raw("<article><h3>").text(state.info.charger_name(at, view)).raw("</h3>");
        charger(html, view, now);
        html.raw("</article>");
    }
}

fn charger(html: &mut Html, view: &ChargerView, now: Mono) {
    let status = &view.status;
    html.raw("<p class=\"why\">").text(status.reason).raw("</p><p>").text(words(status.word.word()));
    html.raw(", mode ").text(words(status.settings.mode.word()));
    html.raw(". ");
    if status.heard_at.is_some() {
        html.raw("Offered ").text(status.offered);
    } else {
        html.raw("Not heard yet, counted as ").text(status.counted);
    }
    if status.heard_at.is_some() && status.counted > status.offered {
        html.raw(" (counted as ").text(status.counted).raw(")");
    }
    if status.current != Phases([None; 3]) {
        html.raw(", drawn ");
        for (at, current) in status.current.0.into_iter().enumerate() {
            if at > 0 {
                html.raw(" / ");
            }
            amps(html, current);
        }
    }
    if let Some(power) = status.power {
        html.raw(", ").text(power);
    }
    html.raw(".</p><p>");
    if let Some(energy) = status.session_energy {
        html.raw("This session ").text(format_args!("{:.2} kWh", energy.as_f64() / 1000.0)).raw(". ");
    }
    html.raw("Falls to ").text(status.fail_safe);
    match status.watchdog_verified {
        Some(true) => html.raw(" by its own timer if this program ends."),
        Some(false) => html.raw(" by its own timer, <span class=\"bad\">which is not verified</span>."),
        None => html.raw(" only while this program runs: it has no timer of its own."),
    };
    html.raw("</p>");
    for (flags, class) in [(status.fault, "bad"), (status.warning, "warn")] {
        if !flags.is_empty() {
            html.raw("<p class=\"").text(class).raw("\">").text(flags).raw("</p>");
        }
    }
    if status.heard_at.is_some() && (status.fault.is_unknown() || status.warning.is_unknown()) {
        html.raw("<p class=\"warn\">Whether it has an error or a warning is not known.</p>");
    }
    link(html, &view.health, status.heard_at.map(|at| now.since(at)));
}

fn meters(html: &mut Html, state: &WebState, snapshot: &Snapshot, now: Mono) {
    html.raw("<h2>Meters</h2>");
    if snapshot.meters.is_empty() {
        html.raw("<p>None configured.</p>");
    }
    for (at, view) in snapshot.meters.iter().enumerate() {
        html.raw("<article><h3>").text(state.info.meter_name(at, view)).raw("</h3>");
        meter(html, view, now);
        html.raw("</article>");
    }
    for view in &snapshot.sub_meters {
        html.raw("<article><h3>").text(&view.id).raw("</h3>");
        meter(html, view, now);
        html.raw("</article>");
    }
}

fn meter(html: &mut Html, view: &MeterView, now: Mono) {
    let age = view.values.received_at.map(|at| now.since(at));
    if let Some(status) = view.status {
        let class = if status.quality == Quality::Good { "" } else { "bad" };
        html.raw("<p class=\"").text(class).raw("\">").text(words(status.quality.word()));
        if let Some(period) = status.period {
            html.raw(", a telegram each ").text(period.as_secs_f64()).raw(" s");
        }
        html.raw("</p>");
    }
    link(html, &view.health, age);
    if !view.values.values.is_empty() {
        html.raw("<details><summary>Values</summary><div class=\"wide\"><table><tbody>");
        for (key, value) in &view.values.values {
            html.raw("<tr><th scope=\"row\">").text(key).raw("</th><td class=\"number\">");
            match value {
                Value::Number { value, unit, decimals } => {
                    html.text(format_args!("{} {unit}", with_decimals(*value, *decimals)));
                }
                Value::Text(text) => {
                    html.text(text);
                }
            }
            html.raw("</td></tr>");
        }
        html.raw("</tbody></table></div></details>");
    }
}

fn signals(html: &mut Html, state: &WebState, snapshot: &Snapshot, now: Mono) {
    if snapshot.inputs.is_empty() && snapshot.relays.is_empty() {
        return;
    }
    html.raw("<h2>Inputs and relays</h2>");
    for (at, view) in snapshot.inputs.iter().enumerate() {
        html.raw("<article><h3>").text(state.info.input_name(at, view)).raw("</h3>");
        match view.status.active {
            Some(true) => html.raw("<p>Active.</p>"),
            Some(false) => html.raw("<p>Not active.</p>"),
            None => html.raw("<p class=\"bad\">Not known; taken as the safe side.</p>"),
        };
        if let Some(at) = view.status.heard_at {
            html.raw("<p>Heard ").text(format_args!("{:.0} s ago.", now.since(at).as_secs_f64().floor())).raw("</p>");
        }
        last_error(html, &view.health);
        html.raw("</article>");
    }
    for (at, view) in snapshot.relays.iter().enumerate() {
        let status = &view.status;
        html.raw("<article><h3>").text(state.info.relay_name(at, view)).raw("</h3><p class=\"why\">");
        html.text(status.reason).raw("</p><p");
        html.raw(match (status.available, status.on) {
            (true, true) => ">On",
            (true, false) => ">Off",
            (false, true) => " class=\"bad\">Does not answer; counts as on",
            (false, false) => " class=\"bad\">Does not answer; taken to be off",
        });
        html.raw(", command ").text(status.command.word()).raw(".</p>");
        link(html, &view.health, status.heard_at.map(|at| now.since(at)));
        html.raw("</article>");
    }
}

fn last_error(html: &mut Html, health: &Health) {
    if let Some(error) = &health.last_error {
        html.raw("<p class=\"warn\">Last error: ").text(error).raw("</p>");
    }
}

fn link(html: &mut Html, health: &Health, age: Option<Span>) {
    html.raw(if health.online { "<p>" } else { "<p class=\"bad\">Not connected. " });
    match age {
        Some(age) => html.raw("Heard ").text(format_args!("{:.0} s ago", age.as_secs_f64().floor())),
        None => html.raw("Never heard"),
    };
    html.raw(", ").text(health.good).raw(" good, ").text(health.bad).raw(" bad, ");
    html.text(health.timeouts).raw(" time-outs, ").text(health.reconnects).raw(" reconnects");
    if health.discarded_bytes > 0 {
        html.raw(", ").text(health.discarded_bytes).raw(" bytes discarded");
    }
    html.raw(".</p>");
    last_error(html, health);
}

fn links(html: &mut Html, mqtt: &MqttStatus) {
    html.raw("<h2>MQTT</h2><p");
    if matches!(mqtt.state, LinkState::Retrying | LinkState::Standby) {
        html.raw(" class=\"bad\"");
    }
    html.raw(">");
    if mqtt.broker.is_empty() && mqtt.state == LinkState::Idle {
        html.raw("No broker.</p>");
        return;
    }
    html.text(words(mqtt.state.word())).raw(": ").text(&mqtt.broker).raw(", topics below ").text(&mqtt.base_topic);
    html.raw("</p><p>").text(mqtt.published).raw(" sent, ").text(mqtt.received).raw(" received, ");
    html.text(mqtt.connections).raw(" connections.</p>");
    if let Some(problem) = &mqtt.problem {
        html.raw("<p class=\"bad\">").text(problem).raw("</p>");
    }
}

fn database(html: &mut Html, influx: &InfluxStatus) {
    if influx.url.is_empty() {
        return;
    }
    html.raw("<h2>InfluxDB</h2><p>").text(&influx.url).raw(": ").text(influx.written).raw(" lines written, ");
    html.text(influx.waiting).raw(" waiting, ").text(influx.dropped).raw(" dropped.</p>");
    if let Some(problem) = &influx.problem {
        html.raw("<p class=\"bad\">").text(problem).raw("</p>");
    }
}

fn served(html: &mut Html, serve: &ServeStatus) {
    html.raw("<h2>Served: ").text(serve.kind).raw(" of ").text(&serve.source).raw("</h2><p>");
    if let Some(address) = serve.listen {
        html.raw("On ").text(address).raw(": ");
    }
    html.text(serve.readers).raw(" readers, ").text(serve.passed_on).raw(" telegrams passed on, ");
    html.text(serve.dropped).raw(" readers dropped, ").text(serve.refused).raw(" refused.</p>");
    if let Some(problem) = &serve.problem {
        html.raw("<p class=\"bad\">").text(problem).raw("</p>");
    }
}

fn amps(html: &mut Html, current: Option<Milliamp>) {
    match current {
        Some(current) => html.text(format_args!("{:.1} A", current.as_f64())),
        None => html.raw("–"),
    };
}

/// A word of the contract as people write it.
fn words(word: &str) -> String {
    word.replace('_', " ")
}
