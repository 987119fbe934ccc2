"""What a chaos test has to say: figures, violations, and one verdict, as a table and as a file."""

import asyncio
import json
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.chaos.__main__ import Options
from tests.chaos.harness.processes import ROOT

FOLDER = ROOT / ".sagacity" / "chaos"


class Report:
    """Figures and violations of one run."""

    def __init__(self, test: str, options: Options) -> None:
        self.test = test
        self.seed = options.seed
        self.short = not options.long
        self._asked = options.seeds
        self.figures: dict[str, Any] = {}
        self.violations: list[str] = []
        self._began = time.monotonic()
        print(f"== {test}: seed {self.seed}, {self.form} form", flush=True)

    def size(self, short: int, long: int) -> int:
        """How many faults or sagas: by the form, unless `--seeds` says another number."""
        return self._asked or (short if self.short else long)

    @property
    def form(self) -> str:
        return "short" if self.short else "long"

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def figure(self, name: str, value: Any) -> None:
        self.figures[name] = round(value, 4) if isinstance(value, float) else value

    def blame(self, what: str) -> None:
        """A violation. Told at once, and the test fails."""
        self.violations.append(what)
        if len(self.violations) <= 8:
            print(f"   VIOLATION: {what}", flush=True)

    def holds(self, good: bool, what: str) -> None:
        """Blame `what` where it is not good."""
        if not good:
            self.blame(what)

    def say(self, text: str) -> None:
        print(f"   [{self.seconds:5.1f} s] {text}", flush=True)

    def end(self) -> int:
        """Write the file, print the table; the exit code."""
        FOLDER.mkdir(parents=True, exist_ok=True)
        passed = not self.violations
        told = {
            "test": self.test,
            "seed": self.seed,
            "form": self.form,
            "figures": self.figures,
            "violations": self.violations[:100],
            "passed": passed,
            "seconds": round(self.seconds, 1),
        }
        path = FOLDER / f"{self.test}.json"
        path.write_text(json.dumps(told, indent=2, default=str) + "\n")
        width = max((len(name) for name in self.figures), default=0)
        for name, value in self.figures.items():
            print(f"   {name.ljust(width)}  {value}")
        verdict = "passed" if passed else f"FAILED: {len(self.violations)} violations"
        print(f"== {self.test}: {verdict} in {self.seconds:.1f} s ({_shown(path)})", flush=True)
        if not passed:
            print(f"   again: python -m tests.chaos {self.test} --seed {self.seed} --{self.form}")
        return 0 if passed else 1


def played(name: str, options: Options, test: Callable[[Report], Awaitable[None]]) -> int:
    """Run a test to its report; the exit code. What breaks it off is a violation; Ctrl-C ends it with 130."""
    report = Report(name, options)
    try:
        asyncio.run(_told(test, report))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print(f"== {name}: interrupted; what it had started is ended", flush=True)
        return 130
    except Exception as error:
        traceback.print_exception(error)
        report.blame(f"the test broke off: {type(error).__name__}: {error}")
    return report.end()


async def _told(test: Callable[[Report], Awaitable[None]], report: Report) -> None:
    await test(report)


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
