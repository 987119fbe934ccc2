"""Every kind of log line in plain words, for somebody who has never seen the flow."""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from sagacity.cli.story import tell
from sagacity.model import lines as L
from sagacity.model.canonical import JsonText, canonical
from sagacity.model.record import Held, Staged, Wait, WaitsFor
from sagacity.model.views import HistoryLine

AT = datetime(2026, 3, 1, 8, 30, tzinfo=UTC)
LATER = AT + timedelta(hours=2)
SOME = UUID("01a1fcc1-ff90-7249-9b0c-825c079deda6")
OTHER = UUID("01a1fcc1-ff90-7249-9b0c-825c079deda7")
DEBIT = Staged(object="account:A-1", operation="debit", args=canonical({"amount": "9.90"}), step="book")


def wait(kind: WaitsFor, signal: str | None, until: datetime = LATER) -> Wait:
    return Wait(name="deliver_by", state="shipped", kind=kind, signal=signal, until=until)


def started(**given: object) -> L.Started:
    return L.Started(
        definition="Order",
        version=3,
        definition_hash="aa",
        key="o1",
        request_hash="bb",
        input=canonical({"amount": "17.50", "order_id": "o1"}),
        state=("placed",),
        at=AT,
        **given,  # type: ignore[arg-type]
    )


TOLD: list[tuple[L.Line, str]] = [
    (started(), "started Order version 3 with key o1; input: amount 17.50, order_id o1"),
    (started(rolls_back=OTHER), f"to roll back saga {OTHER}, which had committed"),
    (started(parent=OTHER, parent_step="close_all"), f"as part of saga {OTHER} (its step close all)"),
    (
        L.Locked(
            locks=(Held(object="order:1"), Held(object="customer:2", mode="shared")), granted=True, at=AT
        ),
        "locked order:1 and customer:2 (shared)",
    ),
    (
        L.Locked(locks=(Held(object="order:1"),), granted=False, at=AT),
        "asked for the locks on order:1, and queues for them",
    ),
    (L.Granted(at=AT), "it now holds all locks it asked for"),
    (
        L.Intent(step="take_money", visit=1, attempt=1, external="payments", key="k", undo="Refund", at=AT),
        "take money: about to call payments; if the saga goes back, Refund makes it good",
    ),
    (
        L.Intent(step="send", visit=1, attempt=3, external="mail", key="k", undo=None, at=AT),
        "send: about to call mail (try 3); this cannot be undone",
    ),
    (
        L.Spawned(step="close_all", visit=1, key="k", children=(SOME, OTHER), at=AT),
        f"close all: started 2 sagas of its own: {SOME} and {OTHER}",
    ),
    (
        L.Completed(
            step="take_money",
            visit=1,
            attempt=2,
            result=canonical({"charge_id": "c1"}),
            state=("paid",),
            staged=(DEBIT,),
            pivot=True,
            at=AT,
        ),
        "take money: done (try 2); answer: charge_id c1; "
        "noted for the end: debit account:A-1 (amount 9.90); now paid; from here it only goes forward",
    ),
    (
        L.Completed(
            step="take_money",
            visit=1,
            attempt=1,
            result=JsonText("null"),
            state=("paid",),
            landed=False,
            at=AT,
        ),
        "without calling outside",
    ),
    (
        L.Failed(
            step="take_money", visit=1, attempt=1, error="no answer.", landed="unknown", retry_at=LATER, at=AT
        ),
        "take money: try 1 failed: no answer; whether it happened outside is not known yet; "
        "next try at 2026-03-01 10:30:00Z",
    ),
    (
        L.Failed(step="take_money", visit=1, attempt=5, error="declined", landed="no", retry_at=None, at=AT),
        "try 5 failed: declined; nothing happened outside; it gives up",
    ),
    (
        L.Failed(
            step="fetch", visit=1, attempt=1, error="x", landed="no", retry_at=LATER, signal="ready", at=AT
        ),
        "fetch: it is too early; it looks again at 2026-03-01 10:30:00Z, or as soon as ready arrives",
    ),
    (
        L.Adopted(parent=SOME, step="all_parts", message=SOME, at=AT),
        f"saga {SOME} (its step all parts) will be told of the end of this one",
    ),
    (
        L.Interrupted(at=AT),
        "taken over: the worker that had it in hand fell silent",
    ),
    (
        L.NotTried(step="take_money", visit=1, why="a cancel came first", at=AT),
        "take money: the call was not made after all: a cancel came first; nothing happened outside",
    ),
    (
        L.Awaiting(
            waits=(
                wait(WaitsFor.SIGNAL, "carrier.delivered"),
                wait(WaitsFor.APPROVAL, "limit", AT + timedelta(days=36_500)),
                wait(WaitsFor.TIMER, None),
            ),
            at=AT,
        ),
        "now waits for the signal carrier.delivered (until 2026-03-01 10:30:00Z), the approval limit "
        "or 2026-03-01 10:30:00Z (deliver by)",
    ),
    (
        L.Slept(waits_for=WaitsFor.SIGNAL, due_at=LATER, at=AT),
        "rests until the signal comes; the next look is at 2026-03-01 10:30:00Z",
    ),
    (
        L.Signalled(
            wait="deliver_by",
            signal="carrier.delivered",
            message=SOME,
            data=canonical({"by": "van"}),
            actor="carrier",
            state=("delivered",),
            at=AT,
        ),
        "got carrier.delivered from carrier: by van; now delivered",
    ),
    (
        L.TimedOut(wait="deliver_by", state=("shipped",), at=AT),
        "the time for deliver by is over; now shipped",
    ),
    (L.Joined(of="work", state=("done",), at=AT), "all parts of work are done; now done"),
    (
        L.ChildEnded(step="close_all", child=SOME, status="rolled_back", message=OTHER, at=AT),
        f"close all: saga {SOME}, which it started, ended rolled back",
    ),
    (
        L.CancelAsked(reason="called off", actor="ana", message=SOME, at=AT),
        "ana asked to cancel: called off",
    ),
    (L.CancelAsked(reason="no goods", actor=None, message=None, at=AT), "is to go back: no goods"),
    (
        L.CancelAsked(reason="a circle of locks", actor=None, message=None, restart=True, at=AT),
        "is to let others go first and start over: a circle of locks",
    ),
    (
        L.ActRefused(act="retry", why="it is over", message=SOME, at=AT),
        "refused to retry: it is over",
    ),
    (
        L.Compensating(reason="declined", at=AT),
        "goes back, because: declined; nothing that was only noted is applied",
    ),
    (
        L.Undone(n=1, step="take_money", undo="Refund", attempt=2, result=canonical({"id": "r1"}), at=AT),
        "take money: made good by Refund (try 2): id r1",
    ),
    (
        L.Undone(n=1, step="take_money", undo="Refund", attempt=1, empty=True, at=AT),
        "take money: nothing to undo, it never happened (asked by Refund)",
    ),
    (
        L.UndoFailed(n=1, step="take_money", undo="Refund", attempt=9, error="closed", retry_at=None, at=AT),
        "take money: making it good by Refund failed on try 9: closed; it gives up",
    ),
    (
        L.Applied(
            object="account:A-1",
            version=4,
            before=canonical({"balance": "20.00"}),
            after=canonical({"balance": "10.10"}),
            operations=(DEBIT,),
            at=AT,
        ),
        "changed account:A-1 to version 4: debit (amount 9.90); now balance 10.10",
    ),
    (L.Committed(at=AT), "committed: everything happened; all locks are free"),
    (L.RolledBack(reason="declined", at=AT), "rolled back: every effect was made good"),
    (L.Stuck(why="Refund gave up", at=AT), "STUCK, a person must look: Refund gave up; its locks stay"),
    (
        L.Retried(reason="the bank answers", actor="ana", message=SOME, at=AT),
        "ana sent it on again: the bank answers; tries count anew",
    ),
    (
        L.Restarted(why="a circle of locks", state=("placed",), at=AT),
        "let go of its locks and starts over: a circle of locks",
    ),
    (
        L.RollbackAsked(rollback=OTHER, actor="ana", message=SOME, at=AT),
        f"ana asked to roll it back after its commit: saga {OTHER} does it",
    ),
    (
        L.Erased(saga=SOME, seqs=(0, 4), reason="asked for by the customer", at=AT),
        f"the contents of 2 lines (0 and 4) of saga {SOME} were erased: asked for by the customer",
    ),
    (
        L.Rehearsed(run=SOME, verdict="would commit", at=AT),
        "was a dry run, and so nothing of this happened: would commit",
    ),
    (
        L.Act(
            verb="skip",
            actor="ana",
            approver="bo",
            reason="the bank did it by phone",
            plan=SOME,
            ticket="OPS-7",
            break_glass=False,
            before=canonical("stuck in paid"),
            after=canonical("running in shipped"),
            args=canonical({"landed": "yes"}),
            message=SOME,
            at=AT,
        ),
        "ana acted: skip (landed yes) with the approval of bo: the bank did it by phone; "
        f"it was stuck in paid, and is to be running in shipped; ticket OPS-7; plan {SOME}",
    ),
    (L.Paused(at=AT), "paused: it begins nothing until it is resumed"),
    (L.Resumed(at=AT), "resumed: it goes on where it was paused"),
    (
        L.Skipped(step="pay", n=None, landed=True, at=AT),
        "pay: not tried any more; a person says that it happened outside, and gives the answer",
    ),
    (
        L.Forced(state=("closed",), edge="by_hand", left=("pay",), at=AT),
        "moved by hand to closed, by by hand; given up: pay",
    ),
    (
        L.Abandoned(reason="nobody needs it", stands=(1, 2), unknown=(3,), at=AT),
        "abandoned: 2 effects stay as they are, of 1 more nobody knows; all locks are free",
    ),
    (
        L.LockReleased(object="account:7", fence=12, at=AT),
        "the lock on account:7 (number 12) was taken from it",
    ),
]


def entry(line: L.Line, *, data: str | None = None) -> HistoryLine:
    return HistoryLine(
        seq=0,
        at=AT,
        kind=line.kind,
        data=L.line_data(line) if data is None else JsonText(data),
        object=getattr(line, "object", None),
        version=line.version if isinstance(line, L.Applied) else None,
        chain=1,
        position=1,
    )


@pytest.mark.parametrize(("line", "words"), TOLD, ids=lambda value: getattr(value, "kind", ""))
def test_a_line_is_told_in_one_plain_sentence(line: L.Line, words: str) -> None:
    said = tell(entry(line))
    assert words in said
    assert "\n" not in said
    assert not said.endswith(".")
    assert not re.search(r"\bNone\b|[{}]|_", said.replace(str(SOME), "").replace("_id", ""))


def test_every_kind_of_line_has_its_words() -> None:
    assert {line.kind for line, _ in TOLD} == set(L.KINDS)


def test_an_erased_line_says_that_it_was_erased() -> None:
    erased = HistoryLine(
        seq=3, at=AT, kind="completed", data=None, object=None, version=None, chain=1, position=1
    )
    assert tell(erased) == "completed (what it said was erased on request)"


def test_a_line_of_a_later_release_is_shown_as_it_stands() -> None:
    later = HistoryLine(
        seq=3,
        at=AT,
        kind="paused_by_hand",
        data=JsonText('{"why":"x"}'),
        object=None,
        version=None,
        chain=1,
        position=1,
    )
    assert tell(later) == "paused by hand: why x (this release does not know lines of this kind)"


def test_control_characters_of_an_error_do_not_reach_the_terminal() -> None:
    line = L.Failed(
        step="x", visit=1, attempt=1, error="red \x1b[31m\nalarm", landed="none", retry_at=None, at=AT
    )
    said = tell(entry(line))
    assert "\x1b" not in said
    assert "\n" not in said
