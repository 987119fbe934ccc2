"""docs/performance.md and its plots: made of a run's results and of nothing else."""

import copy
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks.chart import line_chart
from benchmarks.page import RATIOS, main, page, plots
from benchmarks.summary import summary

RUN = {"sagas": 1000.0, "per_second": 500.0, "cpu": 0.5, "server_cpu": 0.25, "p50": 0.02, "p99": 0.04}
LOOKS = {f"{what}_p99": 0.0123 for what in ("list", "show", "claim")}


@pytest.fixture
def found() -> dict[str, Any]:
    """The results of a whole run."""
    results: dict[str, Any] = {
        "machine": {
            "date": "2026-01-05",
            "processors": "2",
            "memory": "8 GiB",
            "system": "Linux",
            "dbos": "3",
        },
        "absent": {},
        "rounds": 3,
        "cases": {
            "A": {"ours": RUN | {"per_second": 2000.0}, "dbos": RUN, "restate": RUN, "floor": RUN},
            "B": {"ours": RUN, "dbos": RUN, "floor-alone": RUN | {"p50": 0.005}},
            "F": {"ours-sqlite": {name: RUN[name] for name in RUN if name != "server_cpu"}},
        },
        "E": {"1": RUN, "2": RUN, "4": RUN},
        "G": {"alone": RUN, "many": RUN, "joined": RUN},
        "ladder": {"ours": {"1": 100.0, "50": 2000.0}, "dbos": {"1": 90.0, "50": 95.0}},
        "growth": {"10000": {"run": RUN} | LOOKS, "1000000": {"run": RUN} | LOOKS},
        "waiting": {"waiting": 100000, "memory": 90.0, "idle_cpu": 0.01, "wake_p50": 0.01, "wake_p99": 0.02},
        "recovery": {"in_flight": 10000, "moving": 15.5, "ended": 19.0, "lease": 15.0},
        "H": {"real": RUN, "dry": RUN},
    }
    return results | {"summary": summary(results)}


def test_the_page_tells_figures_machine_versions_and_how_to_repeat_it(found: dict[str, Any]) -> None:
    text = page(found, "## What was optimised\n\nA hand-written line.\n")
    assert "Measured on 2026-01-05" in text
    assert "Versions: dbos 3." in text
    assert "| **A** 3-step sagas, 50 at once | Sagacity | 2,000 | 20.0 ms | 40.0 ms | 0.75 |" in text
    assert "| **B** one at a time | the floor | 500 | 5.0 ms | 40.0 ms | 0.75 |" in text
    assert "| B: median time, Sagacity to the floor | 4 | |" in text.replace("  ", " ")
    assert "| B: median time, the floor to the better peer | 0.25 | |" in text.replace("  ", " ")
    assert "| **F** as A, on SQLite | Sagacity | 500 | 20.0 ms | 40.0 ms | 0.50 |" in text
    assert "| A: Sagacity to DBOS | 4 | at least 20 |" in text
    assert "After\n15.5 s another one has moved" in text
    assert "| a dry run, kept with its report | 500 |" in text
    assert "| H: processor time, dry run to real run | 1 | under 1.3 |" in text
    assert "`make bench`" in text
    assert text.endswith("A hand-written line.\n")


def test_the_page_says_who_was_absent_and_why(found: dict[str, Any]) -> None:
    alone = copy.deepcopy(found)
    del alone["cases"]["A"]["restate"]
    alone |= {"absent": {"restate": "npm is not on this machine"}, "summary": summary(alone)}
    text = page(alone, "")
    assert "**restate is absent**: npm is not on this machine." in text
    assert "| A: Sagacity to Restate | absent | at least 4 |" in text
    assert "Restate | 500" not in text


def test_a_part_that_was_not_measured_has_no_section(found: dict[str, Any]) -> None:
    less = {name: found[name] for name in found if name not in ("E", "growth", "waiting")}
    text = page(less, "")
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## The ratios",
        "## Side by side",
        "## G: only started",
        "## H: dry runs, one after the other",
        "## By how many are under way",
        "## After a crash",
        "## Once more, on your machine",
    ]


def test_every_ratio_of_the_summary_is_on_the_page() -> None:
    assert list(RATIOS) == [name for name in RATIOS if name in summary({})]
    assert summary({}).keys() == RATIOS.keys()


def test_the_command_writes_the_page_and_both_plots(found: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps(found))
    assert main([str(tmp_path / "results.json"), "--docs", str(tmp_path / "docs")]) == 0
    text = (tmp_path / "docs" / "performance.md").read_text(encoding="utf-8")
    for name in ("throughput.svg", "history.svg"):
        assert f"(img/{name})" in text
        root = ElementTree.parse(tmp_path / "docs" / "img" / name).getroot()
        assert root.attrib["aria-label"]


def test_no_plot_is_drawn_of_what_was_not_measured() -> None:
    assert list(plots({"growth": {}})) == []


def test_a_chart_shows_each_point_in_its_frame_and_names_apart() -> None:
    picture = line_chart(
        "Rate", "at once", {"one": [(1, 5.0), (200, 910.0)], "two": [(1, 4.0), (200, 905.0)]}
    )
    root = ElementTree.fromstring(picture)
    space = "{http://www.w3.org/2000/svg}"
    dots = [(float(dot.attrib["cx"]), float(dot.attrib["cy"])) for dot in root.iter(f"{space}circle")]
    assert len(dots) == 4
    assert all(0 < x < 760 and 0 < y < 380 for x, y in dots)
    assert dots[1][1] < dots[0][1]  # more is higher
    heights = [float(t.attrib["y"]) for t in root.iter(f"{space}text") if t.attrib.get("class") == "name"]
    assert abs(heights[0] - heights[1]) >= 16


@pytest.mark.parametrize(("highest", "lines"), [(1.0, 5), (910.0, 5), (2000.0, 5), (0.0, 5), (37.0, 5)])
def test_a_scale_has_round_numbers(highest: float, lines: int) -> None:
    picture = line_chart("Rate", "at once", {"one": [(1, highest)]})
    marks = picture.count('class="grid" d=')
    assert 3 <= marks <= lines + 1
