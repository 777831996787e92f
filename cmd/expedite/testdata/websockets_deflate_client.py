"""The Python package websockets with permessage-deflate: websockets_deflate_client.py mode ws://host:port"""

import asyncio
import itertools
import json
import sys

import websockets
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory


async def talk(base, *args):
    factory = ClientPerMessageDeflateFactory(*args)
    async with websockets.connect(base + "/echo", max_size=None, extensions=[factory]) as echo:
        for i in range(100):
            text = json.dumps({"id": i, "user": f"user-{i % 7}", "text": "the lazy dog sleeps " * (1 + i % 40)})
            await echo.send(text)
            assert await echo.recv() == text, f"message {i} with {args}"
            await asyncio.sleep(0.005)  # the server reloads meanwhile


async def main(base):
    both = (False, True)
    await asyncio.gather(*(talk(base, *args) for args in itertools.product(both, both, (None, 9, 12), (None, 9, True))))
    print("all fine")


asyncio.run(main(sys.argv[2]))
