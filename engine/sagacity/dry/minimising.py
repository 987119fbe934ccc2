"""Shrinking what fails: fault by fault is left out while it still fails; what is left is told as a test."""

import json
from collections.abc import Sequence
from dataclasses import replace

from sagacity.dry.exploring import path_of
from sagacity.dry.faults import Fault
from sagacity.dry.live import Live
from sagacity.dry.play import Scene, play
from sagacity.model.canonical import loaded
from sagacity.store.memory import MemoryDatabase


def fewest(scene: Scene, live: Live, faults: Sequence[Fault]) -> tuple[Fault, ...]:
    """The fewest of `faults` with which it still fails: leaving any one of them out mends it."""
    database = MemoryDatabase()
    try:

        def fails(some: Sequence[Fault]) -> bool:
            played = play(replace(scene, faults=tuple(some)), live, database)
            return not path_of(played, some).ok

        left = tuple(faults)
        for one in faults:
            without = tuple(fault for fault in left if fault != one)
            if fails(without):
                left = without
        return left
    finally:
        database.close()


def minimised(scene: Scene, live: Live, flow: str, faults: Sequence[Fault] | None = None) -> str:
    """A failing scenario at its smallest, as a test to keep.

    Args:
        scene: what was played.
        live: what lies under it.
        flow: `MODULE:CLASS`, for the import.
        faults: what fails; by default the scene's own.
    """
    few = fewest(scene, live, (*scene.faults, *(faults or ())))
    module, _, _ = flow.rpartition(":")
    dotted = module.removesuffix(".py").replace("/", ".") or scene.flow.module
    name = scene.flow.cls.__name__
    doing = "_and_".join(_snake(f"{f.kind}_{f.name}") for f in few) or "nothing_failing"
    script = scene.script.model_dump(mode="json", exclude_defaults=True)
    extra = f"\n        script=Script.model_validate({script!r})," if script else ""
    told = "\n".join(f"#   {fault}: {fault.meaning}" for fault in few)
    count = len(scene.faults) + len(faults or ())
    return (
        f"# The smallest scenario that fails ({len(few)} of {count} faults):\n"
        f"{told}\n"
        f"from sagacity.dry import {'Script, ' if script else ''}dry_run\n"
        f"from {dotted} import {name}\n\n\n"
        f"async def test_{_snake(name)}_leaves_nothing_standing_with_{doing}() -> None:\n"
        f"    report = await dry_run(\n"
        f"        {name},\n"
        f"        {json.dumps(loaded(scene.input))},\n"
        f"        faults={[str(fault) for fault in few]},{extra}\n"
        f"        here=True,\n"
        f"    )\n"
        f"    assert report.ok, report.text()\n"
    )


def _snake(text: str) -> str:
    return "".join(char.lower() if char.isalnum() else "_" for char in text)
