"""The stage: where a step puts changes that are applied at commit, all together.

Operations on engine-owned objects are played at once on an overlay, so a refusal is seen in the
step that caused it and not when everybody else has done their part. Nothing leaves the stage
before the commit; a rollback just drops it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from sagacity.definition.locks import object_name
from sagacity.definition.participant import (
    Participant,
    Registry,
    arguments_of,
    operation_of,
    participant_of,
    played_once,
    state_of,
)
from sagacity.errors import Refused
from sagacity.model.canonical import NULL, Json
from sagacity.model.record import Staged


class Stage:
    """Gives handles whose operations are staged: `stage("order", id).mark_shipped()`.

    Args:
        participants: participants by type.
        states: committed states of engine-owned objects by `type:id`; a missing one was never changed.
        locked: objects that the saga has locked exclusively.
        earlier: what earlier steps have staged.
        step: the step that stages now.
    """

    def __init__(
        self,
        *,
        participants: Registry,
        states: Mapping[str, Json],
        locked: frozenset[str],
        earlier: tuple[Staged, ...],
        step: str,
    ) -> None:
        self._participants = participants
        self._states = states
        self._locked = locked
        self._earlier = earlier
        self._step = step
        self._overlay: dict[str, Any] = {}
        self._staged: list[Staged] = []

    @property
    def staged(self) -> tuple[Staged, ...]:
        """What this step has staged, in order."""
        return tuple(self._staged)

    def __call__(self, type: str | type[Participant], id: object) -> "Handle":
        """A handle on one participant.

        Raises:
            Refused: the saga has not locked it exclusively.
            NotFound: no participant of that type is declared.
        """
        name = object_name(type if isinstance(type, str) else type.type, id)
        participant_of(self._participants, name)
        if name not in self._locked:
            kind, _, rest = name.partition(":")
            raise Refused(
                f"{self._step} changes {name}, which this saga has not locked exclusively: "
                f'yield `exclusive("{kind}", {rest!r})` in `participants`'
            )
        return Handle(self, name)

    def state_of(self, object: str) -> Any:
        """The overlay's state of an engine-owned object; None for a row of the user's own table."""
        cls = participant_of(self._participants, object)
        if cls.table is not None:
            return None
        if object not in self._overlay:
            now = state_of(cls, self._states.get(object, NULL))
            for staged in self._earlier:
                if staged.object == object:
                    now = played_once(cls, operation_of(self._participants, staged), now, staged.args)
            self._overlay[object] = now
        return self._overlay[object]

    def record(self, object: str, operation: str, args: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        """Stage one operation, after playing it on the overlay.

        Raises:
            Refused: the operation does not allow it; nothing was staged.
            NotFound: the participant has no such operation.
            InputError: the arguments do not fit.
        """
        staged = Staged(object=object, operation=operation, args=NULL, step=self._step)
        one = operation_of(self._participants, staged)
        staged = Staged(
            object=object, operation=operation, args=arguments_of(one, args, named), step=self._step
        )
        cls = participant_of(self._participants, object)
        if cls.table is None:
            self._overlay[object] = played_once(cls, one, self.state_of(object), staged.args)
        self._staged.append(staged)


class Handle:
    """One participant on the stage: its operations are methods, `state` is what would be committed now."""

    __slots__ = ("_object", "_stage")

    def __init__(self, stage: Stage, object: str) -> None:
        self._stage = stage
        self._object = object

    @property
    def state(self) -> Any:
        """A copy of the state with everything staged so far; None for a row of the user's own table."""
        now = self._stage.state_of(self._object)
        return None if now is None else now.model_copy(deep=True)

    def __getattr__(self, operation: str) -> Callable[..., None]:
        if operation.startswith("__"):
            raise AttributeError(operation)

        def staged(*args: Any, **named: Any) -> None:
            self._stage.record(self._object, operation, args, named)

        return staged
