"""A flow whose step goes to the world on its own, in every way that there is."""

import asyncio
import concurrent.futures
import os
import socket
import sqlite3
import subprocess
import threading
import urllib.request
from collections.abc import Iterable
from pathlib import Path

import asyncpg
import httpx2
from pydantic import BaseModel

from sagacity import Lock, Saga, State, exclusive, step


class Harmless(Saga, version=1, key="name"):
    """A plain step that runs a loop of its own, reads a file and asks for the time."""

    class Input(BaseModel):
        name: str

    asked = State(initial=True)
    done = State(final=True)
    go = asked.to(done)

    @step(go)
    def nothing_outside(self, asked: Input) -> int:
        return asyncio.run(self.size())

    async def size(self) -> int:
        await asyncio.sleep(0)
        return len(self.read())

    def read(self) -> str:
        return Path(__file__).read_text()


class Hangs(Saga, version=1, key="name"):
    """A plain step that waits in real time, for nothing."""

    class Input(BaseModel):
        name: str

    asked = State(initial=True)
    done = State(final=True)
    go = asked.to(done)

    @step(go)
    def wait(self, asked: Input) -> None:
        threading.Event().wait()


class Leaky(Saga, version=1, key="way"):
    class Input(BaseModel):
        way: str
        host: str = "127.0.0.1"
        port: int = 0
        path: str = ""

    asked = State(initial=True)
    done = State(final=True)
    go = asked.to(done)

    def participants(self, asked: Input) -> Iterable[Lock]:
        yield exclusive("door", asked.way)

    @step(go)
    async def leak(self, asked: Input) -> None:
        way = getattr(self, f"by_{asked.way}")
        done = way(asked)
        if asyncio.iscoroutine(done):
            await done

    def by_socket(self, asked: Input) -> None:
        socket.create_connection((asked.host, asked.port), timeout=2).close()

    async def by_asyncio(self, asked: Input) -> None:
        await asyncio.open_connection(asked.host, asked.port)

    async def by_to_thread(self, asked: Input) -> None:
        await asyncio.to_thread(self.by_socket, asked)

    def by_own_thread(self, asked: Input) -> None:
        thread = threading.Thread(target=self.quietly, args=(asked,))
        thread.start()
        thread.join()

    def quietly(self, asked: Input) -> None:
        try:
            self.by_socket(asked)
        except OSError:
            return

    def by_own_pool(self, asked: Input) -> None:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            pool.submit(self.by_socket, asked).result()

    async def by_httpx(self, asked: Input) -> None:
        async with httpx2.AsyncClient(trust_env=False) as client:
            await client.post(f"http://{asked.host}:{asked.port}/", content=b"x")

    def by_httpx_sync(self, asked: Input) -> None:
        httpx2.post(f"http://{asked.host}:{asked.port}/", content=b"x", trust_env=False)

    def by_urllib(self, asked: Input) -> None:
        urllib.request.urlopen(f"http://{asked.host}:{asked.port}/", timeout=2).close()

    async def by_asyncpg(self, asked: Input) -> None:
        await asyncpg.connect(host=asked.host, port=asked.port, user="x", database="x", timeout=2)

    def by_udp(self, asked: Input) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.sendto(b"x", (asked.host, asked.port))

    def by_unix_socket(self, asked: Input) -> None:
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(asked.path)

    def by_changing(self, asked: Input) -> None:
        Path(asked.path).chmod(0o777)

    def by_process(self, asked: Input) -> None:
        subprocess.run(["true"], check=True)

    def by_shell(self, asked: Input) -> None:
        os.system("true")

    def by_file(self, asked: Input) -> None:
        Path(asked.path).write_text("written by a dry run")

    def by_database(self, asked: Input) -> None:
        sqlite3.connect(asked.path).close()

    def by_removing(self, asked: Input) -> None:
        Path(asked.path).unlink()
