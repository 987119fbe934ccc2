"""One call of the command line: what every command has at hand.

It protects one idea: a command says what it wants to show, and this decides in which form and
where to. So no command can mix prose into data that somebody pipes.
"""

import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sagacity.cli.layout import Column, screen_width, table

if TYPE_CHECKING:
    from sagacity.cli.stores import Place
    from sagacity.config import Settings
    from sagacity.definition.project import Project
    from sagacity.orchestrator import Orchestrator


class Output(StrEnum):
    """The forms of `-o`."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    IDS = "ids"


class LaneName(StrEnum):
    """The two lanes of a store."""

    LIVE = "live"
    DRY = "dry"


LaneOption = Annotated[
    LaneName,
    typer.Option(
        "--lane", metavar="LANE", help="`dry`: what was rehearsed and kept, which nobody else sees."
    ),
]


@dataclass(kw_only=True)
class Call:
    """What one command line asked for beside the command's own arguments."""

    output: Output = Output.TABLE
    given_store: str | None = None
    accept_loss: bool = False
    lane: str = "live"
    tells: bool = field(default=False, init=False)

    @cached_property
    def settings(self) -> "Settings":
        """The settings of this process; `--store` stands over the environment."""
        from sagacity.config import load

        return load(store=self.given_store)

    @property
    def paste_store(self) -> str | None:
        """What a command to paste must say behind `--store` to reach the same store; None: nothing.

        An address with a password in it is not repeated on a screen.
        """
        given = self.given_store
        return None if given is None or "@" in given else given

    @property
    def at_terminal(self) -> bool:
        """Whether a person can be asked."""
        return sys.stdin.isatty() and sys.stderr.isatty()

    @asynccontextmanager
    async def place(self) -> AsyncIterator["Place"]:
        """The store's address, with its private server up where it has one."""
        from sagacity.cli.stores import place

        async with place(self.settings.store) as found:
            yield found

    @asynccontextmanager
    async def orchestrator(
        self, project: "Project | None" = None, *, makes: bool = False, patient: bool = False
    ) -> AsyncIterator["Orchestrator"]:
        """The orchestrator on the chosen store.

        Args:
            project: the flows that are known.
            makes: where there is no store, make one; a mistyped name must not become an empty one.
            patient: its calls wait for a database that is away.

        Raises:
            Stop: there is no such store.
        """
        if not makes:
            from sagacity.cli.stores import check_there

            check_there(self.settings.store)
        async with self.place() as place, await self.opened(place, project, patient=patient) as opened:
            yield opened

    async def opened(
        self, place: "Place", project: "Project | None" = None, *, patient: bool = False
    ) -> "Orchestrator":
        """The orchestrator at `place`; the caller closes it. Without a project it knows no flow."""
        from datetime import timedelta

        from sagacity.definition.project import Project
        from sagacity.orchestrator import Orchestrator

        if not self.tells:
            self.tell_on_stderr("warning")
        return await Orchestrator.open(
            place.url,
            project=project or Project.of(),
            tenant=self.settings.tenant,
            lane=self.lane,
            accept_loss=self.accept_loss,
            patience=self.settings.patience if patient else timedelta(0),
        )

    def tell_on_stderr(self, level: str | None = None) -> None:
        """Let events be told on stderr from now on, by default as much as the settings say."""
        from sagacity.telemetry import set_up

        set_up(level=level or self.settings.log_level, form=self.settings.log_format)
        self.tells = True

    def say(self, text: str) -> None:
        """A word to the person, on stderr."""
        print(text, file=sys.stderr, flush=True)

    def text(self, text: str) -> None:
        """Data that is text already, on stdout."""
        print(text, flush=True)

    def one(self, view: Any, *, text: str | Callable[[], str], id_: object) -> None:
        """One view, in the form that was asked for."""
        from sagacity.cli import shapes

        if self.output is Output.TABLE:
            self.text(text if isinstance(text, str) else text())
        elif self.output is Output.IDS:
            self.text(str(id_))
        else:
            self._bytes(shapes.dump(shapes.document(view), indent=self.output is Output.JSON))

    def many(
        self,
        items: Sequence[Any],
        *,
        columns: Sequence[Column],
        id_: Callable[[Any], object],
        empty: str,
        after: str | None = None,
    ) -> None:
        """Many views, in the form that was asked for; `empty` is said on stderr when there are none."""
        from sagacity.cli import shapes

        if self.output is Output.JSON:
            self._bytes(shapes.dump(shapes.page(items, after=after), indent=True))
        elif self.output is Output.JSONL:
            for item in items:
                self._bytes(shapes.dump(shapes.document(item)))
        elif self.output is Output.IDS:
            for item in dict.fromkeys(str(id_(item)) for item in items):
                self.text(item)
        elif items:
            self._table(items, columns)
        else:
            self.say(empty)

    def _bytes(self, data: bytes) -> None:
        sys.stdout.write(data.decode() + "\n")
        sys.stdout.flush()

    def _table(self, items: Sequence[Any], columns: Sequence[Column]) -> None:
        """A table that fits the screen; in colour at a terminal."""
        lines = table(items, columns, width=screen_width())
        if not sys.stdout.isatty():
            for line in lines:
                print("".join(text for text, _ in line))
            sys.stdout.flush()
            return
        from rich.console import Console
        from rich.text import Text

        console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
        for line in lines:
            console.print(Text.assemble(*line), soft_wrap=True)
