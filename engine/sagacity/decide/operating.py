"""Operators' acts, pure: what is possible, what it would do. The one door for plans and for workers alike.

`refusal` and `preview` are asked when a plan is made and again by the worker that carries it out.
"""

from sagacity.decide.permitting import allowed, glass_refusal, refusal
from sagacity.decide.places import stands
from sagacity.decide.previewing import Preview, preview

__all__ = ["Preview", "allowed", "glass_refusal", "preview", "refusal", "stands"]
