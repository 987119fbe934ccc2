"""Answers: views as JSON, what users stored byte for byte, so no number changes on its way out."""

from collections.abc import Iterable, Mapping
from functools import reduce
from operator import or_
from typing import Any

from fastapi.responses import Response
from pydantic import BaseModel, create_model

from sagacity.cli import shapes


def one(view: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """One view."""
    return _json(shapes.document(view), status, headers)


def many(views: Iterable[Any], *, after: str | None = None) -> Response:
    """Many views; `after` is the cursor of the next page."""
    return _json(shapes.page(views, after=after), 200, None)


def _json(value: Any, status: int, headers: Mapping[str, str] | None) -> Response:
    return Response(shapes.dump(value), status, headers=dict(headers or {}), media_type="application/json")


def described(view: type, status: int = 200, what: str = "as asked") -> dict[int | str, dict[str, Any]]:
    """For OpenAPI: the answer is one `view`."""
    return {status: {"model": shapes.schema_of(view), "description": what}}


def described_any(*views: type, status: int, what: str) -> dict[int | str, dict[str, Any]]:
    """For OpenAPI: the answer is one of these `views`."""
    either: Any = reduce(or_, (shapes.schema_of(view) for view in views))
    return {status: {"model": either, "description": what}}


def described_page(view: type) -> dict[int | str, dict[str, Any]]:
    """For OpenAPI: the answer is a page of `view`s."""
    item: Any = shapes.schema_of(view, whole=False)
    shape: type[BaseModel] = create_model(
        f"{view.__name__}Page",
        schema_version=(int, shapes.SCHEMA_VERSION),
        items=(list[item], ...),
        next=(str | None, None),
    )
    return {200: {"model": shape, "description": "a page; `next` is the cursor of the one behind it"}}
