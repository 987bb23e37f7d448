"""Every setting that Home Assistant shows, set by its own services to all that it offers."""

import itertools
import json

from hass import HomeAssistant
from peers import Broker, Failure, Listener, check, say, until

# What is done only with a car, a box or a time that is there; a refusal must say so.
ACTIONS = {"authorize", "wake"}
# What would end the test under way: they are pressed elsewhere.
ELSEWHERE = {"reboot", "restart"}


def offers(component: dict) -> list[tuple[str, dict, object]]:
    """Service, its data and the state that follows, for each value of a control."""
    match component["platform"]:
        case "number":
            return [("number.set_value", {"value": component[it]}, component[it]) for it in ("min", "max")]
        case "select":
            return [("select.select_option", {"option": it}, it) for it in component["options"]]
        case "switch":
            return [("switch.turn_on", {}, "on"), ("switch.turn_off", {}, "off")]
        case "button":
            return [("button.press", {}, None)]
    raise Failure(f"a command topic at a {component['platform']}")


class Answers:
    """What we say to each command, in order."""

    def __init__(self, listener: Listener) -> None:
        self.listener, self.seen = listener, len(listener.heard)

    async def next(self, topic: str) -> dict:
        def look():
            while self.seen < len(self.listener.heard):
                _, name, payload = self.listener.heard[self.seen]
                self.seen += 1
                if name == "gridkeeper/result" and (answer := json.loads(payload))["topic"] == topic:
                    return answer
            return None

        return await until(f"an answer to {topic}", look)


async def shows(ha: HomeAssistant, entity: str, wanted: object) -> None:
    def same(state: str) -> bool:
        try:
            return float(state) == float(wanted)
        except ValueError:
            return state == wanted

    last = []

    async def look() -> bool:
        last[:] = [(await ha.get(f"states/{entity}"))["state"]]
        return same(last[0])

    try:
        await until("", look, 20)
    except Failure:
        raise Failure(f"{entity} is {last[0]}, not {wanted}") from None


async def every_control(ha: HomeAssistant, broker: Broker, listener: Listener, ours: dict) -> None:
    """`ours`: our components by unique id. Each value is answered, and is the entity's state then."""
    registry = {it["unique_id"]: it["entity_id"] for it in await ha.socket.ask(type="config/entity_registry/list")}
    answers, controls, values = Answers(listener), 0, 0
    for unique, (_, component) in ours.items():
        topic = component.get("command_topic")
        key = topic.rpartition("/")[2] if topic else ""
        if not topic or component.get("enabled_by_default") is False or key in ELSEWHERE:
            continue
        controls += 1
        entity = registry[unique]
        before = (await ha.get(f"states/{entity}"))["state"]
        # Back to what it was, so that one setting does not stand in the way of the next.
        back = [it for it in offers(component) if it[2] == before]
        if component["platform"] == "number" and before not in ("unknown", "unavailable"):
            back = [("number.set_value", {"value": float(before)}, float(before))]
        for service, data, wanted in itertools.chain(offers(component), back):
            values += 1
            await ha.call(service, entity_id=entity, **data)
            answer = await answers.next(topic)
            if key in ACTIONS:
                check(answer["ok"] or len(answer["error"]) > 10, f"{topic}: {answer}")
                continue
            check(answer["ok"], f"{topic} = {data} is offered and refused: {answer['error']}")
            # A button that takes a limit back has no state of its own.
            if wanted is not None:
                await shows(ha, entity, wanted)
    await broker.publish("gridkeeper/site/set/reset_settings", "ON")
    check((await answers.next("gridkeeper/site/set/reset_settings"))["ok"], "the settings do not go back")
    check(controls > 25, f"only {controls} controls")
    say(f"  {controls} controls: {values} values set, each answered and shown")
