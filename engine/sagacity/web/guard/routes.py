"""The role that a call takes, found by the very route that will answer it.

The list is made from the application's own routes, in their order, so no path can be read here in one way
and there in another.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi.routing import iter_route_contexts
from starlette.routing import Mount, compile_path

from sagacity.model.operating import Actor, Role

DENIED = "denied"
"""A route that stands in no table."""

Need = Role | tuple[Role, ...] | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One route: how its path reads, and what each method takes."""

    pattern: re.Pattern[str]
    needs: Mapping[str, Need]


def routes_of(routes: Sequence[Any]) -> Iterator[tuple[str, str]]:
    """Every (method, path) that the application answers, in its order; a mount answers GET."""
    for context in iter_route_contexts(routes):
        path = context.path or "/"
        if isinstance(context.original_route, Mount):
            yield "GET", f"{path}/{{path:path}}"
        else:
            for method in sorted(context.methods or {"GET"}):
                yield method, path


def known_routes(routes: Sequence[Any], table: Mapping[str, Need]) -> list[Known]:
    """The routes with what they take; HEAD takes what GET does."""
    found: dict[str, dict[str, Need]] = {}
    for method, path in routes_of(routes):
        key = f"{'GET' if method == 'HEAD' else method} {path}"
        found.setdefault(path, {})[method] = table.get(key, DENIED)
    return [Known(pattern=compile_path(path)[0], needs=needs) for path, needs in found.items()]


def allows(need: Need, actor: Actor) -> bool:
    """Whether `actor` has what a call takes."""
    if need is None:
        return True
    if isinstance(need, tuple):
        return any(actor.may(role) for role in need)
    return isinstance(need, Role) and actor.may(need)


class Routes:
    """Looks calls up; the routes are read once, when the first call comes."""

    def __init__(self, routes: Callable[[], Sequence[Any]], table: Mapping[str, Need]) -> None:
        self._routes, self._table = routes, table
        self._known: list[Known] | None = None

    def need(self, method: str, path: str) -> Need:
        """The least role; None: open; `DENIED`: it is in no table. A path without a route takes a viewer.

        A path that is known, by another method only, takes a viewer as well: the answer is 405.
        """
        if self._known is None:
            self._known = known_routes(self._routes(), self._table)
        for known in self._known:
            if known.pattern.match(path) and method in known.needs:
                return known.needs[method]
        return Role.VIEWER
