"""Bugs that are planted on purpose, to test the tests: for each invariant at least one that breaks it.

The list stands before the tests that find them. A bug is planted by a switch that exists only in the
tests (`tests.chaos.plants`), and is found when a test fails that passes without it.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """One planted bug.

    Attributes:
        name: what it is called on the command line.
        breaks: invariants, by number.
        what: what the engine does wrong, in a sentence.
    """

    name: str
    breaks: tuple[str, ...]
    what: str


BUGS: tuple[Bug, ...] = (
    # --- the log --------------------------------------------------------------------------------------
    Bug(
        name="log-may-be-edited",
        breaks=("I1",),
        what="The triggers that refuse UPDATE and DELETE on the log are missing.",
    ),
    Bug(
        name="positions-with-gaps",
        breaks=("I2",),
        what="A batch that is sent again takes new positions and leaves the old ones empty.",
    ),
    Bug(
        name="hash-forgets-the-previous",
        breaks=("I3",),
        what="A line's hash does not cover the hash of the line before it.",
    ),
    Bug(
        name="hash-forgets-the-data",
        breaks=("I3",),
        what="A line's hash does not cover the digest of its data.",
    ),
    Bug(
        name="completed-twice",
        breaks=("I4",),
        what="A step's success is recorded twice.",
    ),
    Bug(
        name="unique-index-dropped",
        breaks=("I4", "I11"),
        what="The inbox has no unique index on definition and key, and nothing looks for a known key.",
    ),
    Bug(name="memo-not-stored", breaks=("I5",), what="A moved saga's row keeps its old memo."),
    Bug(
        name="object-state-not-stored",
        breaks=("I5",),
        what="An applied object's row gets its new version and keeps its old state.",
    ),
    Bug(
        name="line-forgotten",
        breaks=("I6",),
        what="A saga goes to sleep in its row, and the line that says so is not appended.",
    ),
    Bug(
        name="ack-before-commit",
        breaks=("I7",),
        what="The committer acknowledges a batch before it is written.",
    ),
    Bug(
        name="unknown-taken-for-landed",
        breaks=("I7",),
        what="After a broken answer the batch is taken for written without a look.",
    ),
    Bug(
        name="unknown-taken-for-lost",
        breaks=("I4", "I12"),
        what="After a broken answer the batch is taken for not written without a look.",
    ),
    Bug(name="flush-not-checked", breaks=("I7",), what="A store whose flush is switched off is accepted."),
    Bug(
        name="one-loser-fails-all",
        breaks=("I8",),
        what="Where one member of a batch loses, all of it are told that they lost.",
    ),
    Bug(
        name="half-is-forgotten",
        breaks=("I8",),
        what="When a batch is halved, its second half is neither written nor answered.",
    ),
    # --- the life of a saga ---------------------------------------------------------------------------
    Bug(name="stuck-moves-by-itself", breaks=("I9",), what="A stuck saga goes on when any mail comes."),
    Bug(
        name="gave-up-is-rolled-back",
        breaks=("I9", "I19"),
        what="A compensation that gives up is passed over, and the saga ends as rolled back.",
    ),
    Bug(name="guards-ignored", breaks=("I10",), what="A branch is taken whatever its guard says."),
    Bug(
        name="other-input-same-key",
        breaks=("I11",),
        what="A known key with another input is answered with the first saga.",
    ),
    Bug(
        name="bell-not-asserted",
        breaks=("I12",),
        what="A saga goes to sleep although mail came since it looked.",
    ),
    Bug(
        name="hand-over-wakes-nobody",
        breaks=("I12",),
        what="When a lock is freed, whoever is next is not woken, and the sweeper does not look.",
    ),
    Bug(
        name="changed-definition-runs",
        breaks=("I13",),
        what="A worker runs sagas of a definition that has changed since they started.",
    ),
    Bug(name="call-before-intent", breaks=("I14",), what="An effect leaves before its intent is durable."),
    Bug(
        name="cancel-after-the-pivot", breaks=("I14",), what="A cancel is taken after the point of no return."
    ),
    # --- undo -----------------------------------------------------------------------------------------
    Bug(
        name="undo-forward",
        breaks=("I15",),
        what="Compensations run in the order of the effects instead of the reverse.",
    ),
    Bug(
        name="undo-skips-the-unknown",
        breaks=("I15", "I20"),
        what="An effect whose outcome is unknown is left standing, and the saga ends as rolled back.",
    ),
    Bug(
        name="key-changes-with-the-attempt",
        breaks=("I16",),
        what="Each attempt of an effect carries a key of its own.",
    ),
    Bug(
        name="undo-under-the-effects-key",
        breaks=("I16", "I20"),
        what="A compensation carries the key of the effect that it makes good.",
    ),
    Bug(name="forward-while-going-back", breaks=("I17",), what="A saga that goes back still begins steps."),
    Bug(
        name="undo-on-a-guess",
        breaks=("I17", "I18"),
        what="An effect whose outcome is unknown is taken for landed and undone.",
    ),
    Bug(
        name="stuck-frees-its-locks", breaks=("I19",), what="A saga that becomes stuck lets go of its locks."
    ),
    # --- locks and isolation --------------------------------------------------------------------------
    Bug(
        name="two-holders",
        breaks=("I21",),
        what="A lock is granted to whoever asks, though another saga holds it.",
    ),
    Bug(
        name="freed-early",
        breaks=("I22",),
        what="The locks are freed when a step is done, before the changes are applied.",
    ),
    Bug(
        name="no-fencing",
        breaks=("I23", "I37"),
        what="A write with an old epoch, or of a saga that is another worker's, is accepted.",
    ),
    Bug(
        name="version-not-checked",
        breaks=("I23",),
        what="An object is written whatever version it has by now.",
    ),
    Bug(name="locks-outlive-the-saga", breaks=("I24",), what="A saga that was rolled back keeps its locks."),
    Bug(name="cycles-never-broken", breaks=("I25",), what="Nobody looks for cycles among late locks."),
    Bug(
        name="half-a-commit",
        breaks=("I26",),
        what="Only the first of a saga's changed objects is written at its commit.",
    ),
    Bug(
        name="shared-locks-not-taken",
        breaks=("I27",),
        what="A shared lock is taken as granted and not entered into the queue.",
    ),
    # --- time -----------------------------------------------------------------------------------------
    Bug(
        name="timer-by-the-local-clock",
        breaks=("I35", "I36"),
        what="Timers and leases are judged by the worker's own clock.",
    ),
)
