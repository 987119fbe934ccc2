"""Plants a bug into this process: `plant(name)` puts a wrong part where the right one was.

The switch exists only here: the engine knows nothing of it. A test process plants what the
environment's `SAGACITY_PLANTED` names, before it runs anything.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Connection

from sagacity import chain
from sagacity.decide import acts, backward, begin, draft, forward, outcomes, permitting
from sagacity.definition import table
from sagacity.model import lines as L
from sagacity.model.canonical import NULL
from sagacity.model.record import Effect, Status
from sagacity.model.unit import Loss, Written
from sagacity.runtime import apart, committer, footing, sweeper, timekeeper, worker
from sagacity.store import batch, inbox, migrate, sqlite

SWITCH = "SAGACITY_PLANTED"

Plant = Callable[[], None]

PLANTS: dict[str, Plant] = {}
"""Bug → what plants it."""


def plant(name: str) -> None:
    """Plant one bug, for the rest of this process.

    Raises:
        KeyError: nobody knows how to plant it.
    """
    PLANTS[name]()


def planted() -> str | None:
    """Plant what the environment names; returns it."""
    name = os.environ.get(SWITCH)
    if name:
        plant(name)
    return name


def _plants(name: str) -> Callable[[Plant], Plant]:
    def enter(function: Plant) -> Plant:
        PLANTS[name] = function
        return function

    return enter


def _put(owner: Any, name: str, wrong: Any) -> Any:
    """`wrong` in place of `owner.name`, which must be there; returns what was right."""
    right = getattr(owner, name)
    setattr(owner, name, wrong)
    return right


# --- the log ----------------------------------------------------------------------------------------


def _after_migration(*statements: str) -> None:
    right = migrate.upgrade

    def upgrade(conn: Connection) -> None:
        right(conn)
        for statement in statements if conn.dialect.name == "sqlite" else ():
            conn.exec_driver_sql(statement)

    _put(migrate, "upgrade", upgrade)


@_plants("log-may-be-edited")
def _log_may_be_edited() -> None:
    _after_migration("DROP TRIGGER log_no_update", "DROP TRIGGER log_no_delete")


@_plants("positions-with-gaps")
def _positions_with_gaps() -> None:
    right = committer.Committer._chained
    last: dict[int, int] = {}

    def chained(self: Any, members: Any) -> Any:
        made = right(self, members)
        again = last.get(id(self)) == self.head.position
        last[id(self)] = self.head.position
        if not again:
            return made
        shifted = replace(self.head, position=self.head.position + len(made.rows))
        rows = chain.extend(shifted, made.units, tenant=self._store.tenant, lane=self._store.lane)
        return replace(made, rows=rows)

    _put(committer.Committer, "_chained", chained)


def _hash_over(change: Callable[[bytes, Any], tuple[bytes, Any]]) -> None:
    link, row_of = chain.link, chain._row

    def wrong_link(previous: bytes, row: Any, *, tenant: str, lane: str) -> bytes:
        return link(*change(previous, row), tenant=tenant, lane=lane)

    def wrong_row(*args: Any, previous: bytes, scope: tuple[str, str]) -> Any:
        row = row_of(*args, previous=previous, scope=scope)
        return replace(row, hash=wrong_link(previous, row, tenant=scope[0], lane=scope[1]))

    _put(chain, "link", wrong_link)
    _put(chain, "_row", wrong_row)


@_plants("hash-forgets-the-previous")
def _hash_forgets_the_previous() -> None:
    _hash_over(lambda previous, row: (b"", row))


@_plants("hash-forgets-the-data")
def _hash_forgets_the_data() -> None:
    _hash_over(lambda previous, row: (previous, replace(row, digest=b"")))


@_plants("completed-twice")
def _completed_twice() -> None:
    right = outcomes.complete

    def complete(made: Any, step: Any, **named: Any) -> None:
        right(made, step, **named)
        if isinstance(made.lines[-1], L.Completed):
            made.add(made.lines[-1])

    _put(outcomes, "complete", complete)


@_plants("unique-index-dropped")
def _unique_index_dropped() -> None:
    _after_migration("DROP INDEX inbox_start_key")
    _put(inbox, "_known", lambda conn, scope, messages: inbox._Known(()))
    _put(batch, "_known", lambda parts, seen: iter(()))


@_plants("memo-not-stored")
def _memo_not_stored() -> None:
    _put(batch, "_MUTABLE", tuple(name for name in batch._MUTABLE if name != "memo"))


@_plants("object-state-not-stored")
def _object_state_not_stored() -> None:
    right = batch._moved

    def moved(move: Any, row: Any) -> Any:
        made = right(move, row)
        return made if row is None else made._replace(state=row.state)

    _put(batch, "_moved", moved)


@_plants("line-forgotten")
def _line_forgotten() -> None:
    right = draft.Draft.unit

    def unit(self: Any, **named: Any) -> Any:
        made = right(self, **named)
        if len(made.lines) < 2:
            return made
        return replace(made, lines=tuple(line for line in made.lines if not isinstance(line, L.Slept)))

    _put(draft.Draft, "unit", unit)


@_plants("ack-before-commit")
def _ack_before_commit() -> None:
    right = committer.Committer._write

    async def write(self: Any, members: Any) -> None:
        self._acknowledge(members, Written(arrivals={}, objects={}))
        await right(self, members)

    _put(committer.Committer, "_write", write)


@_plants("unknown-taken-for-landed")
def _unknown_taken_for_landed() -> None:
    async def landed(self: Any, made: Any) -> bool:
        self.head = made.new_head
        return True

    _put(committer.Committer, "_landed", landed)


@_plants("unknown-taken-for-lost")
def _unknown_taken_for_lost() -> None:
    right = committer.Committer._landed

    async def landed(self: Any, made: Any) -> bool:
        await right(self, made)
        return False

    _put(committer.Committer, "_landed", landed)


@_plants("flush-not-checked")
def _flush_not_checked() -> None:
    _put(sqlite.SqliteStore, "_check_flush", lambda self, conn: None)


@_plants("one-loser-fails-all")
def _one_loser_fails_all() -> None:
    def without(members: Any, losers: Mapping[Any, Loss]) -> list[Any]:
        for member in members:
            if not member.done.done():
                member.done.set_exception(committer.Lost(next(iter(losers.values()))))
        return []

    _put(committer, "_without", without)


@_plants("half-is-forgotten")
def _half_is_forgotten() -> None:
    async def halve(self: Any, members: Any, error: Exception) -> None:
        if len(members) == 1:
            members[0].done.set_exception(error)
        else:
            await self._write(members[: len(members) // 2])

    _put(committer.Committer, "_halve", halve)


# --- the life of a saga -----------------------------------------------------------------------------


@_plants("stuck-moves-by-itself")
def _stuck_moves_by_itself() -> None:
    right = acts.take_acts

    def take_acts(made: Any, now: Any) -> None:
        mail = bool(made.mail)
        right(made, now)
        if mail and made.record.status is Status.STUCK:
            made.add(L.Compensating(reason="", at=now))

    _put(forward, "take_acts", take_acts)


@_plants("gave-up-is-rolled-back")
def _gave_up_is_rolled_back() -> None:
    right = backward.settle_undo

    def settle_undo(made: Any, run: Any, outcome: Any, *, now: Any) -> None:
        mark, record = made.mark(), made.record
        right(made, run, outcome, now=now)
        if made.record.status is not Status.STUCK:
            return
        made.back_to(mark, record)
        effect = run.effect
        named: dict[str, Any] = {"n": effect.n, "step": effect.step, "undo": effect.undo or ""}
        made.add(L.Undone(**named, attempt=run.attempt, result=NULL, empty=False, at=now))

    _put(backward, "settle_undo", settle_undo)


@_plants("guards-ignored")
def _guards_ignored() -> None:
    _put(table, "_passes", lambda edge, facts: True)


@_plants("other-input-same-key")
def _other_input_same_key() -> None:
    right = inbox._receipt

    def receipt(message: Any, known: Any) -> Any:
        stands = known.keys.get((message.definition, message.key))
        return right(message if stands is None else replace(message, request_hash=stands[1]), known)

    _put(inbox, "_receipt", receipt)


@_plants("bell-not-asserted")
def _bell_not_asserted() -> None:
    right_stale, right_write = batch._stale, batch._write_sagas

    def stale(parts: Any, seen: Any, worker: Any) -> Iterator[tuple[Any, Loss]]:
        return ((saga, loss) for saga, loss in right_stale(parts, seen, worker) if loss is Loss.STALE)

    def write_sagas(conn: Any, scope: Any, parts: Any, seen: Any, worker: Any) -> None:
        heard = {id: SimpleNamespace(heard=row.arrivals) for id, row in seen.sagas.items()}
        updated = tuple(replace(unit, arrivals=None) if unit.release else unit for unit in parts.updated)
        right_write(conn, scope, replace(parts, updated=updated), seen._replace(sagas=heard), worker)

    _put(batch, "_stale", stale)
    _put(batch, "_write_sagas", write_sagas)


@_plants("hand-over-wakes-nobody")
def _hand_over_wakes_nobody() -> None:
    async def nobody(*_: Any) -> list[Any]:
        return []

    for module in (committer, apart):
        _put(module, "next_holders", lambda unit, objects: set())
    _put(worker, "break_cycles", nobody)


@_plants("changed-definition-runs")
def _changed_definition_runs() -> None:
    async def check(store: Any, flows: Any) -> None:
        del store, flows

    _put(worker, "check_definitions", check)


@_plants("call-before-intent")
def _call_before_intent() -> None:
    _put(draft.Moves, "intends", property(lambda self: False))


@_plants("cancel-after-the-pivot")
def _cancel_after_the_pivot() -> None:
    right = permitting.cancel_refusal
    wrong = lambda record: right(replace(record, pivoted=False))  # noqa: E731
    _put(permitting, "cancel_refusal", wrong)


# --- undo -------------------------------------------------------------------------------------------


def _effects_as(order: Callable[[Sequence[Effect]], Iterable[Effect]]) -> None:
    """What going back takes for the reverse of the effects."""
    vars(backward)["reversed"] = order


@_plants("undo-forward")
def _undo_forward() -> None:
    _effects_as(list)


@_plants("undo-skips-the-unknown")
def _undo_skips_the_unknown() -> None:
    _effects_as(lambda effects: [effect for effect in effects[::-1] if effect.landed])
    _put(backward, "_settled", lambda made, run, now: True)


@_plants("key-changes-with-the-attempt")
def _key_changes_with_the_attempt() -> None:
    right = forward._begin

    def begin_attempt(*args: Any) -> Any:
        run = right(*args)
        return replace(run, key=run.key if run.attempt == 1 else f"{run.key}#{run.attempt}")

    _put(forward, "_begin", begin_attempt)


@_plants("undo-under-the-effects-key")
def _undo_under_the_effects_key() -> None:
    _put(Effect, "undo_key", property(lambda self: self.key))


@_plants("forward-while-going-back")
def _forward_while_going_back() -> None:
    def advance(made: Any, *, now: Any, busy: frozenset[str]) -> Any:
        moves = None if busy else forward._start(made, now, busy)
        return moves if moves is not None and moves.steps else backward.advance(made, now=now, busy=busy)

    _put(forward, "backward", SimpleNamespace(advance=advance, turn=backward.turn))


@_plants("undo-on-a-guess")
def _undo_on_a_guess() -> None:
    _effects_as(lambda effects: [replace(effect, landed=True) for effect in effects[::-1]])
    _put(backward, "_settled", lambda made, run, now: True)


@_plants("stuck-frees-its-locks")
def _stuck_frees_its_locks() -> None:
    _put(draft, "_FREEING", (*draft._FREEING, L.Stuck))


# --- locks and isolation ----------------------------------------------------------------------------


@_plants("two-holders")
def _two_holders() -> None:
    _put(batch, "_busy", lambda move, row: iter(()))
    _put(footing, "first_in_all", lambda record, states: True)
    _put(committer.Committer, "_known_busy", lambda self, unit: False)


@_plants("freed-early")
def _freed_early() -> None:
    _put(draft, "_FREEING", (*draft._FREEING, L.Completed))


@_plants("no-fencing")
def _no_fencing() -> None:
    def stale(parts: Any, seen: Any, worker: Any) -> Iterator[tuple[Any, Loss]]:
        del worker
        for unit in parts.updated:
            row = seen.sagas.get(unit.saga)
            if row is None or row.revision != unit.before:
                yield unit.saga, Loss.STALE
            elif unit.arrivals is not None and row.arrivals != unit.arrivals:
                yield unit.saga, Loss.ARRIVALS

    _put(batch, "_stale", stale)


@_plants("version-not-checked")
def _version_not_checked() -> None:
    right = batch._losers
    wrong = lambda *args: {s: loss for s, loss in right(*args).items() if loss is not Loss.VERSION}  # noqa: E731
    _put(batch, "_losers", wrong)


@_plants("locks-outlive-the-saga")
def _locks_outlive_the_saga() -> None:
    _put(draft, "_FREEING", tuple(kind for kind in draft._FREEING if kind is not L.RolledBack))


@_plants("cycles-never-broken")
def _cycles_never_broken() -> None:
    _put(sweeper, "cycles", lambda edges: [])


@_plants("half-a-commit")
def _half_a_commit() -> None:
    right = draft.Draft.change

    def change(self: Any, made: Any) -> None:
        if not self._changes:
            right(self, made)

    _put(draft.Draft, "change", change)


@_plants("shared-locks-not-taken")
def _shared_locks_not_taken() -> None:
    right = begin.wanted
    wrong = lambda made: tuple(lock for lock in right(made) if lock.mode == "exclusive")  # noqa: E731
    _put(begin, "wanted", wrong)


# --- time -------------------------------------------------------------------------------------------


@_plants("timer-by-the-local-clock")
def _timer_by_the_local_clock() -> None:
    _put(timekeeper.Timekeeper, "now", lambda self: self._clock.now())
