"""Annotations may be postponed: a flow in a module that begins with `from __future__ import annotations`."""

from __future__ import annotations

from pydantic import BaseModel

from sagacity import About, Compensation, Participant, Saga, Stage, State, operation, step
from tests.unit.definition_cases import Given, Receipt, Shop


class Shelf(Participant, type="shelf"):
    """Keeps things."""

    class State(BaseModel):
        things: list[str] = []

    @operation()
    def put(self, state: State, thing: str) -> State:
        return Shelf.State(things=[*state.things, thing])


class Return(Compensation):
    """Takes one thing back."""

    async def run(self, given: Given, receipt: Receipt, shop: Shop, about: About) -> None:
        await shop.give_back(receipt)


class Buy(Saga, version=1):
    """Buys one thing."""

    class Input(BaseModel):
        id: str

    a = State(initial=True)
    b = State()
    c = State(final=True)
    go = a.to(b)
    keep = b.to(c)

    @step(go, undo=Return)
    async def buy(self, order: Input, shop: Shop) -> Receipt:
        return await shop.sell(order.id, key="")

    @step(keep)
    def put_away(self, order: Input, receipt: Receipt | None, stage: Stage) -> None:
        stage(Shelf, order.id).put(receipt.number if receipt else "")


def test_postponed_annotations_mean_what_they_say() -> None:
    buy, put_away = Buy.flow.steps["buy"], Buy.flow.steps["put_away"]
    assert [(p.name, p.kind, p.optional) for p in put_away.params] == [
        ("order", "input", False),
        ("receipt", "result", True),
        ("stage", "stage", False),
    ]
    assert buy.params[0].type is Buy.Input
    assert buy.result_type is Receipt
    assert put_away.result_type is None
    assert buy.undo is not None
    assert [p.kind for p in buy.undo.params] == ["input", "result", "external", "saga"]
    assert Shelf.operations["put"].arguments.model_fields["thing"].annotation is str
