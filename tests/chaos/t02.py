"""T2: Hypothesis looks for a sequence of acts after which engine and reference model disagree."""

import logging

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.chaos.__main__ import Options
from tests.chaos.model import Machine

SHORT, LONG, STEPS = 300, 5_000, 50


def model_based(examples: int, *, steps: int = STEPS) -> None:
    """Play so many sequences of acts; raises what the first disagreement raises, shrunk.

    Args:
        examples: sequences.
        steps: acts in each at the most.
    """
    logging.getLogger("sagacity").setLevel(logging.CRITICAL)
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    run_state_machine_as_test(Machine, settings=chosen)


def run(options: Options) -> int:
    """Play the short or the long form."""
    examples = options.seeds or (LONG if options.long else SHORT)
    try:
        model_based(examples)
    except Exception as error:
        print(f"engine and model disagree: {error!r}")
        raise
    print(f"{examples} sequences of up to {STEPS} acts: engine and model agree")
    return 0
