"""The notification outlet's Python hook: functions that the project names are told of every end."""

import json

from tests.edges.shop import Shop

HOOK = '''
"""Write every notice down."""

import json
from pathlib import Path


def told(notice) -> None:
    with Path("told.jsonl").open("a") as file:
        file.write(json.dumps({"kind": notice.kind, **json.loads(notice.data)}) + "\\n")
'''


def test_a_function_that_the_project_names_is_told_of_every_end(shop: Shop) -> None:
    (shop.folder / "hook.py").write_text(HOOK)
    (shop.folder / "pyproject.toml").write_text('[tool.sagacity]\nlisteners = ["hook:told"]\n')
    shop.run("Sale", {"sale_id": "s1", "amount": "1.10"}, {"sale_id": "poor", "amount": "5000"})
    told = [json.loads(line) for line in (shop.folder / "told.jsonl").read_text().splitlines()]
    assert {(one["key"], one["kind"]) for one in told} == {("s1", "committed"), ("poor", "rolled_back")}


def test_a_listener_that_is_no_function_is_named(shop: Shop) -> None:
    (shop.folder / "pyproject.toml").write_text('[tool.sagacity]\nlisteners = ["json:nothing"]\n')
    said = shop.run("Sale", {"sale_id": "s1", "amount": "1.10"})
    assert said.code != 0
    assert "listeners: 'json:nothing' is no function" in said.err
