"""What becomes of a class body: its tables, its hash, its steps, and what their functions are given."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, TypeAdapter, create_model
from tenacity import stop_after_attempt

from sagacity import About, Compensation, Saga, Stage, State, awaits, cancel, exclusive, shared, spawns, step
from sagacity.definition.compile import Approval, ChildEnd, hash_of
from sagacity.definition.facts import Facts, decoded, encoded, read_input
from sagacity.definition.flow import Flow
from sagacity.definition.locks import in_order, object_name
from sagacity.definition.table import fire, initial, is_final, joined, next_steps
from sagacity.errors import InputError, MissingExternal
from sagacity.model.canonical import NULL, Json, JsonText, canonical
from sagacity.model.record import Lock, WaitsFor
from tests.unit.definition_cases import Given, Receipt, Shop

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Weight:
    """A result that is a dataclass."""

    grams: Decimal


class News(BaseModel):
    """What a signal carries."""

    text: str


class TakeBack(Compensation):
    """Takes less of the input than there is, and the result."""

    async def run(self, given: Given, receipt: Receipt, shop: Shop) -> None:
        await shop.give_back(receipt)


class Parcel(Saga, version=3, key="id"):
    """Send a parcel.

    Light ones go at once.
    """

    class Input(BaseModel):
        id: str
        owner: str = "nobody"
        at: datetime | None = None

    placed = State(initial=True)
    weighed = State()
    checked = State()
    paid = State()
    sent = State(final=True)
    dropped = State(final=True)

    weigh = placed.to(weighed)
    clear = weighed.to(paid, cond="is_light")
    hold = weighed.to(checked)
    allow = checked.to(paid)
    drop = checked.to(dropped)
    pay = paid.to(sent, unless="is_told") | paid.to(dropped)

    def participants(self, parcel: Input) -> Iterable[Lock]:
        yield shared("owner", parcel.owner)
        yield exclusive("parcel", parcel.id)
        yield exclusive("owner", parcel.owner)

    def is_light(self, weight: Weight) -> bool:
        return weight.grams < 100

    def is_told(self, news: News | None, receipt: Receipt) -> bool:
        return news is not None and receipt.number == news.text

    def more(self, parcel: Input, weight: Weight) -> Iterable[Lock]:
        yield exclusive("scale", weight.grams)

    @step(weigh)
    def put_on_scale(self, parcel: Input, about: About) -> Weight:
        return Weight(grams=Decimal(len(parcel.id)))

    @step(clear)
    def wave_through(self) -> None: ...

    @step(hold, locks=more)
    def set_aside(self, stage: Stage) -> None: ...

    told = awaits(allow, signal="customs.told", within=DAY, otherwise=drop, data=News)
    agreed = awaits(allow, approval="customs", within=2 * DAY, otherwise=cancel)

    @step(pay, undo=TakeBack)
    async def take_money(self, parcel: Input, shop: Shop, weight: Weight, news: News | None) -> Receipt:
        return await shop.sell(parcel.id, key="")


FLOW = Parcel.flow
INPUT = read_input(FLOW, {"id": "p1", "owner": "Ann"})


def facts(**results: Any) -> Facts:
    return Facts(FLOW, INPUT, {name: canonical(value) for name, value in results.items()})


def light(grams: str) -> dict[str, Any]:
    return {"put_on_scale": {"grams": grams}}


# --- the tables -------------------------------------------------------------------------------


def test_a_flow_knows_its_name_version_states_and_ends() -> None:
    assert (FLOW.name, FLOW.version, FLOW.key_field) == ("Parcel", 3, "id")
    assert FLOW.doc.splitlines()[0] == "Send a parcel."
    assert initial(FLOW) == ("placed",)
    assert list(FLOW.nodes) == ["placed", "weighed", "checked", "paid", "sent", "dropped"]
    assert is_final(FLOW, ("dropped",))
    assert not is_final(FLOW, ("paid",))
    assert FLOW.events_of_leaf["checked"] == ("allow", "drop")
    assert set(FLOW.externals) == {"shop"}
    assert set(FLOW.compensations) == {"TakeBack"}
    assert joined(FLOW, ("paid",)) is None


def test_steps_and_waits_stand_where_their_transitions_start() -> None:
    assert [s.name for s in FLOW.steps_at["weighed"]] == ["wave_through", "set_aside"]
    assert [w.name for w in FLOW.awaits_at["checked"]] == ["told", "agreed"]
    told, agreed = FLOW.awaits_at["checked"]
    assert (told.kind, told.signal, told.otherwise) == (WaitsFor.SIGNAL, "customs.told", "drop")
    assert (agreed.kind, agreed.signal, agreed.otherwise) == (WaitsFor.APPROVAL, "customs", "cancel")
    assert agreed.data_type is Approval
    assert agreed.within == 2 * DAY


def test_a_step_knows_whether_it_has_an_effect_and_how_it_is_undone() -> None:
    step_ = FLOW.steps["take_money"]
    assert (step_.effectful, step_.external, step_.is_async) == (True, "shop", True)
    assert step_.undo is not None
    assert [(p.name, p.kind) for p in step_.undo.params] == [
        ("given", "input"),
        ("receipt", "result"),
        ("shop", "external"),
    ]
    quiet = FLOW.steps["wave_through"]
    assert (quiet.effectful, quiet.external, quiet.undo) == (False, None, None)


def test_of_several_steps_the_first_that_its_guards_let_pass_is_taken() -> None:
    assert [s.name for s in next_steps(FLOW, ("weighed",), facts(**light("99")))] == ["wave_through"]
    assert [s.name for s in next_steps(FLOW, ("weighed",), facts(**light("100")))] == ["set_aside"]
    assert next_steps(FLOW, ("sent",), facts()) == ()


def test_a_single_step_is_taken_before_its_guards_can_ask_for_its_result() -> None:
    assert [s.name for s in next_steps(FLOW, ("paid",), facts())] == ["take_money"]
    after = facts(take_money={"number": "7"}, told={"text": "7"})
    assert fire(FLOW, ("paid",), "pay", after) == ("dropped",)
    assert fire(FLOW, ("paid",), "pay", facts(take_money={"number": "7"})) == ("sent",)


def test_an_event_that_does_not_leave_the_state_moves_nothing() -> None:
    assert fire(FLOW, ("paid",), "weigh", facts()) is None
    assert fire(FLOW, ("paid",), "unheard", facts()) is None


# --- the hash ---------------------------------------------------------------------------------


def variant(**said: Any) -> Flow:
    """A small flow, differing in what is said."""

    class Small(Saga, version=1, key="id"):
        Input = said.get("input", Given)
        a = State(initial=True)
        b = State(final=True)
        c = State(final=True)
        go = a.to(b, cond=said.get("guard", "yes")) | a.to(said.get("target", c))

        def yes(self) -> bool:
            return True

        def no(self) -> bool:
            return False

        @step(go, timeout=said.get("timeout", DAY), pivot=said.get("pivot", False), retry=said.get("retry"))
        def act(self) -> None:
            assert said.get("body") is None

    return Small.flow


def test_the_same_definition_has_the_same_hash_and_code_does_not_count() -> None:
    assert variant().hash == variant().hash == variant(body=None).hash
    assert len(variant().hash) == 64


@pytest.mark.parametrize(
    "said",
    [
        {"guard": "no"},
        {"timeout": 2 * DAY},
        {"pivot": True},
        {"retry": stop_after_attempt(2)},
        {"input": create_model("Given", id=int)},
    ],
)
def test_whatever_decides_how_an_instance_runs_changes_the_hash(said: dict[str, Any]) -> None:
    assert variant(**said).hash != variant().hash


def test_the_hash_is_that_of_the_flow() -> None:
    assert hash_of(FLOW) == FLOW.hash


# --- values -----------------------------------------------------------------------------------


def test_functions_get_what_they_ask_for_by_type() -> None:
    known = facts(**light("5"), told={"text": "hello"})
    about = About(saga=UUID(int=1), key="p1", step="take_money", attempt=2)
    shop = Shop()
    given = known.bound(FLOW.steps["take_money"].params, externals={"shop": shop}, about=about)
    assert given == {
        "parcel": Parcel.Input(id="p1", owner="Ann"),
        "shop": shop,
        "weight": Weight(grams=Decimal(5)),
        "news": News(text="hello"),
    }
    assert known.bound(FLOW.steps["put_on_scale"].params, about=about)["about"] is about
    assert (
        facts(**light("5")).bound(FLOW.steps["take_money"].params, externals={"shop": shop})["news"] is None
    )


def test_a_plain_step_is_called_with_what_it_wants() -> None:
    step_ = FLOW.steps["put_on_scale"]
    assert facts().call(step_.function, step_.params) == Weight(grams=Decimal(2))


def test_what_is_given_extra_goes_first() -> None:
    step_ = FLOW.steps["set_aside"]
    assert step_.late_locks is not None
    late = facts().call(step_.late_locks, step_.late_params, extra={"weight": Weight(grams=Decimal(3))})
    assert list(late) == [Lock(object="scale:3")]


def test_a_compensation_takes_less_of_the_input() -> None:
    undo = FLOW.steps["take_money"].undo
    assert undo is not None
    known = facts(take_money={"number": "7"})
    given = known.bound(undo.params, externals={"shop": Shop()})
    assert given["given"] == Given(id="p1")
    assert given["receipt"] == Receipt(number="7")


def test_an_external_that_was_not_made_is_named_with_its_variable() -> None:
    with pytest.raises(MissingExternal, match="set SAGACITY_SHOP_URL"):
        facts(**light("5")).bound(FLOW.steps["take_money"].params)


def test_a_result_that_is_not_there_is_named_with_its_step() -> None:
    with pytest.raises(InputError, match="needs the result of put_on_scale"):
        facts().bound(FLOW.steps["take_money"].params, externals={"shop": Shop()})


def test_the_latest_result_of_a_type_is_given() -> None:
    class Turns(Saga, version=1):
        Input = Given
        a = State(initial=True)
        b = State()
        c = State()
        d = State(final=True)
        first = a.to(b)
        second = b.to(c)
        third = c.to(d)

        @step(first)
        def draft(self) -> Receipt:
            return Receipt(number="1")

        @step(second)
        def mend(self, receipt: Receipt) -> Receipt | None:
            return None

        @step(third)
        def close(self, receipt: Receipt) -> None: ...

    close = Turns.flow.steps["close"]
    assert close.params[0].source == ("mend", "draft")
    one = {"draft": JsonText('{"number":"1"}'), "mend": NULL}
    assert Facts(Turns.flow, JsonText('{"id":"x"}'), one).bound(close.params)["receipt"].number == "1"
    two = {**one, "mend": JsonText('{"number":"2"}')}
    assert Facts(Turns.flow, JsonText('{"id":"x"}'), two).bound(close.params)["receipt"].number == "2"


# --- inputs and results -----------------------------------------------------------------------


def test_an_input_is_stored_canonically_whatever_it_came_as() -> None:
    expected = '{"at":"2026-01-01T00:00:00+00:00","id":"p1","owner":"nobody"}'
    at = datetime(2026, 1, 1, tzinfo=UTC)
    assert read_input(FLOW, {"id": "p1", "at": at}) == expected
    assert read_input(FLOW, Parcel.Input(id="p1", at=at)) == expected
    assert read_input(FLOW, '{"at": "2026-01-01T00:00:00Z", "id": "p1"}') == expected


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"id": "p1", "weight": 3}, "weight: unknown field"),
        ({"owner": "Ann"}, "id: field required"),
        ({"id": 7}, "id: input should be a valid string"),
        ('{"id": "p1", "id": "p2"}', "the same key twice"),
        ('{"id": NaN}', "NaN is not a number"),
        ("{", "not JSON"),
        ({"id": "p1", "at": datetime(2026, 1, 1)}, "no time zone"),
        ({"id": "p\x001"}, "NUL"),
        (Given(id="x").model_copy(update={"id": None}), "id: input should be a valid string"),
    ],
)
def test_an_input_that_does_not_fit_is_refused_with_the_place(bad: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_input(FLOW, bad)


def test_unknown_fields_may_be_dropped() -> None:
    assert read_input(FLOW, {"id": "p1", "x": 1}, ignore_unknown=True) == read_input(FLOW, {"id": "p1"})


def test_a_result_is_checked_against_what_its_step_declares() -> None:
    adapter = FLOW.steps["put_on_scale"].result
    assert encoded(adapter, Weight(grams=Decimal("1.50")), what="put_on_scale") == '{"grams":"1.50"}'
    assert decoded(adapter, '{"grams":"1.50"}', what="put_on_scale") == Weight(grams=Decimal("1.50"))
    with pytest.raises(InputError, match="put_on_scale: value"):
        encoded(adapter, None, what="put_on_scale")
    with pytest.raises(InputError, match="wave_through"):
        encoded(FLOW.steps["wave_through"].result, 7, what="wave_through")
    with pytest.raises(InputError, match="not a number that can be stored"):
        encoded(TypeAdapter(float), float("nan"), what="x")
    with pytest.raises(InputError, match="grams"):
        decoded(adapter, "{}", what="put_on_scale")


# --- locks ------------------------------------------------------------------------------------


def test_locks_come_in_key_order_and_exclusive_wins() -> None:
    yielded = FLOW.participants(FLOW.self, facts().input)
    assert in_order(yielded, said_by="participants") == (Lock(object="owner:Ann"), Lock(object="parcel:p1"))
    assert in_order(None, said_by="participants") == ()
    assert in_order([shared("a", 1), shared("a", 1)], said_by="x") == (Lock(object="a:1", mode="shared"),)


@pytest.mark.parametrize(("type_", "id_"), [("", 1), ("a:b", 1), ("a", ""), ("a", None), ("a", "x\x00")])
def test_a_participant_has_a_type_and_an_id(type_: str, id_: object) -> None:
    with pytest.raises(InputError):
        object_name(type_, id_)


def test_only_locks_are_yielded() -> None:
    with pytest.raises(InputError, match="participants yielded 'account:1'"):
        in_order(["account:1"], said_by="participants")


def test_a_flow_without_participants_locks_nothing() -> None:
    assert variant().participants(None, None) == ()


# --- children ---------------------------------------------------------------------------------


def test_a_step_that_starts_sagas_undoes_them_by_itself() -> None:
    class Parent(Saga, version=1):
        Input = Given
        a = State(initial=True)
        b = State()
        c = State(final=True)
        go = a.to(b)
        on = b.to(c)

        @spawns(go, Parcel)
        def each(self, given: Given) -> list[Parcel.Input]:
            return [Parcel.Input(id=given.id)]

        @step(on)
        def look(self, ends: list[ChildEnd]) -> None: ...

    each = Parent.flow.steps["each"]
    assert each.child is Parcel
    assert not each.effectful
    assert each.undo is not None
    assert (each.undo.kind, each.undo.safe_on_nothing) == ("child", True)
    ends: Json = JsonText(f'[{{"id":"{UUID(int=1)}","status":"committed"}}]')
    known = Facts(Parent.flow, JsonText('{"id":"x"}'), {"each": ends})
    assert known.bound(Parent.flow.steps["look"].params)["ends"] == [
        ChildEnd(id=UUID(int=1), status="committed")
    ]
