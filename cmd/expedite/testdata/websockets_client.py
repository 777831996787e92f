"""The Python package websockets against the server: websockets_client.py ws://host:port"""

import asyncio
import json
import sys

import websockets


async def main(base):
    async with websockets.connect(base + "/echo", max_size=None) as echo:
        for size in (0, 1, 125, 126, 65535, 65536, 1000000):
            data = b"e" * size
            await echo.send(data)
            assert await echo.recv() == data, f"echo of {size} bytes"
        await echo.send(["frag", "men", "ts: ", "日本語"])
        assert await echo.recv() == "fragments: 日本語"
        await asyncio.wait_for(await echo.ping(b"are you there?"), 30)

    async with websockets.connect(base + "/") as a, websockets.connect(base + "/") as b:
        for ws in (a, b):
            assert json.loads(await ws.recv())["type"] == "welcome"
        await a.send("hello")
        for ws in (a, b):
            assert await ws.recv() == "hello"

    for path in ("/nowhere", "/healthz"):
        try:
            await websockets.connect(base + path)
        except Exception as refused:
            assert "404" in str(refused) or "200" in str(refused) or "HTTP" in str(refused), refused
        else:
            raise AssertionError(f"{path} took an upgrade")
    print("all fine")


asyncio.run(main(sys.argv[1]))
