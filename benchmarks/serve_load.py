"""A load of HTTP requests from one process: C connections, each asking again as soon as it is answered.

    python benchmarks/serve_load.py PORT PATH CONNECTIONS SECONDS BODY_FILE CONTENT_TYPE

Prints one JSON document: seconds of each answered request, answers by status, broken connections, and the ids of the
requests that were answered. A plain asyncio client of 60 lines, so that the client costs little of the two cores.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from pathlib import Path


async def ask(
    port: int,
    head: bytes,
    body: bytes,
    name: str,
    until: float,
    seconds: list[float],
    outcomes: Counter[str],
    ids: list[str],
) -> None:
    """One connection's life; it is opened anew when the server closes it, and given up when nobody listens."""
    turn = 0
    while time.perf_counter() < until:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            outcomes["not accepted"] += 1
            return
        try:
            while time.perf_counter() < until:
                turn += 1
                ident = f"{name}-{turn}"
                began = time.perf_counter()
                writer.write(head + b"X-Request-ID: " + ident.encode() + b"\r\n\r\n" + body)
                answer = await reader.readuntil(b"\r\n\r\n")
                lower = answer.lower()
                length = int(lower.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
                await reader.readexactly(length)
                seconds.append(time.perf_counter() - began)
                outcomes[answer[9:12].decode()] += 1
                ids.append(ident)
                if b"connection: close" in lower:
                    break
        except (OSError, asyncio.IncompleteReadError):
            outcomes["cut"] += 1
        finally:
            writer.close()


async def load(port: int, path: str, connections: int, duration: float, body: bytes, kind: str) -> dict[str, object]:
    """The whole load -> what is printed."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n".encode()
    )
    seconds: list[float] = []
    outcomes: Counter[str] = Counter()
    ids: list[str] = []
    began = time.perf_counter()
    until = began + duration
    await asyncio.gather(
        *(ask(port, head, body, str(number), until, seconds, outcomes, ids) for number in range(connections))
    )
    return {"took": time.perf_counter() - began, "seconds": seconds, "outcomes": outcomes, "ids": ids}


if __name__ == "__main__":
    given = sys.argv[1:]
    content = Path(given[4]).read_bytes()
    result = asyncio.run(load(int(given[0]), given[1], int(given[2]), float(given[3]), content, given[5]))
    json.dump(result, sys.stdout)
