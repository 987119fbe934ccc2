"""Externals and compensations as classes: what they declare, and what is refused."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel
from tenacity import stop_after_attempt, wait_random

from sagacity import Compensation, External, effect, read
from sagacity.definition.external import ExternalSettings, snake_case
from sagacity.errors import DefinitionError
from tests.unit.definition_cases import Post, Receipt, Shop, has, only


def test_an_external_tells_its_effects_and_reads() -> None:
    assert Shop.name == "shop"
    assert set(Shop.effects) == {"sell", "give_back", "advertise"}
    assert Shop.effects["sell"].inverse == "give_back"
    assert Shop.effects["sell"].takes_key
    assert not Shop.effects["advertise"].takes_key
    assert set(Post.reads) == {"price"}
    assert not Shop.has_probe


@pytest.mark.parametrize(
    ("name", "snake"),
    [
        ("Payments", "payments"),
        ("PaymentProvider", "payment_provider"),
        ("HTTPBank", "http_bank"),
        ("B2B", "b2_b"),
    ],
)
def test_an_external_is_named_after_its_class(name: str, snake: str) -> None:
    assert snake_case(name) == snake


def test_an_external_may_say_its_name_and_share_a_base_without_effects() -> None:
    class Line(External):
        """Only a connection."""

        async def probe(self, key: str) -> None:
            return None

    class Call(Line, name="line"):
        @effect(safe_on_nothing=True)
        async def hang_up(self, *, key: str, undoes: str) -> None: ...

        class Mock:
            async def hang_up(self) -> None: ...

    assert Call.name == "line"
    assert Call.has_probe
    assert Call.effects["hang_up"].takes_undoes


def test_an_external_without_a_mock_is_refused() -> None:
    with pytest.raises(DefinitionError) as error:

        class Bare(External):
            @effect
            async def act(self) -> None: ...

    only(error, "Bare", "no mock")


def test_a_mock_covers_every_effect_and_read() -> None:
    with pytest.raises(DefinitionError) as error:

        class Half(External):
            @effect
            async def act(self) -> None: ...

            @read
            async def look(self) -> None: ...

            class Mock:
                async def act(self) -> None: ...

    only(error, "Mock", "lacks `look`")


def test_an_inverse_that_the_external_does_not_have_is_refused() -> None:
    with pytest.raises(DefinitionError) as error:

        class Torn(External):
            @effect(inverse="undo")
            async def act(self) -> None: ...

            @read
            async def undo(self) -> None: ...

            class Mock:
                async def act(self) -> None: ...
                async def undo(self) -> None: ...

    only(error, "act", "inverse 'undo' is not an effect of Torn")


def test_what_is_safe_on_nothing_must_know_what_it_takes_back() -> None:
    with pytest.raises(DefinitionError) as error:

        class Blind(External):
            @effect(safe_on_nothing=True)
            async def undo(self, receipt: Receipt | None) -> None: ...

            class Mock:
                async def undo(self) -> None: ...

    only(error, "undo", "`undoes: str`")


def test_effects_and_reads_are_async() -> None:
    def look(self: Any) -> None: ...

    marked: Any = read
    with pytest.raises(DefinitionError) as error:
        type("Slow", (External,), {"look": marked(look), "Mock": type("Mock", (), {"look": look})})
    only(error, "look", "must be async")


async def test_an_external_is_made_from_its_settings_and_closed() -> None:
    made = await Shop.connect(ExternalSettings(name="shop", url="http://127.0.0.1:1"))
    assert isinstance(made, Shop)
    assert await made.probe("key") is None
    await made.close()


def test_a_compensation_has_a_method_run() -> None:
    with pytest.raises(DefinitionError) as error:

        class Idle(Compensation):
            pass

    only(error, "run", "no method `run`")


def test_a_compensation_says_how_often_it_is_tried() -> None:
    class Often(Compensation, retry=stop_after_attempt(3), timeout=timedelta(seconds=5)):
        async def run(self, shop: Shop) -> None: ...

    class Plain(Compensation):
        async def run(self, shop: Shop) -> None: ...

    assert Often.retry.stop.max_attempt_number == 3
    assert Often.timeout == timedelta(seconds=5)
    assert Plain.retry.stop.max_attempt_number == 10
    assert not Plain.safe_on_nothing


def test_faults_of_a_compensation_are_told_together() -> None:
    with pytest.raises(DefinitionError) as error:

        class Wrong(Compensation, retry=wait_random(0, 1), timeout=timedelta(0)):
            async def run(self, thing: "Unheard", other) -> None: ...  # type: ignore[no-untyped-def,name-defined]  # noqa: F821

    has(error, "run(thing)", "cannot be resolved")
    has(error, "run(other)", "no annotation")
    has(error, "run", "depends on chance")
    has(error, "run", "no span of time")


def test_an_annotation_may_be_a_string() -> None:
    class Late(Compensation):
        async def run(self, given: "BaseModel", shop: "Shop | None") -> None: ...

    assert [(wish.type, wish.optional) for wish in Late.wishes] == [(BaseModel, False), (Shop, True)]
