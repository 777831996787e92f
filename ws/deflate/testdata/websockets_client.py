"""The Python package websockets with every set of parameters: websockets_client.py ws://host:port"""

import asyncio
import itertools
import sys

import websockets
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

TEXTS = ["", "a", "Grüße" * 20, "x" * 70000, "The same again. " * 30, "The same again. " * 31]


async def echo(url, **params):
    extension = ClientPerMessageDeflateFactory(**params)
    async with websockets.connect(url, extensions=[extension], compression=None, max_size=None) as ws:
        assert [e.name for e in ws.extensions] == ["permessage-deflate"], params
        for text in TEXTS:
            await ws.send(text)
            assert await ws.recv() == text, params
        await ws.send(bytes(range(256)) * 10)
        assert await ws.recv() == bytes(range(256)) * 10, params


async def main(url):
    for server, client in itertools.product((False, True), repeat=2):
        for server_bits, client_bits in ((None, None), (None, True), (8, 9), (9, 15), (12, 12), (15, 10)):
            await echo(
                url,
                server_no_context_takeover=server,
                client_no_context_takeover=client,
                server_max_window_bits=server_bits,
                client_max_window_bits=client_bits,
            )


asyncio.run(main(sys.argv[1]))
print("ok")
