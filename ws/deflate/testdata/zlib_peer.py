"""Python's zlib as the peer of one connection: reads a line of JSON, inflates the messages and deflates their plaintext."""

import base64
import json
import sys
import zlib

TAIL = b"\x00\x00\xff\xff"

for line in sys.stdin:
    job = json.loads(line)
    bits = job["bits"]
    inflater = zlib.decompressobj(-bits)
    # zlib refuses to deflate raw data with 8 bits.
    deflater = zlib.compressobj(9, zlib.DEFLATED, -max(bits, 9))
    inflated, deflated = [], []
    for message in job["messages"]:
        plain = inflater.decompress(base64.b64decode(message) + TAIL)
        inflated.append(base64.b64encode(plain).decode())
        data = deflater.compress(plain) + deflater.flush(zlib.Z_SYNC_FLUSH)
        assert data.endswith(TAIL)
        deflated.append(base64.b64encode(data[:-4]).decode())
    print(json.dumps({"inflated": inflated, "deflated": deflated}), flush=True)
