"""Reads the stand-ins of Shelly and HomeWizard with the client libraries that Home Assistant uses.

    http_devices.py shelly HOST:PORT PASSWORD     http_devices.py gen1 HOST:PORT
    http_devices.py homewizard HOST:PORT          http_devices.py relay HOST:PORT
    http_devices.py homewizard2 HOST:PORT

Ends with 1 and the reason when a library refuses what it reads.
"""

import asyncio
import sys

import aiohttp


def want(what, found, expected):
    if found != expected:
        sys.exit(f"{what}: {found!r}, expected {expected!r}")


async def shelly(host, port, password):
    from aioshelly.common import ConnectionOptions
    from aioshelly.rpc_device import RpcDevice, RpcUpdateType, WsServer

    told = asyncio.Event()
    async with aiohttp.ClientSession() as session:
        login = {"username": "admin", "password": password} if password else {}
        device = await RpcDevice.create(session, WsServer(), ConnectionOptions(host, port=port, **login))
        device.subscribe_updates(lambda _, kind: told.set() if kind == RpcUpdateType.STATUS else None)
        await device.initialize()
        want("model", device.model, "SPEM-003CEBEU")
        want("generation", device.gen, 2)
        want("power of L2", device.status["em:0"]["b_act_power"], -842.0)
        want("counter", device.status["emdata:0"]["total_act"], 902568.9)
        # The one who started this changes the current as soon as it reads the next line.
        print("ready", flush=True)
        await asyncio.wait_for(told.wait(), 20)
        want("pushed current", device.status["em:0"]["a_current"], 9.5)
        await device.shutdown()


async def relay(host, port, _):
    from aioshelly.common import ConnectionOptions
    from aioshelly.rpc_device import RpcDevice, WsServer

    async with aiohttp.ClientSession() as session:
        device = await RpcDevice.create(session, WsServer(), ConnectionOptions(host, port=port))
        await device.initialize()
        answer = await device.call_rpc("Switch.Set", {"id": 0, "on": True, "toggle_after": 1})
        want("before", answer, {"was_on": False})
        await device.update_status()
        want("on", device.status["switch:0"]["output"], True)
        for _ in range(100):
            await asyncio.sleep(0.1)
            await device.update_status()
            if not device.status["switch:0"]["output"]:
                break
        want("back by itself", device.status["switch:0"]["output"], False)
        await device.shutdown()


async def gen1(host, port, _):
    from aioshelly.common import get_info

    async with aiohttp.ClientSession() as session:
        info = await get_info(session, host, port=port)
        want("type", info["type"], "SHEM-3")


async def homewizard(host, port, _):
    try:
        from homewizard_energy import HomeWizardEnergyV1 as Client
    except ImportError:
        from homewizard_energy import HomeWizardEnergy as Client
    async with Client(f"{host}:{port}") as api:
        device = await api.device()
        want("product", device.product_type, "HWE-P1")
        data = await (api.measurement() if hasattr(api, "measurement") else api.data())
        power = getattr(data, "power_w", None) or getattr(data, "active_power_w", None)
        want("power", power, -543.0)
        counter = getattr(data, "energy_import_kwh", None) or getattr(data, "total_energy_import_kwh", None)
        want("counter", counter, 13779.338)


async def homewizard2(host, port, _):
    import ssl

    from homewizard_energy import HomeWizardEnergyV2
    from homewizard_energy.errors import DisabledError, UnauthorizedError

    # The stand-in has no certificate of the maker's authority; all else is as the library does it.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with HomeWizardEnergyV2(f"{host}:{port}") as api:
        api._ssl = context
        try:
            await api.get_token("test")
            sys.exit("it gave a token before its button was pressed")
        except DisabledError:
            pass
        # The one who started this presses the button as soon as it reads the next line.
        print("press", flush=True)
        for _ in range(100):
            try:
                token = await api.get_token("test")
                break
            except DisabledError:
                await asyncio.sleep(0.1)
        device = await api.device()
        want("product", device.product_type, "HWE-P1")
        data = await api.measurement()
        want("power", data.power_w, -543)
        want("current of L1", data.current_l1_a, -4)
        want("counter", data.energy_import_kwh, 13779.338)
        (gas,) = data.external_devices.values()
        want("gas", gas.value, 2569.646)
    async with HomeWizardEnergyV2(f"{host}:{port}", token="0" * len(token)) as api:
        api._ssl = context
        try:
            await api.measurement()
            sys.exit("it takes any token")
        except UnauthorizedError:
            pass


kind, place, *rest = sys.argv[1:]
host, port = place.rsplit(":", 1)
asyncio.run(globals()[kind](host, int(port), rest[0] if rest else None))
print("agreed", flush=True)
