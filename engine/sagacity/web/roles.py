"""Which role each call takes: one table, and what is not in it is refused to everybody.

The gate looks a call up here by the route that will answer it, so a route cannot be forgotten: without a line
it answers nobody. The role is the least that the call takes at all; what a plan takes on top (tier,
definition, the second person) the orchestrator decides when the plan is applied.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from sagacity.model.operating import Role

OPEN: Final = None
"""No credential is asked for."""

_V, _O, _P, _A = Role.VIEWER, Role.OPERATOR, Role.APPROVER, Role.ADMIN

Least = Role | tuple[Role, ...] | None
"""What a call takes: a role, one of several, or nothing (`OPEN`)."""

API: Mapping[str, Least] = {
    "GET /health": OPEN,
    "GET /ready": OPEN,
    "GET /v1/health": OPEN,
    "GET /v1/ready": OPEN,
    "GET /metrics": _V,
    "GET /v1/openapi.json": _V,
    "GET /v1/whoami": _V,
    "GET /v1/sagas": _V,
    "POST /v1/sagas": _O,
    "GET /v1/sagas/{ref}": _V,
    "GET /v1/sagas/{ref}/history": _V,
    "GET /v1/sagas/{ref}/outcome": _V,
    "GET /v1/sagas/{ref}/preview": _V,
    "POST /v1/sagas/{ref}/signals": _O,
    "POST /v1/sagas/{ref}/cancel": _O,
    "POST /v1/sagas/{ref}/retry": _O,
    "POST /v1/sagas/{ref}/rollback": _O,
    "POST /v1/signals": _O,
    "GET /v1/objects/{type}/{id:path}": _V,
    "GET /v1/objects/{type}/{id:path}/history": _V,
    "GET /v1/locks": _V,
    "GET /v1/counts": _V,
    "GET /v1/events": _V,
    "GET /v1/plans": _V,
    "POST /v1/plans": _O,
    "GET /v1/plans/{plan}": _V,
    "POST /v1/plans/{plan}/apply": _O,
    "POST /v1/plans/{plan}/approve": _P,
    "POST /v1/plans/{plan}/reject": (_O, _P),
    "POST /v1/plans/{plan}/acknowledge": _O,
    "GET /v1/operations": _V,
    "GET /v1/attention": _V,
    "GET /v1/audit": _V,
    "POST /v1/selections": _O,
    "GET /v1/tokens": _A,
    "POST /v1/tokens": _A,
    "DELETE /v1/tokens/{ref}": _A,
    "POST /v1/dry-runs": _O,
    "GET /v1/dry-runs/{run}": _V,
}
"""The HTTP API."""

SIGN_IN: Mapping[str, Least] = {
    "GET /sign-in": OPEN,
    "GET /sign-in/callback": OPEN,
    "POST /sign-in/dev": OPEN,
    "POST /sign-out": OPEN,
}
"""Signing in and out: whoever does it has no role yet."""

CONSOLE: Mapping[str, Least] = {
    "GET /": _V,
    "GET /sagas": _V,
    "GET /sagas/{ref}": _V,
    "GET /sagas/{saga}/lines": _V,
    "GET /sagas/{saga}/acts/{verb}": _O,
    "POST /sagas/{saga}/acts/{verb}": _O,
    "POST /plans": _O,
    "GET /plans/{plan}": _V,
    "POST /plans/{plan}/apply": _O,
    "POST /plans/{plan}/approve": Role.APPROVER,
    "POST /plans/{plan}/reject": (_O, _P),
    "POST /plans/{plan}/acknowledge": _O,
    "POST /plans/{plan}/again": _O,
    "GET /operations": _V,
    "GET /audit": _V,
    "GET /locks": _V,
    "GET /dry-runs": _V,
    "GET /definitions": _V,
    "GET /find": _V,
    "GET /console/events": _V,
    "GET /console/static/{name}": OPEN,
    "POST /console/settings": _V,
}
"""The pages; a page that writes takes what the call behind it takes."""

ROLES: Mapping[str, Least] = MappingProxyType({**API, **SIGN_IN, **CONSOLE})
"""All of it: `METHOD path` as the route declares it."""
