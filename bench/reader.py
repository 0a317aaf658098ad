"""`python -m bench.reader PORT SECONDS`: somebody who is signed in looks at something, again and again.

The token comes by standard input; what each look took, in seconds, goes to standard output as JSON.
"""

import asyncio
import json
import sys
import time
from typing import Final

from bench.wire import Connection, request

PAUSE: Final = 0.01


async def read(port: int, seconds: float, token: str) -> list[float]:
    connection = await Connection.open(port)
    data, latencies = request("GET", "/api/v1/sessions/current", token=token), []
    end = time.perf_counter() + seconds
    while (begun := time.perf_counter()) < end:
        status, _, body = await connection.ask(data)
        latencies.append(time.perf_counter() - begun)
        if status != 200:
            raise RuntimeError(f"a signed-in reader was answered with {status}: {body[:300]!r}")
        await asyncio.sleep(PAUSE)
    connection.close()
    return latencies


if __name__ == "__main__":
    _, port_, seconds_ = sys.argv
    json.dump(asyncio.run(read(int(port_), float(seconds_), sys.stdin.read())), sys.stdout)
