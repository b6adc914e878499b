"""A WebSocket client: says many things to the echo at the URL given and fails where an answer differs."""

import asyncio
import random
import sys

from websockets.asyncio.client import connect

SIZES = [0, 1, 125, 126, 127, 65535, 65536, 1 << 20]


async def talk(url, seed):
    numbers = random.Random(seed)
    async with connect(url, max_size=None) as connection:
        for size in SIZES:
            message = numbers.randbytes(size)
            await connection.send(message)
            assert await connection.recv() == message, f"binary of {size}"
        for text in ["", "isobar", "é" * 5000]:
            await connection.send(text)
            assert await connection.recv() == text, f"text of {len(text)}"
        parts = [numbers.randbytes(numbers.randrange(5000)) for _ in range(20)]
        await connection.send(parts)
        assert await connection.recv() == b"".join(parts), "a fragmented message"
        await (await connection.ping())
        for n in range(200):
            await connection.send(str(n))
        for n in range(200):
            assert await connection.recv() == str(n), "messages keep their order"
        await connection.close(4321, "enough")
    assert connection.close_code == 4321, connection.close_code
    assert connection.close_reason == "enough", connection.close_reason


async def main():
    await asyncio.gather(*(talk(sys.argv[1], seed) for seed in range(10)))
    print("echoed")


asyncio.run(main())
