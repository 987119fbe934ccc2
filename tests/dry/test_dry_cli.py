"""`sagacity dry-run`: from the first run to a compared one."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLOWS = """
from tests.dry.flows import *
"""


class Desk:
    """A folder with inputs, in which commands are typed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("sale.json", {"show": "hamlet"})
        self.write("careless.json", {"name": "x", "amount": "5"})

    def write(self, name: str, value: Any) -> None:
        (self.folder / name).write_text(json.dumps(value))

    def says(self, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "sagacity", *arguments],
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{ROOT / 'engine'}:{ROOT}", **settings},
            capture_output=True,
            text=True,
            timeout=100,
        )

    def rehearses(self, flow: str, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        return self.says("dry-run", f"tests.dry.flows:{flow}", *arguments, **settings)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_without_a_store_it_is_rehearsed_on_nothing_and_nothing_is_made(desk: Desk) -> None:
    said = desk.rehearses("Sale", "--input", "sale.json")
    assert said.returncode == 0, said.stderr
    assert "would commit" in said.stdout
    assert "rehearsed on nothing" in said.stderr
    assert sorted(p.name for p in desk.folder.iterdir()) == ["careless.json", "sale.json"]


def test_a_run_is_stored_and_shown_again_by_its_id(desk: Desk) -> None:
    assert desk.says("migrate", "--store", "sqlite:///live.db").returncode == 0
    store = ("--store", "sqlite:///live.db")
    first = desk.rehearses("Sale", "-i", "sale.json", "--fault", "effect take_seat: lost", *store)
    assert first.returncode == 0, first.stderr
    run = first.stdout.splitlines()[1].split()[1].rstrip(",")
    again = desk.says("dry-run", run, *store)
    assert (again.returncode, again.stdout) == (0, first.stdout)
    told = json.loads(desk.says("dry-run", run, "-o", "json", *store).stdout)
    assert (told["run"], told["verdict"], told["lane"]) == (run, "would commit", "dry")
    assert desk.says("list", *store).stdout == ""
    assert desk.says("dry-run", "not-an-id", *store).returncode == 2
    assert desk.says("dry-run", "01a1fe4e-3fb4-73bb-b8ed-835acc51eb4a", *store).returncode == 4


def test_a_flow_with_a_gap_fails_the_command_and_its_scenario_is_a_test_that_fails(desk: Desk) -> None:
    said = desk.rehearses("Careless", "-i", "careless.json", "--explore", "--minimise")
    assert said.returncode == 1
    assert "must not go live" in said.stdout
    test = said.stdout.partition("# The smallest scenario")[2]
    assert test.count("\n#   ") <= 3
    (desk.folder / "test_found.py").write_text(
        "import asyncio\n#" + test + f"\nasyncio.run({test.partition('async def ')[2].partition('(')[0]}())\n"
    )
    ran = subprocess.run(
        [sys.executable, "test_found.py"],
        cwd=desk.folder,
        env={"PYTHONPATH": f"{ROOT / 'engine'}:{ROOT}"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 1
    assert "AssertionError" in ran.stderr
    assert "LEFT STANDING" in ran.stderr


def test_chaos_is_the_same_for_the_same_seed_and_finds_the_gap(desk: Desk) -> None:
    desk.write("chaos.json", {"seed": 5, "runs": 30, "rates": {"crash *": 0.0, "*": 0.2}})
    first = desk.rehearses("Careless", "-i", "careless.json", "--chaos", "chaos.json", "-o", "json")
    again = desk.rehearses("Careless", "-i", "careless.json", "--chaos", "chaos.json", "-o", "json")
    assert first.returncode == 1, first.stderr
    assert first.stdout == again.stdout
    told = json.loads(first.stdout)
    assert told["runs"] == 30
    assert sum(told["ends"].values()) == 30
    assert told["failing"]
    sound = desk.rehearses("Sale", "-i", "sale.json", "--chaos", "chaos.json", "--minimise")
    assert sound.returncode == 0, sound.stdout


def test_a_script_and_a_module_of_mocks_are_taken_from_files(desk: Desk) -> None:
    desk.write("no.json", {"signals": {"consent": {"data": {"approved": False}}}})
    (desk.folder / "mocks.py").write_text("class Prices:\n    def price(self, show):\n        return None\n")
    said = desk.rehearses("Sale", "-i", "sale.json", "--script", "no.json")
    assert "would roll back" in said.stdout
    wrong = desk.rehearses("Sale", "-i", "sale.json", "--mocks", "mocks.py")
    assert wrong.returncode == 1
    assert "mocks.py:2 in price" in wrong.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("Sale", "-i", "not_there.json"), 2, "not_there.json"),
        (("Nothing", "-i", "sale.json"), 4, "no flow"),
        (("Sale", "-i", "careless.json"), 2, "unknown field"),
        (("Sale", "-i", "sale.json", "--fault", "effect x: explodes"), 2, "explodes"),
        (("Sale", "-i", "sale.json", "--script", "sale.json"), 2, "show"),
    ],
)
def test_what_cannot_be_rehearsed_is_said_in_a_sentence(
    desk: Desk, arguments: tuple[str, ...], code: int, words: str
) -> None:
    said = desk.rehearses(*arguments)
    assert said.returncode == code, said.stderr
    assert words in said.stderr
    assert "Traceback" not in said.stderr


def test_many_inputs_are_told_in_a_line_each_and_one_that_cannot_be_played_fails(desk: Desk) -> None:
    lines = [{"show": "hamlet"}, {"show": "faust"}, {"sow": "a typing error"}]
    (desk.folder / "many.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    said = desk.rehearses("Sale", "--input", "many.jsonl")
    assert said.returncode == 1, said.stderr
    told = said.stdout.splitlines()
    assert [line.split()[:3] for line in told[:2]] == [
        ["would", "commit", "hamlet"],
        ["would", "commit", "faust"],
    ]
    assert told[2].startswith("! 3: ")
    assert told[3] == "3 dry runs: 1 could not be played, 2 would commit"


def test_a_mocks_module_makes_the_script_of_each_input(desk: Desk) -> None:
    (desk.folder / "minds.py").write_text(
        "from datetime import timedelta\n"
        "from sagacity.dry import Arrival, Script\n"
        "def script(given):\n"
        "    never = Arrival(never=given['show'] == 'faust')\n"
        "    return Script(signals={'consent': never}, patience=timedelta(hours=1))\n"
    )
    (desk.folder / "two.jsonl").write_text('{"show": "hamlet"}\n{"show": "faust"}\n')
    said = desk.rehearses("Sale", "--input", "two.jsonl", "--mocks", "minds.py")
    assert said.returncode == 0, said.stderr
    assert said.stdout.splitlines()[-1] == "2 dry runs: 1 would commit, 1 would wait"


def test_what_was_rehearsed_is_listed_shown_and_verified_in_its_own_lane(desk: Desk) -> None:
    assert desk.says("migrate", "--store", "sqlite:///live.db").returncode == 0
    store = ("--store", "sqlite:///live.db")
    run = desk.rehearses("Sale", "-i", "sale.json", "-o", "ids", *store).stdout.strip()
    assert desk.says("list", "-o", "ids", *store).stdout == ""
    assert desk.says("list", "--lane", "dry", "-o", "ids", *store).stdout.strip() == run
    shown = desk.says("show", run, "--lane", "dry", *store)
    assert (shown.returncode, "lane dry" in shown.stdout) == (0, True), shown.stderr
    assert "take seat" in desk.says("log", run, "--lane", "dry", *store).stdout
    told = desk.says("verify", "--lane", "dry", *store)
    assert (told.returncode, "1 sagas" in told.stdout + told.stderr) == (0, True), told.stderr
    assert desk.says("show", run, *store).returncode == 4


def test_real_sagas_are_played_again_by_changed_code_and_what_differs_is_named(desk: Desk) -> None:
    flow = (ROOT / "tests" / "dry" / "flows.py").read_text()
    store = ("--store", "sqlite:///live.db")
    (desk.folder / "shop.py").write_text(flow.replace("a dry run called the real", "nobody serves"))
    source = (desk.folder / "shop.py").read_text()
    real = source.replace('raise AssertionError("nobody serves theatre")', "return None  # type: ignore")
    real = real.replace("return None  # type: ignore", "return Seat(number=7)", 1)
    (desk.folder / "shop.py").write_text(
        real.replace(
            'raise AssertionError("a dry run asked the real prices")', 'return Price(amount="12.50")'
        )
    )
    (desk.folder / "plain.jsonl").write_text('{"show": "lear"}\n{"show": "macbeth"}\n')
    ran = desk.says("run", "shop.py:PlainSale", "--input", "plain.jsonl", *store)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    same = desk.says("dry-run", "shop.py:PlainSale", "--shadow", "5", *store)
    assert same.returncode == 0, same.stdout + same.stderr
    assert same.stdout.splitlines()[-1] == "2 real sagas played again: 2 go the same way, 0 differ"
    changed = (
        (desk.folder / "shop.py").read_text().replace("    def look_at_price(self", "    def glance(self")
    )
    (desk.folder / "shop.py").write_text(changed)
    other = desk.says("dry-run", "shop.py:PlainSale", "--shadow", "1", *store)
    assert other.returncode == 1
    assert "real  look_at_price → sold" in other.stdout
    assert "dry   glance → sold" in other.stdout
