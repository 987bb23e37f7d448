// The body of a Node-RED function node that does our job in its plainest form: P1 telegrams in, the set-point of one
// TeltoCharge out as a Modbus TCP frame. No fail-safe, no second charger, no other meter.
const FUSE = 24.5;
let text = context.get("text") || "";
let offered = context.get("offered") ?? 16;
text += msg.payload.toString("latin1");
let end = text.indexOf("!");
if (end < 0 || text.length < end + 7) {
    context.set("text", text);
    return null;
}
const telegram = text.slice(0, end);
context.set("text", text.slice(end + 7));
const number = (code) => {
    const found = telegram.match(new RegExp(`1-0:${code}\\.7\\.0\\((\\d+\\.?\\d*)\\*`));
    return found ? Number(found[1]) : 0;
};
// Currents have no sign: the power of the phase has it.
const currents = [20, 40, 60].map((base) => number(base + 11) * (number(base + 2) > 0 ? -1 : 1));
const room = FUSE - Math.max(...currents);
const settled = (context.get("settled") || 0) + 1;
let wanted = offered;
if (room < 0) wanted = offered - Math.ceil(-room);
else if (room > 1.5 && settled > 6) wanted = offered + Math.floor(room);
wanted = wanted < 6 ? 0 : Math.min(16, wanted);
context.set("settled", wanted === offered ? settled : 0);
context.set("offered", wanted);
const number16 = (value) => [value >> 8, value & 0xff];
const transaction = ((context.get("transaction") || 0) + 1) & 0xffff;
context.set("transaction", transaction);
// Function 6, register 15; sent with each telegram, which also feeds the charger's fail-safe timer.
msg.payload = Buffer.from([...number16(transaction), 0, 0, 0, 6, 1, 6, ...number16(15), ...number16(wanted)]);
return msg;
