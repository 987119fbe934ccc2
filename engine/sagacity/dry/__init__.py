"""Dry runs: any flow rehearsed on live data, and nothing happens.

A dry run is the engine itself at work, on a stage: below the step's code the externals, the store and the
time are the stage's. See `sagacity.dry.rehearsing` for one run, and `sagacity.dry.exploring` for all of its
failures.
"""

from sagacity.dry.exploring import Explored
from sagacity.dry.rehearsing import dry_run, explored
from sagacity.dry.report import Report
from sagacity.dry.script import Arrival, Script

__all__ = ["Arrival", "Explored", "Report", "Script", "dry_run", "explored"]
