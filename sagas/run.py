"""`make run`: play the outside world, run a file of orders as sagas against it, and judge what happened.

It protects one idea: success is not what Sagacity says of itself. After the run the services' own ledgers
are read, and they alone decide whether something was done twice or left standing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import httpx2
from pydantic import ValidationError

from sagacity.cli.stores import place
from sagacity.config import DEFAULT_STORE
from sagacity.errors import SagacityError
from sagacity.model.canonical import parsed
from sagacity.model.record import Status
from sagacity.model.views import SagaSummary
from sagacity.orchestrator import Orchestrator
from sagacity.store.base import Filter
from sagas.order import Order
from sagas.services.ledger import Entry, doubled, read_ledgers, standing
from sagas.services.playback import left_out

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "sagas" / "sample_orders.jsonl"
STATE = Path(".sagacity") / "services"
SEEN_BY_THE_FLOW = ("order_id", "customer_id", "amount")
_SOLD = frozenset({"reserve", "charge", "book"})
_QUIET = 4.5


class CannotRunError(Exception):
    """The run cannot begin or go on; the text says why and what to do."""


class Voice:
    """Says things, and fills silences: a person who sees nothing for five seconds thinks that it hangs."""

    def __init__(self) -> None:
        self._began = self._last = time.monotonic()
        self._lock = threading.Lock()

    def say(self, text: str) -> None:
        """One line on stdout."""
        with self._lock:
            print(text, flush=True)
            self._last = time.monotonic()

    def forward(self, stream: IO[str]) -> None:
        """Every line of `stream` to stderr, until it ends."""
        for line in stream:
            with self._lock:
                print(line, end="", file=sys.stderr, flush=True)
                self._last = time.monotonic()

    @contextlib.contextmanager
    def during(self, what: str, *, silent: bool = False) -> Iterator[None]:
        """Name `what` again whenever nothing was said for a while; `silent`: somebody else does that."""
        over = threading.Event()

        def fill() -> None:
            while not over.wait(0.25):
                if time.monotonic() - self._last >= _QUIET:
                    self.say(f"   ... {what} ({time.monotonic() - self._began:.0f} s)")

        filler = threading.Thread(target=fill, daemon=True)
        if not silent:
            filler.start()
        try:
            yield
        finally:
            over.set()
            if not silent:
                filler.join()


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is run where: the orders, the store as the user named it, and the folder of the ledgers."""

    orders: Path
    store: str
    ledger: Path

    @classmethod
    def of(cls, given: argparse.Namespace) -> Job:
        """One set of ledgers for each store: what a saga did for one file is undone at the same services."""
        mark = hashlib.sha256(given.store.encode()).hexdigest()[:16]
        return cls(orders=given.orders, store=given.store, ledger=STATE / mark)

    @property
    def noted(self) -> Path:
        """Where `make services` for these very orders writes down its addresses."""
        mark = hashlib.sha256(self.orders.read_bytes()).hexdigest()[:16]
        return self.ledger / f"urls-{mark}.json"


# --- the outside world -------------------------------------------------------------------------------


@contextlib.contextmanager
def outside(job: Job, voice: Voice, *, told: bool = False) -> Iterator[dict[str, str]]:
    """The addresses of the services, started here unless `make services` keeps them up already.

    `told`: which lines they cannot play is said already.
    """
    kept = _kept_up(job)
    if kept is not None:
        voice.say(f"== the services are up already, with their ledgers in {job.ledger}")
        yield kept
        return
    command = [
        sys.executable,
        "-m",
        "sagas.services",
        "--until-stdin-closes",
        "--input",
        str(job.orders),
        "--ledger",
        str(job.ledger),
        *(["--input-is-told"] if told else []),
    ]
    voice.say(f"== starting the services; their ledgers: {job.ledger}")
    # A session of their own: Ctrl-C ends the sagas first, and the services when nobody needs them any more.
    # They hold our pipe: however we die, they end with us.
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True) as process:
        try:
            with voice.during("starting the services"):
                assert process.stdout is not None
                line = process.stdout.readline()
            if not line:
                raise CannotRunError("the services did not start: see above")
            yield json.loads(line)
        finally:
            process.send_signal(signal.SIGTERM)


def _kept_up(job: Job) -> dict[str, str] | None:
    with contextlib.suppress(OSError, ValueError, httpx2.HTTPError):
        urls: dict[str, str] = json.loads(job.noted.read_bytes())
        for url in urls.values():
            httpx2.get(f"{url}/health", trust_env=False, timeout=2).raise_for_status()
        return urls
    return None


def keep_up(job: Job, voice: Voice) -> int:
    """`make services`: hold the services until Ctrl-C, and say how to reach them."""
    job.ledger.mkdir(parents=True, exist_ok=True)
    noted = job.noted
    with outside(job, voice) as urls:
        noted.write_text(json.dumps(urls))
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            voice.say("== the services are up until Ctrl-C; in another terminal this uses them:")
            voice.say(f"   {_this_run_again(job)}")
            voice.say("   for commands of your own, paste there:")
            for name, value in addresses(urls).items():
                voice.say(f"   export {name}={value}")
            signal.pause()
        except KeyboardInterrupt:
            voice.say("== the services end; their ledgers stay")
        finally:
            noted.unlink()
    return 0


def addresses(urls: Mapping[str, str]) -> dict[str, str]:
    """Where each external is found: the variables that Sagacity reads."""
    return {f"SAGACITY_{name.upper()}_URL": url for name, url in urls.items()}


def without_password(store: str) -> str:
    """The store as it may be shown."""
    parts = urlsplit(store)
    if parts.password is None:
        return store
    return parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", ":…@")).geturl()


# --- the sagas ---------------------------------------------------------------------------------------


def run_sagas(job: Job, urls: Mapping[str, str], given: argparse.Namespace, voice: Voice) -> tuple[int, str]:
    """Run `sagacity run`; its exit code, and the summary that it printed."""
    command = [sys.executable, "-m", "sagacity", "run", "sagas/order.py:Order", "--input", str(given.input)]
    command += ["--key", "order_id", "--ignore-unknown"]
    command += [part for url in urls.values() for part in ("--outside", url)]
    command += ["--workers", str(given.workers)] if given.workers else []
    at_terminal = sys.stderr.isatty()
    voice.say(
        f"== sagacity run sagas/order.py:Order --input {job.orders} --store {without_password(job.store)}"
    )
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=None if at_terminal else subprocess.PIPE,
        text=True,
        # The store's address may hold a password: `ps` does not show the environment.
        env={**os.environ, **addresses(urls), "SAGACITY_STORE": job.store},
    ) as process:
        told = threading.Thread(target=voice.forward, args=[process.stderr], daemon=True)
        if process.stderr is not None:
            told.start()
        with voice.during("running the orders", silent=at_terminal):
            assert process.stdout is not None
            summary = process.stdout.read()
            code = process.wait()
        if process.stderr is not None:
            told.join()
    return code, summary


async def ends(url: str) -> dict[str, SagaSummary]:
    """Where every order of the store stands, by its key."""
    found: dict[str, SagaSummary] = {}
    async with await Orchestrator.open(url) as opened:
        page = await opened.list(Filter(definition="Order", limit=500))
        while page:
            found.update((saga.key, saga) for saga in page)
            page = await opened.list(Filter(definition="Order", limit=500, before=page[-1].id))
    return found


async def belongs(entry: Entry, url: str) -> bool:
    """Say whether a ledger that holds `entry` was written for sagas of this store."""
    async with await Orchestrator.open(url) as opened:
        return await opened.store.find("Order", entry.about) is not None


def set_aside_if_foreign(job: Job, url: str, voice: Voice) -> None:
    """Move the ledgers away when the store they belong to was deleted: its keys will never come again."""
    entries = read_ledgers(job.ledger)
    if not entries or asyncio.run(belongs(entries[0], url)):
        return
    number = sum(1 for _ in STATE.glob(f"{job.ledger.name}.old*")) + 1
    job.ledger.rename(job.ledger.with_name(f"{job.ledger.name}.old{number}"))
    voice.say("== the ledgers of a store that is gone were set aside")


# --- what happened -----------------------------------------------------------------------------------


def judge(ledger: Path, sagas: Mapping[str, SagaSummary]) -> list[str]:
    """Hold the services' ledgers against the sagas' ends; what does not agree, one sentence each."""
    entries = read_ledgers(ledger)
    stands = {about: {entry.action for entry in left} for about, left in standing(entries).items()}
    wrong = [
        f"{entry.service} did {entry.action} for {entry.about} once too often" for entry in doubled(entries)
    ]
    for key, saga in sagas.items():
        left = stands.get(key, set())
        if saga.status is Status.ROLLED_BACK and left:
            wrong.append(f"{key} was rolled back, yet {', '.join(sorted(left))} stands")
        if saga.status is Status.COMMITTED and not left >= _SOLD:
            wrong.append(f"{key} was committed without {', '.join(sorted(_SOLD - left))}")
    return wrong


def next_steps(sagas: Mapping[str, SagaSummary], job: Job) -> list[str]:
    """What to try now, with keys that exist: each command on a line of its own, to be pasted as it stands."""
    named = _named_store(job)
    behind = f" --store {shlex.quote(named)}" if named else ""
    program = shlex.quote(os.path.relpath(Path(sys.executable).with_name("sagacity")))

    def key_of(status: Status, state: str | None = None) -> str | None:
        fits = [k for k, s in sagas.items() if s.status is status and (state is None or state in s.state)]
        return min(fits, default=None)

    gone = [key for key, saga in sagas.items() if saga.status is Status.ROLLED_BACK]
    # One that the carrier called off has the longest way back.
    back = min(gone, key=lambda key: ("called_off" not in (sagas[key].reason or ""), key), default=None)
    open_, sold = key_of(Status.WAITING, "shipped"), key_of(Status.COMMITTED)
    lines = []
    if without_password(job.store) != job.store:
        lines.append("   (first set SAGACITY_STORE to the address of this store, with its password)")
    if back:
        lines.append("   an order that was rolled back: why, and its story line by line")
        lines += [f"{program} {verb} {shlex.quote(back)}{behind}" for verb in ("show", "log")]
    if open_:
        lines.append("   one that waits: say that it was delivered, and let a run pick that up")
        lines.append(f"{program} signal {shlex.quote(open_)} carrier.delivered{behind}")
        lines.append(_this_run_again(job))
    if sold:
        lines.append("   what a committed one left in the books, and the proof of the log")
        lines.append(f"{program} object {shlex.quote(f'order:{sold}')} --history{behind}")
        lines.append(f"{program} verify{behind}")
    return lines


def _named_store(job: Job) -> str:
    """What to say behind `--store`; nothing where a command finds the store itself, or it has a password."""
    found_anyway = job.store == DEFAULT_STORE == os.environ.get("SAGACITY_STORE", DEFAULT_STORE)
    return "" if found_anyway or without_password(job.store) != job.store else job.store


def _this_run_again(job: Job) -> str:
    """The command that runs the same orders on the same store; only a clone has a Makefile for it."""
    orders, store = "" if job.orders.resolve() == SAMPLE else str(job.orders), _named_store(job)
    if Path("Makefile").is_file():
        words, options = ["make", "run"], {"ORDERS=": orders, "STORE=": store}
    else:
        words = [shlex.quote(os.path.relpath(sys.executable)), "-m", "sagas.run"]
        options = {"--orders ": orders, "--store ": store}
    return " ".join([*words, *(f"{option}{shlex.quote(said)}" for option, said in options.items() if said)])


def conclude(job: Job, url: str, keys: set[str], voice: Voice) -> bool:
    """Say what the ledgers say and what to try next; False when they do not agree with the sagas."""
    sagas = {key: saga for key, saga in asyncio.run(ends(url)).items() if key in keys}
    wrong = judge(job.ledger, sagas)
    if wrong:
        voice.say(f"== the ledgers do NOT agree with the sagas: {len(wrong)} faults, e.g. {wrong[0]}")
    else:
        voice.say(
            "== the services' ledgers agree: no effect doubled, none left standing for a rolled-back order"
        )
    voice.say("== what to try next")
    for line in next_steps(sagas, job):
        voice.say(line)
    return not wrong


# --- the command -------------------------------------------------------------------------------------


def read_keys(orders: Path) -> set[str]:
    """The order ids of the file; lines that are no orders are reported by `sagacity run`."""
    found = set()
    for line in orders.read_bytes().split(b"\n"):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            found.add(str(json.loads(line)["order_id"]))
    return found


def unplayed(orders: Path) -> Iterator[str]:
    """Say which orders the services do not know although they are run; the others `sagacity run` rejects."""
    for line in left_out(orders):
        with contextlib.suppress(SagacityError, ValidationError):
            Order.Input.model_validate(parsed(line.text), extra="ignore")
            yield f"{orders}:{line.number}: no service answers to this order: {line.reason}"


def blinded(orders: Path, folder: Path) -> Path:
    """A copy that holds nothing but what the flow may see, line for line."""
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / "blind.jsonl"
    copy.write_bytes(b"\n".join(_blind(line) for line in orders.read_bytes().split(b"\n")))
    return copy


def _blind(line: bytes) -> bytes:
    """What the flow may see of a line; one that is no order stays as it is, to be rejected."""
    try:
        order = json.loads(line)
    except ValueError:
        return line
    if not isinstance(order, dict):
        return line
    return json.dumps({name: order[name] for name in SEEN_BY_THE_FLOW if name in order}).encode()


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sagas.run", description=__doc__)
    parser.add_argument("--orders", type=Path, default=SAMPLE, help="orders, JSON lines; default: our sample")
    parser.add_argument("--store", default=os.environ.get("SAGACITY_STORE", DEFAULT_STORE))
    parser.add_argument("--workers", type=int, help="worker processes")
    parser.add_argument("--blind", action="store_true", help="hand Sagacity a copy without anything else")
    parser.add_argument("--services-only", action="store_true", help="keep the services up instead")
    given = parser.parse_args(argv)
    if not given.orders.is_file():
        parser.error(f"--orders {given.orders}: there is no such file")
    with contextlib.suppress(ValueError):
        given.orders = given.orders.resolve().relative_to(Path.cwd())
    return given


async def _with_store(job: Job, given: argparse.Namespace, voice: Voice) -> tuple[int, str]:
    """Everything that needs the store; a private server stays up as long as this takes."""
    async with contextlib.AsyncExitStack() as opened:
        with voice.during("starting the store"):
            at = await opened.enter_async_context(place(job.store))
        return await asyncio.to_thread(_run, job, given, at.url, voice)


def _run(job: Job, given: argparse.Namespace, url: str, voice: Voice) -> tuple[int, str]:
    set_aside_if_foreign(job, url, voice)
    given.input = blinded(job.orders, job.ledger) if given.blind else job.orders
    for text in unplayed(job.orders):
        voice.say(text)
    with outside(job, voice, told=True) as urls:
        code, summary = run_sagas(job, urls, given, voice)
        if code not in (0, 1, 7):
            return code, summary
        with voice.during("reading the ledgers"):
            agrees = conclude(job, url, read_keys(job.orders), voice)
    return (code if agrees else 1), summary


def main(argv: Sequence[str] | None = None) -> int:
    """Run; 0 when all is well, 1 when something is stuck or the ledgers disagree, else as `sagacity run`."""
    given, voice = _arguments(argv), Voice()
    job = Job.of(given)
    if not given.services_only:
        # Ended from outside is ended as by Ctrl-C: the sagas first, then the services.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if given.services_only:
            return keep_up(job, voice)
        code, summary = asyncio.run(_with_store(job, given, voice))
    except (CannotRunError, SagacityError, OSError) as fault:
        print(f"sagas.run: {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(summary, end="", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
