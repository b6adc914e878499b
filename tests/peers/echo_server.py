"""A WebSocket endpoint: sends every message back; prints its port first.

It listens on a port that the system chooses and runs until it is killed.
"""

import asyncio
import logging

from websockets.asyncio.server import serve

# Cases with broken frames are part of the tests; their traces say nothing new.
logging.getLogger("websockets").setLevel(logging.CRITICAL)


async def echo(connection):
    async for message in connection:
        await connection.send(message)


async def main():
    async with serve(echo, "127.0.0.1", 0, max_size=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


asyncio.run(main())
