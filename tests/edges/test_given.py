"""What an operator gives with an act is as secret as what a saga keeps: nobody reads it in any face."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from sagacity import Secret
from sagacity.definition.project import Project
from sagacity.model.operating import Role
from sagacity.orchestrator import Orchestrator
from sagacity.testing import until
from sagacity.web import given
from sagacity.web.secrets import HIDDEN, covered, found
from tests.edges.guarded import Guarded
from tests.edges.test_office_api import working
from tests.edges.test_seen import CANARIES, CARD, Charge, reached

FLOW = Charge.flow
WORD = CANARIES["m"]


@pytest.fixture
async def vault(tmp_path: Path) -> AsyncIterator[Guarded]:
    async with await Orchestrator.open(
        f"sqlite:///{tmp_path}/vault.db", project=Project.of(Charge), accept_loss=True
    ) as sagas:
        yield Guarded(sagas)


# --- what is shown of it ----------------------------------------------------------------------------------


def test_a_signals_data_is_covered_by_the_type_that_the_flow_declares_for_it() -> None:
    args = {"name": "said", "data": {"word": WORD}}
    assert given.shown([FLOW], "signal", args) == {"name": "said", "data": {"word": HIDDEN}}
    assert list(given.values([FLOW], "signal", args)) == [WORD]


@pytest.mark.parametrize("data", [WORD, {"wrod": WORD}, [WORD], {"word": {"deep": WORD}}])
def test_what_does_not_fit_its_type_is_hidden_whole(data: Any) -> None:
    args = {"name": "said", "data": data}
    assert given.shown([FLOW], "signal", args) == {"name": "said", "data": HIDDEN}
    assert list(given.values([FLOW], "signal", args)) == [WORD]


def test_of_a_signal_or_a_flow_that_is_not_known_nothing_is_shown() -> None:
    args = {"name": "siad", "data": {"word": WORD}}
    assert given.shown([FLOW], "signal", args) == {"name": "siad", "data": HIDDEN}
    assert given.shown([None], "skip", {"result": {"seal": WORD}}) == {"result": HIDDEN}


def test_a_skips_result_is_covered_by_its_steps_type_and_without_a_step_by_that_which_it_fits() -> None:
    result = {"seal": WORD, "shown": "open"}
    for more in ({}, {"step": "take"}):
        assert (
            given.shown([FLOW], "skip", {"result": result} | more)
            == {"result": {"seal": HIDDEN, "shown": "open"}} | more
        )
    assert given.shown([FLOW], "skip", {"result": {"other": WORD}, "landed": "yes"}) == {
        "result": HIDDEN,
        "landed": "yes",
    }


def test_what_has_no_secret_in_its_type_and_other_verbs_stay_as_they_are() -> None:
    for verb, args in (
        ("skip", {"step": "keep", "result": None}),
        ("force", {"to": "done"}),
        ("pause", {}),
        ("signal", {"name": "said"}),
    ):
        assert given.shown([FLOW], verb, args) == args


def test_a_field_is_known_by_its_aliases_and_what_no_field_is_known_by_is_hidden() -> None:
    class Odd(BaseModel):
        card: Annotated[str, Secret] = Field(default="", alias="cardNumber")
        plain: str = ""

    value = {"cardNumber": "one-secret", "plain": "open", "crad": "two-secret"}
    assert covered(Odd, value) == {"cardNumber": HIDDEN, "plain": "open", "crad": HIDDEN}
    assert sorted(found(Odd, value)) == ["one-secret", "two-secret"]


# --- in every face ------------------------------------------------------------------------------------------


async def faces(vault: Guarded, plans: list[str], sagas: list[str], *, name: str) -> dict[str, str]:
    """Everything that a viewer of this name can read about these plans and sagas."""
    each = [f"/v1/plans/{plan}" for plan in plans] + [f"/plans/{plan}" for plan in plans]
    of_one = ("/v1/sagas/{}/history", "/sagas/{}", "/sagas/{}/lines", "/v1/sagas/{}")
    each += [path.format(saga) for saga in sagas for path in of_one]
    each += ["/v1/plans", "/v1/operations", "/operations", "/v1/audit", "/audit", "/v1/attention", "/"]
    read = {}
    async with vault.caller(await vault.token(name, Role.VIEWER)) as eye:
        for path in each:
            answer = await eye.get(path)
            assert answer.status_code == 200, (path, answer.text)
            read[path] = answer.text
    return read


async def test_what_is_given_with_an_act_is_read_in_no_face_before_it_is_applied_nor_after(
    vault: Guarded,
) -> None:
    root = await vault.token("ada", Role.ADMIN, kind="person")
    async with vault.caller(root) as client:
        async with working(vault.sagas):
            body = {"definition": "Charge", "input": {"id": "c1", "card": CARD}}
            assert (await client.post("/v1/sagas", json=body)).status_code == 201
            saga = (await reached(client, "c1", "waiting"))["id"]
            plans = []
            for verb, args in (
                ("signal", {"name": "said", "data": {"word": WORD}}),
                ("signal", {"name": "said", "data": {"wrod": WORD}}),
                ("skip", {"step": "take", "result": {"seal": WORD, "shown": "open"}, "landed": "yes"}),
            ):
                made = await client.post("/v1/plans", json={"verb": verb, "sagas": [saga], "args": args})
                assert made.status_code == 201, made.text
                assert "canary" not in made.text
                plans.append(made.json()["plan"]["id"])
            for path, text in (await faces(vault, plans, [saga], name="eye")).items():
                assert "canary" not in text, path
            done = await client.post(f"/v1/plans/{plans[0]}/apply", json={"reason": f"{WORD} was the word"})
            assert done.status_code == 200, done.text
            assert "canary" not in done.text
            await reached(client, "c1", "committed")
        read = await faces(vault, plans, [saga], name="late")
    for path, text in read.items():
        assert "canary" not in text, path
    for path in (f"/v1/plans/{plans[0]}", f"/v1/sagas/{saga}/history", "/v1/audit"):
        assert f'"args":{{"data":{{"word":"{HIDDEN}"}},"name":"said"}}' in read[path], path


async def test_what_is_given_to_many_at_once_is_read_nowhere_either(vault: Guarded) -> None:
    """Nor what one of them keeps, and an outcome repeats: not of the first twenty alone."""
    root = await vault.token("ada", Role.ADMIN, kind="person")
    async with vault.caller(root) as client:
        ids = []
        for n in range(23):
            card = CARD | {"number": f"canary-of-{n:03}"}
            body = {"definition": "Charge", "input": {"id": f"m{n}", "card": card}}
            ids.append((await client.post("/v1/sagas", json=body)).json()["id"])
        args = {"name": "said", "data": {"wrod": WORD}}
        made = await client.post("/v1/plans", json={"verb": "signal", "sagas": ids, "args": args})
        assert made.status_code == 201, made.text
        plan = made.json()["plan"]["id"]
        done = await client.post(f"/v1/plans/{plan}/apply", json={"reason": "all of them at once"})
        assert done.status_code == 200, done.text
        async with working(vault.sagas):

            async def refused() -> bool:
                one = (await client.get(f"/v1/plans/{plan}")).json()
                return {outcome["state"] for outcome in one["outcomes"]} == {"refused"}

            await until(refused)
            read = await faces(vault, [plan], [ids[0], ids[-1]], name="eye")
    for path, text in read.items():
        assert "canary" not in text, path
