"""Participants: operations that are staged, played on an overlay, and played again at commit."""

from decimal import Decimal
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from sagacity import Participant, Refused, Stage, operation
from sagacity.definition.participant import inverse_of, is_own_table, played, statements
from sagacity.errors import DefinitionError, InputError, NotFound
from sagacity.model.canonical import NULL, JsonText, canonical
from sagacity.model.record import Staged
from tests.unit.definition_cases import has, only


class Purse(Participant, type="purse"):
    """Holds money and the names of who paid in."""

    class State(BaseModel):
        held: Decimal = Decimal(0)
        from_whom: list[str] = []

    @operation(inverse="pay_in")
    def pay_out(self, state: State, amount: Annotated[Decimal, Field(gt=0)], who: str = "") -> State:
        if state.held < amount:
            raise Refused(f"{state.held} is less than {amount}")
        state.from_whom.append(f"-{who}")
        return Purse.State(held=state.held - amount, from_whom=state.from_whom)

    @operation(inverse="pay_out")
    def pay_in(self, state: State, amount: Annotated[Decimal, Field(gt=0)], who: str = "") -> State:
        return Purse.State(held=state.held + amount, from_whom=[*state.from_whom, who])

    @operation()
    def break_it(self, state: State) -> State:
        return None  # type: ignore[return-value]


TABLE = SimpleNamespace(columns={"number": None, "state": None})


class Row(Participant, type="row", table=TABLE, key="number", guarded=True):
    """A row of somebody's own table."""

    @operation(inverse="open")
    def close(self, number: int) -> Any:
        return ("close", number)

    @operation(inverse="close")
    def open(self, number: int) -> Any:
        return ("open", number)


REGISTRY: dict[str, type[Participant]] = {"purse": Purse, "row": Row}


def stage(
    *,
    held: str | None = None,
    earlier: tuple[Staged, ...] = (),
    locked: tuple[str, ...] = ("purse:1", "row:7"),
) -> Stage:
    states = {} if held is None else {"purse:1": JsonText(f'{{"held":"{held}"}}')}
    return Stage(participants=REGISTRY, states=states, locked=frozenset(locked), earlier=earlier, step="act")


def test_an_operation_is_recorded_and_seen_at_once() -> None:
    on = stage(held="5.00")
    purse = on("purse", 1)
    purse.pay_out(Decimal("1.50"), who="Ann")
    assert purse.state.held == Decimal("3.50")
    assert on.staged == (
        Staged(
            object="purse:1", operation="pay_out", args=JsonText('{"amount":"1.50","who":"Ann"}'), step="act"
        ),
    )


def test_an_object_never_seen_before_has_its_defaults() -> None:
    on = stage()
    on(Purse, 1).pay_in(2)
    assert on(Purse, 1).state.held == 2


def test_what_earlier_steps_staged_is_seen() -> None:
    first = stage(held="1")
    first("purse", "1").pay_in(Decimal(9))
    assert stage(held="1", earlier=first.staged)("purse", "1").state.held == 10


def test_a_refusal_is_seen_in_the_step_and_stages_nothing() -> None:
    on = stage(held="1")
    with pytest.raises(Refused, match="less than"):
        on("purse", 1).pay_out(2, "Ann")
    assert on.staged == ()
    assert on("purse", 1).state.from_whom == []


def test_the_state_that_is_shown_is_a_copy() -> None:
    on = stage(held="1")
    on("purse", 1).state.from_whom.append("nobody")
    assert on("purse", 1).state.from_whom == []


def test_an_object_that_is_not_locked_exclusively_is_refused_with_the_fix() -> None:
    with pytest.raises(Refused, match=r'yield `exclusive\("purse", \'2\'\)` in `participants`'):
        stage()("purse", 2)


def test_an_unknown_type_or_operation_is_told_with_the_known_ones() -> None:
    with pytest.raises(NotFound, match=r"no participant of type 'chest'.*known: purse, row"):
        stage(locked=("chest:1",))("chest", 1)
    with pytest.raises(NotFound, match=r"no operation 'burn'; it has: break_it, pay_in, pay_out"):
        stage()("purse", 1).burn()


@pytest.mark.parametrize("args", [(0,), (-1,), ("much",), (1, "Ann", 3), ()])
def test_arguments_that_do_not_fit_are_refused(args: tuple[Any, ...]) -> None:
    on = stage(held="5")
    with pytest.raises(InputError, match="pay_out"):
        on("purse", 1).pay_out(*args)
    assert on.staged == ()


def test_an_operation_that_returns_no_state_is_refused() -> None:
    with pytest.raises(InputError, match="return the new `State`"):
        stage()("purse", 1).break_it()


def test_operations_on_own_rows_are_recorded_and_become_statements_at_commit() -> None:
    on = stage()
    row = on(Row, 7)
    row.close()
    row.open()
    assert row.state is None
    assert is_own_table(REGISTRY, "row:7")
    assert not is_own_table(REGISTRY, "purse:1")
    assert statements(REGISTRY, "row:7", on.staged) == (("close", 7), ("open", 7))
    assert statements(REGISTRY, "row:8", on.staged) == ()


def test_an_inverse_takes_the_same_arguments() -> None:
    on = stage(held="5")
    on("purse", 1).pay_out(5)
    [staged] = on.staged
    inverse = inverse_of(REGISTRY, staged)
    assert inverse is not None
    assert (inverse.operation, inverse.args) == ("pay_in", staged.args)
    broken = Staged(object="purse:1", operation="break_it", args=JsonText("{}"), step="act")
    assert inverse_of(REGISTRY, broken) is None


@given(amounts=st.lists(st.decimals("0.01", "1000", places=2), max_size=8))
def test_the_commit_plays_what_the_stage_showed(amounts: list[Decimal]) -> None:
    on = stage(held="3.00")
    purse = on("purse", 1)
    for n, amount in enumerate(amounts):
        if n % 2 and purse.state.held >= amount:
            purse.pay_out(amount, who=str(n))
        else:
            purse.pay_in(amount)
    before = JsonText('{"held":"3.00"}')
    assert played(REGISTRY, "purse:1", before, on.staged) == canonical(purse.state)
    assert played(REGISTRY, "purse:2", NULL, on.staged) == canonical(Purse.State())


# --- refused ----------------------------------------------------------------------------------


def test_a_participant_says_its_type_and_has_a_state_with_defaults() -> None:
    with pytest.raises(DefinitionError) as error:

        class Nameless(Participant):
            class State(BaseModel):
                held: int

    has(error, "Nameless", 'type="…"')
    has(error, "State", "no default for held")


def test_a_participant_has_a_state_or_a_table() -> None:
    with pytest.raises(DefinitionError) as error:

        class Neither(Participant, type="neither"):
            pass

    only(error, "Neither", "neither a `State` model nor a table")
    with pytest.raises(DefinitionError) as error:

        class Both(Participant, type="both", table=TABLE, key="number"):
            class State(BaseModel):
                held: int = 0

    only(error, "State", "no state kept by the engine")


def test_a_row_is_found_by_a_column_of_its_table() -> None:
    with pytest.raises(DefinitionError) as error:

        class Lost(Participant, type="lost", table=TABLE, key="id"):
            pass

    only(error, "Lost", "key='id' is no column")
    with pytest.raises(DefinitionError) as error:

        class Guarded(Participant, type="guarded", guarded=True):
            class State(BaseModel):
                held: int = 0

    only(error, "Guarded", "go with a table of yours")


def test_operations_are_plain_take_the_state_first_and_have_fitting_inverses() -> None:
    with pytest.raises(DefinitionError) as error:

        class Wrong(Participant, type="wrong"):
            class State(BaseModel):
                held: int = 0

            @operation(inverse="nothing")
            async def later(self, state: State) -> State:
                return state

            @operation(inverse="later")
            def first(self, amount: int, state: State) -> State:
                return state

            @operation()
            def bare(self, state: State, amount) -> State:  # type: ignore[no-untyped-def]
                return state

    has(error, "later", "plain function")
    has(error, "later", "inverse 'nothing' is no operation")
    has(error, "first", "does not take the state first")
    has(error, "first", "takes other arguments")
    has(error, "bare(amount)", "no annotation")
