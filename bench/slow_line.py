"""A line between client and server that takes its time: what comes back arrives so many milliseconds later, however much it is."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from stack.endpoints import free_port


@contextmanager
def slow_line(port: int, latency_ms: float) -> Iterator[int]:
    """A port of this host that leads to ``port``, in a process of its own, while the block runs."""
    front = free_port(taken={port})
    line = subprocess.Popen(
        [sys.executable, "-m", "bench.slow_line", str(front), str(port), str(latency_ms)], stdout=subprocess.PIPE
    )
    try:
        assert line.stdout is not None
        assert line.stdout.readline() == b"ready\n"
        yield front
    finally:
        line.terminate()
        line.wait()


async def serve(front: int, behind: int, latency_s: float) -> None:
    """Pass bytes on, back and forth."""
    loop = asyncio.get_running_loop()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", behind)
        back = asyncio.create_task(_pass_on(far_reader, writer, loop, latency_s))
        await _pass_on(reader, far_writer, loop, 0.0)
        await back

    server = await asyncio.start_server(connected, "127.0.0.1", front)
    print("ready", flush=True)
    await server.serve_forever()


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, loop: asyncio.AbstractEventLoop, latency_s: float
) -> None:
    while data := await reader.read(1 << 18):
        if latency_s:
            loop.call_later(latency_s, writer.write, data)
        else:
            writer.write(data)
    loop.call_later(latency_s, writer.close)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1000))
