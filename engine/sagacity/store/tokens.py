"""Tokens over a connection. What is stored opens nothing: only the hash of a secret is here."""

from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, insert, select, update

from sagacity.model.canonical import canonical
from sagacity.model.lines import SCHEMA_VERSION
from sagacity.model.operating import Role, Token
from sagacity.store import schema
from sagacity.store.claims import Now
from sagacity.store.office import TokenFilter
from sagacity.store.rows import Scope, Values

_MOST = 500
_TOKEN = schema.token
_PLAIN = (
    *("id", "name", "hash", "kind", "made_by", "made_at", "expires_at"),
    *("revoked_at", "last_used_at"),
)


def put(conn: Connection, scope: Scope, token: Token) -> None:
    """Store a new token."""
    values: Values = {name: getattr(token, name) for name in _PLAIN}
    values["roles"] = canonical(token.roles)
    values["definitions"] = None if token.definitions is None else canonical(token.definitions)
    conn.execute(insert(_TOKEN).values(scope.values | values | {"schema_version": SCHEMA_VERSION}))


def by_hash(conn: Connection, scope: Scope, hash: str) -> Token | None:
    """The token with this hash."""
    row = conn.execute(select(_TOKEN).where(scope.of(_TOKEN), _TOKEN.c.hash == hash)).one_or_none()
    return None if row is None else _token_of(row)


def some(conn: Connection, scope: Scope, narrowed: TokenFilter) -> list[Token]:
    """A page of tokens, newest first."""
    query = select(_TOKEN).where(scope.of(_TOKEN))
    if narrowed.name is not None:
        query = query.where(_TOKEN.c.name == narrowed.name)
    if narrowed.id is not None:
        query = query.where(_TOKEN.c.id == narrowed.id)
    if narrowed.before is not None:
        query = query.where(_TOKEN.c.id < narrowed.before)
    query = query.order_by(_TOKEN.c.id.desc()).limit(min(narrowed.limit, _MOST))
    return [_token_of(row) for row in conn.execute(query)]


def revoke(conn: Connection, scope: Scope, token: UUID, *, now: Now) -> bool:
    """Refuse it from now on; False where it was not in force."""
    mine = (scope.of(_TOKEN), _TOKEN.c.id == token, _TOKEN.c.revoked_at.is_(None))
    return conn.execute(update(_TOKEN).where(*mine).values(revoked_at=now)).rowcount == 1


def used(conn: Connection, scope: Scope, token: UUID, *, now: Now) -> None:
    """Note that it was used."""
    mine = update(_TOKEN).where(scope.of(_TOKEN), _TOKEN.c.id == token)
    conn.execute(mine.values(last_used_at=now))


def _token_of(row: Any) -> Token:
    definitions = None if row.definitions is None else frozenset(orjson.loads(row.definitions))
    return Token(
        **{name: getattr(row, name) for name in _PLAIN},
        roles=frozenset(Role(name) for name in orjson.loads(row.roles)),
        definitions=definitions,
    )
