"""An endpoint on hypercorn, HTTP/1.1 and HTTP/2, in the clear or with certificate and key; prints its port first.

Usage: hypercorn_server.py FOLDER [CERTIFICATE KEY]
"""

import asyncio
import pathlib
import socket
import sys

from hypercorn.asyncio import serve
from hypercorn.config import Config

FOLDER = pathlib.Path(sys.argv[1])


async def say(send, body, more=False):
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def echo(receive, send):
    more = True
    while more:
        event = await receive()
        more = event.get("more_body", False)
        await say(send, event.get("body", b""), more)


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    # It has them for HTTP/2 alone.
    has_trailers = scope["path"] == "/trailers"
    await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": has_trailers})
    if scope["method"] == "POST":
        await echo(receive, send)
    elif scope["path"] == "/version":
        version = {"1.1": "1.1", "2": "2.0"}[scope["http_version"]]
        await say(send, f"HTTP/{version}".encode())
    elif has_trailers:
        await say(send, b"body")
        await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"7")], "more_trailers": False})
    else:
        await say(send, (FOLDER / pathlib.Path(scope["path"]).name).read_bytes())


async def main():
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.loglevel = "CRITICAL"
    if len(sys.argv) > 2:
        config.certfile, config.keyfile = sys.argv[2:]
    print(listener.getsockname()[1], flush=True)
    await serve(app, config, shutdown_trigger=asyncio.Event().wait)


asyncio.run(main())
