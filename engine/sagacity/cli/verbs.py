"""The verbs of operators, one command each: every one plans first and applies then (`cli/planned.py`)."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sagacity.cli.call import Call
from sagacity.cli.planned import (
    BreakGlass,
    ExpectRev,
    OnlyPlan,
    Reason,
    Target,
    Ticket,
    Wish,
    Yes,
    action_on,
    carry_out,
)
from sagacity.cli.reading import Definition

if TYPE_CHECKING:
    pass


async def perform(
    call: Call, verb: str, ref: str, args: Any, wish: Wish, *, definition: str | None, done: str
) -> int:
    """One verb on what `ref` names."""
    from sagacity.cli.projects import project_or_none
    from sagacity.model.operating import Verb

    async with call.orchestrator(project_or_none()) as sagas:
        wanted: Verb = Verb(verb)
        action = await action_on(sagas, wanted, ref, args, definition=definition)
        saga = action.sagas[0] if len(action.sagas) == 1 else None
        return await carry_out(call, sagas, action, wish, done=done.format(saga=saga))


def _plain(verb: str, doc: str, done: str) -> Callable[..., Awaitable[int]]:
    """The command of a verb that takes nothing but its sagas."""

    async def command(
        call: Call,
        ref: Target,
        *,
        reason: Reason = None,
        ticket: Ticket = None,
        only_plan: OnlyPlan = False,
        yes: Yes = False,
        break_glass: BreakGlass = False,
        expect_rev: ExpectRev = None,
        definition: Definition = None,
    ) -> int:
        wish = Wish(only_plan, reason, ticket, yes, break_glass, expect_rev)
        return await perform(call, verb, ref, {}, wish, definition=definition, done=done)

    command.__doc__ = doc
    command.__name__ = verb
    return command


retry = _plain(
    "retry",
    "Send a stuck saga, or one that waits for its next try, on at once; attempts count anew.",
    "saga {saga} is sent on",
)
pause = _plain(
    "pause",
    "Let a saga take no new step; what is in flight is still recorded, and its locks stay.",
    "saga {saga} is to pause",
)
resume = _plain("resume", "Undo a pause, and nothing else.", "saga {saga} is to go on")
cancel = _plain(
    "cancel",
    "Ask a saga to go back: what it did is made good, in reverse order.",
    "saga {saga} is asked to go back",
)
abandon = _plain(
    "abandon",
    "Stop a saga and leave its effects as they are; its locks are freed, what stands is written down.",
    "saga {saga} is to be abandoned",
)

Landed = Annotated[
    str,
    typer.Option("--landed", metavar="YES|NO", help="Whether the effect happened outside: yes or no."),
]
Result = Annotated[
    str | None,
    typer.Option("--result", metavar="JSON", help="The step's result: JSON, @FILE, or - for stdin."),
]


def said_landed(text: str) -> bool:
    """`yes` or `no`.

    Raises:
        Stop: anything else.
    """
    from sagacity.cli.failures import Exit, Stop

    if text not in ("yes", "no"):
        raise Stop(Exit.USAGE, f"sagacity: --landed {text}: say yes or no")
    return text == "yes"


async def skip(
    call: Call,
    ref: Target,
    *,
    landed: Landed,
    result: Result = None,
    step: Annotated[
        str | None, typer.Option("--step", metavar="NAME", help="Which step, where several could be meant.")
    ] = None,
    reason: Reason = None,
    ticket: Ticket = None,
    only_plan: OnlyPlan = False,
    yes: Yes = False,
    break_glass: BreakGlass = False,
    expect_rev: ExpectRev = None,
    definition: Definition = None,
) -> int:
    """Count a step as done, with the result that you give; going back, count its undo as done."""
    from sagacity.cli.acting import json_given

    args: dict[str, Any] = {"landed": said_landed(landed)}
    args |= {"result": json_given(result)} if result is not None else {}
    args |= {"step": step} if step is not None else {}
    wish = Wish(only_plan, reason, ticket, yes, break_glass, expect_rev)
    done = "a step of saga {saga} is to count as done"
    return await perform(call, "skip", ref, args, wish, definition=definition, done=done)


async def force(
    call: Call,
    ref: Target,
    *,
    to: Annotated[str, typer.Option("--to", metavar="STATE", help="The state to move to.")],
    landed: Annotated[
        str | None,
        typer.Option("--landed", metavar="YES|NO", help="Whether open effects happened outside: yes or no."),
    ] = None,
    break_edge: Annotated[
        bool, typer.Option("--break-edge", help="Also where no override edge of the flow leads.")
    ] = False,
    reason: Reason = None,
    ticket: Ticket = None,
    only_plan: OnlyPlan = False,
    yes: Yes = False,
    break_glass: BreakGlass = False,
    expect_rev: ExpectRev = None,
    definition: Definition = None,
) -> int:
    """Move a saga to a state along an override edge that its flow declares."""
    args: dict[str, Any] = {"to": to}
    args |= {"landed": said_landed(landed)} if landed is not None else {}
    args |= {"break_edge": True} if break_edge else {}
    wish = Wish(only_plan, reason, ticket, yes, break_glass, expect_rev)
    done = f"saga {{saga}} is to move to {to}"
    return await perform(call, "force", ref, args, wish, definition=definition, done=done)


async def release_lock(
    call: Call,
    object_: Annotated[str, typer.Argument(metavar="TYPE:ID", help="The participant whose lock it is.")],
    *,
    expect_holder: Annotated[
        str, typer.Option("--expect-holder", metavar="REF", help="The saga that holds it, and no other.")
    ],
    fence: Annotated[
        int, typer.Option("--fence", metavar="N", help="The lock's fencing number (see `sagacity locks`).")
    ],
    reason: Reason = None,
    ticket: Ticket = None,
    only_plan: OnlyPlan = False,
    yes: Yes = False,
    break_glass: BreakGlass = False,
) -> int:
    """Take one lock from a stuck or paused saga; it asks for it again before it goes on."""
    from sagacity.cli.projects import project_or_none
    from sagacity.model.operating import Verb

    wish = Wish(only_plan=only_plan, reason=reason, ticket=ticket, yes=yes, break_glass=break_glass)
    async with call.orchestrator(project_or_none()) as sagas:
        holder = await sagas.resolve(expect_holder)
        args = {"object": object_, "fence": fence, "holder": str(holder)}
        action = await action_on(sagas, Verb.RELEASE_LOCK, str(holder), args, definition=None)
        return await carry_out(call, sagas, action, wish, done=f"{object_} is to be taken from saga {holder}")


async def ack(
    call: Call,
    ref: Annotated[
        str, typer.Argument(metavar="REF", help="A saga's id or key; a plan's id, for a broken glass; or -.")
    ],
    *,
    kind: Annotated[
        str, typer.Option("--kind", metavar="KIND", help="Which kind of attention; default: stuck.")
    ] = "stuck",
    reason: Reason = None,
    ticket: Ticket = None,
    only_plan: OnlyPlan = False,
    yes: Yes = False,
    expect_rev: ExpectRev = None,
    definition: Definition = None,
) -> int:
    """Close an attention item until its saga moves; the saga itself is not changed."""
    from sagacity.cli.office import acknowledged

    if await acknowledged(call, ref):
        return 0
    wish = Wish(only_plan=only_plan, reason=reason, ticket=ticket, yes=yes, expect_rev=expect_rev)
    done = "the attention on saga {saga} is closed until it moves"
    return await perform(call, "ack", ref, {"kind": kind}, wish, definition=definition, done=done)
