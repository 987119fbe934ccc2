"""`python -m benchmarks.page [RESULTS]`: docs/performance.md and its two plots, made of one run's results.

Every figure on the page comes from the file; what people have to say of it stands in `optimised.md` beside
this module and is put in unchanged.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.chart import line_chart
from benchmarks.measure import ROOT, cpu_per_saga
from benchmarks.place import FOLDER

NAMES = {
    "ours": "Sagacity",
    "dbos": "DBOS",
    "restate": "Restate",
    "floor": "the floor",
    "floor-alone": "the floor",
    "ours-sqlite": "Sagacity",
    "dbos-sqlite": "DBOS",
}
TOLD = {
    "A": "**A** 3-step sagas, 50 at once",
    "B": "**B** one at a time",
    "C": "**C** as A, one in five rolled back",
    "D": "**D** as A, half of them on 10 hot objects",
    "F": "**F** as A, on SQLite",
    "FB": "**F** one at a time, on SQLite",
}
RATIOS = {
    "a_vs_dbos": ("A: Sagacity to DBOS", "at least 20"),
    "a_vs_restate": ("A: Sagacity to Restate", "at least 4"),
    "a_vs_floor": ("A: Sagacity to the floor", ""),
    "b_p50_vs_best": ("B: median time, Sagacity to the better peer", "under 0.5"),
    "b_p50_vs_floor": ("B: median time, Sagacity to the floor", ""),
    "b_floor_vs_best": ("B: median time, the floor to the better peer", ""),
    "c_vs_dbos": ("C: Sagacity to DBOS", ""),
    "c_vs_restate": ("C: Sagacity to Restate", ""),
    "f_vs_dbos_sqlite": ("F: Sagacity to DBOS, both on SQLite", "at least 14"),
    "e_cpu_2_vs_1": ("E: processor time per saga, 2 processes to 1", "at most 1.15"),
    "e_rate_2_vs_1": ("E: sagas a second, 2 processes to 1", ""),
    "e_share_of_cores": ("E: share of all cores that 2 processes and the server keep busy", "at least 0.85"),
    "growth_1m": ("growth: processor time per saga, on 1,000,000 to on 10,000", "under 1.2"),
    "h_dry_vs_real": ("H: processor time, dry run to real run", "under 1.3"),
}
NOTES = Path(__file__).with_name("optimised.md")
Found = Mapping[str, Any]


def page(found: Found, notes: str) -> str:
    """The page's text."""
    parts = [_head(found), _ratios(found), _cases(found)]
    parts += [part(found) for name, part in _MORE.items() if name in found]
    return "\n\n".join([*parts, _REPEAT, notes.strip()]) + "\n"


def _head(found: Found) -> str:
    machine = found["machine"]
    versions = [f"{name} {value}" for name, value in machine.items() if name not in _PLAIN]
    absent = "".join(f"\n\n**{peer} is absent**: {why}." for peer, why in found["absent"].items())
    return f"""# How fast it is

Measured on {machine["date"]}: {machine["processors"]}, {machine["memory"]}, {machine["system"]}. Medians
of {found["rounds"]} rounds, in which the contenders took turns; each with a process of its own, the starter
in it, and full durability. Figures of another machine are other figures: the ratios are what to look at.

Versions: {", ".join(versions)}.{absent}"""


_PLAIN = ("date", "processors", "memory", "system")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _ratios(found: Found) -> str:
    said = found["summary"]
    rows = [
        [what, "absent" if said.get(name) is None else f"{said[name]:g}", wanted]
        for name, (what, wanted) in RATIOS.items()
    ]
    return "## The ratios\n\n" + table(["what", "measured", "aim"], rows)


def _cases(found: Found) -> str:
    rows = [
        [TOLD[case], NAMES[who], f"{one['per_second']:,.0f}", *_times(one), _cpu(one)]
        for case in TOLD
        for who, one in found.get("cases", {}).get(case, {}).items()
    ]
    text = """A saga has three steps with an effect and its compensation each, two locked objects that
change when it commits, its log and its chain. DBOS and Restate run the same three steps, with
compensations written by hand, and without the locks: they have none that span objects. *The floor*
is the rows of A and B once more, in the same batches, written by bare asyncpg; in A its times are
those of a batch. Processor time is that of the worker and, where there is one, the server."""
    head = ["case", "who", "sagas/s", "p50", "p99", "processor ms per saga"]
    return f"## Side by side\n\n{text}\n\n{table(head, rows)}"


def _times(one: Found) -> tuple[str, str]:
    if "p50" not in one:
        return "", ""
    return _ms(one["p50"]), _ms(one["p99"])


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _cpu(one: Found) -> str:
    """Milliseconds of worker and server; of the worker alone where no server is known."""
    whole = cpu_per_saga(one)
    if whole is None and one.get("sagas"):
        whole = one["cpu"] / one["sagas"]
    return "" if whole is None else f"{whole * 1000:.2f}"


def _scaling(found: Found) -> str:
    rows = [
        [count, f"{one['per_second']:,.0f}", *_times(one), _cpu(one)] for count, one in found["E"].items()
    ]
    head = ["processes", "sagas/s", "p50", "p99", "processor ms per saga"]
    return "## E: more processes\n\nEach has 50 sagas of its own under way.\n\n" + table(head, rows)


def _starting(found: Found) -> str:
    told = {
        "alone": "`start`, 50 at once",
        "many": "`start_many`, 200 a call (times are a call's)",
        "joined": "`start` in the caller's transaction, with a row of its own; 50 at once",
    }
    rows = [[told[way], f"{one['per_second']:,.0f}", *_times(one)] for way, one in found["G"].items()]
    return "## G: only started\n\nNo worker runs.\n\n" + table(["how", "starts/s", "p50", "p99"], rows)


def _ladder(found: Found) -> str:
    return "## By how many are under way\n\n![Sagas a second against sagas under way](img/throughput.svg)"


def _growth(found: Found) -> str:
    rows = [
        [
            f"{int(history):,}",
            f"{at['run']['per_second']:,.0f}",
            _cpu(at["run"]),
            *(_ms(at[f"{what}_p99"]) for what in ("list", "show", "claim")),
        ]
        for history, at in found["growth"].items()
    ]
    head = ["finished sagas", "sagas/s (A)", "processor ms per saga", "list p99", "show p99", "claim p99"]
    picture = "![Processor time per saga against history](img/history.svg)"
    return f"## As history grows\n\n{table(head, rows)}\n\n{picture}"


def _waiting(found: Found) -> str:
    one = found["waiting"]
    return f"""## While sagas wait

With {one["waiting"]:,.0f} sagas that wait, an idle worker holds {one["memory"]:.0f} MiB and uses
{one["idle_cpu"]:.1%} of a processor. One that is told wakes up and ends within {_ms(one["wake_p50"])}
(median; p99 {_ms(one["wake_p99"])})."""


def _recovery(found: Found) -> str:
    one = found["recovery"]
    return f"""## After a crash

A worker with {one["in_flight"]:,.0f} sagas in the middle of an effect is killed (`kill -9`). After
{one["moving"]:.1f} s another one has moved every one of them, after {one["ended"]:.1f} s all have ended; the
lease is {one["lease"]:.0f} s."""


def _rehearsing(found: Found) -> str:
    told = {"real": "a real saga", "dry": "a dry run, kept with its report"}
    rows = [
        [told[how], f"{one['per_second']:,.0f}", f"{(cpu_per_saga(one) or 0) * 1000:.1f} ms"]
        for how, one in found["H"].items()
    ]
    return "## H: dry runs, one after the other\n\n" + table(["", "a second", "processor time"], rows)


_MORE = {
    "E": _scaling,
    "G": _starting,
    "H": _rehearsing,
    "ladder": _ladder,
    "growth": _growth,
    "waiting": _waiting,
    "recovery": _recovery,
}


_REPEAT = """## Once more, on your machine

`make bench` takes under 25 minutes and 20 GB. It sets the peers up below `.sagacity/bench`, in
environments of their own, starts a private PostgreSQL with default flush settings, measures, and ends
with the ratios as one line of JSON. `make bench ARGS='--only A,B'` does a part. `python -m
benchmarks.page` makes this page of the results. How each peer is set up stands at the top of its program
in `benchmarks/peers`."""


def plots(found: Found) -> Iterator[tuple[str, str]]:
    """File name and text of each plot that the results allow."""
    if "ladder" in found:
        series = {
            NAMES[who]: [(float(at), rate) for at, rate in rates.items()]
            for who, rates in found["ladder"].items()
        }
        yield "throughput.svg", line_chart("Sagas a second", "sagas under way", series)
    growth = [
        (float(history), cpu * 1000)
        for history, at in found.get("growth", {}).items()
        if (cpu := cpu_per_saga(at["run"])) is not None
    ]
    if growth:
        series = {"worker and server": growth}
        yield "history.svg", line_chart("Processor milliseconds per saga", "finished sagas", series)


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__)
    parser.add_argument("results", type=Path, nargs="?", default=FOLDER / "results.json")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder of the page; default: docs")
    given = parser.parse_args(argv)
    found = json.loads(given.results.read_text(encoding="utf-8"))
    (given.docs / "img").mkdir(parents=True, exist_ok=True)
    for name, picture in plots(found):
        (given.docs / "img" / name).write_text(picture, encoding="utf-8")
    notes = NOTES.read_text(encoding="utf-8") if NOTES.exists() else ""
    (given.docs / "performance.md").write_text(page(found, notes), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
