"""Errors as RFC 9457 problem documents, from the same table that gives the exit codes.

A problem says what was wrong and how to mend it, in the words of the error itself. A fault of
ours says only its id: the trace stands in the log, not in an answer.
"""

import logging
from http import HTTPStatus
from typing import Any
from uuid import UUID

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from sagacity.cli.failures import FAULT, Failure, failure_of
from sagacity.errors import NotConfirmed, SagacityError, StalePlan
from sagacity.ids import new_id
from sagacity.telemetry import LOGGER

MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """An error, as RFC 9457 has it."""

    type: str = Field(description="`urn:sagacity:problem:…`, or `about:blank`")
    title: str
    status: int
    detail: str = Field(description="what was wrong here, and the fix")
    instance: str | None = Field(default=None, description="the path that was called")
    fault: str | None = Field(default=None, description="id of a fault of ours, as it stands in the log")
    plan: UUID | None = Field(default=None, description="the plan that was refused")
    moved: list[str] | None = Field(default=None, description="`stale-plan`: what moved, a sentence each")
    missing: list[str] | None = Field(
        default=None,
        description="`not-confirmed`: reason, confirmation, approval, as far as they are missing",
    )
    confirmation: str | None = Field(default=None, description="`not-confirmed`: what is to be typed")
    errors: list[dict[str, Any]] | None = Field(default=None, description="each field that is wrong")


_SCHEMA = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
DOCUMENTED: dict[int | str, dict[str, Any]] = {
    status: {"description": HTTPStatus(status).phrase, "content": _SCHEMA}
    for status in (400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 428, 429, 431, 500, 503, 504)
}  # fmt: skip


def problem(
    request: Request,
    *,
    status: int,
    title: str,
    detail: str,
    kind: str | None = None,
    headers: dict[str, str] | None = None,
    **more: Any,
) -> Response:
    """One problem document as an answer."""
    body = {
        "type": f"urn:sagacity:problem:{kind}" if kind else "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": request.url.path,
        **more,
    }
    return Response(orjson.dumps(body, default=str), status, headers=headers, media_type=MEDIA_TYPE)


def of_failure(request: Request, failure: Failure, detail: str, **more: Any) -> Response:
    """The problem that a row of the table means."""
    headers = {"retry-after": str(failure.retry_after)} if failure.retry_after is not None else None
    return problem(
        request,
        status=failure.status,
        title=failure.title,
        detail=detail,
        kind=failure.kind,
        headers=headers,
        **more,
    )


def fault_of(request: Request, error: Exception) -> Response:
    """A fault of ours: its id to the caller, its trace to the log."""
    fault = new_id().hex[-12:]
    logging.getLogger(LOGGER).error(
        "fault", exc_info=error, extra={"fields": {"fault": fault, "path": request.url.path}}
    )
    return of_failure(
        request, FAULT, f"a fault of ours, not yours: its trace is in the log as {fault}", fault=fault
    )


def install(app: FastAPI) -> None:
    """Make every error of `app` a problem document."""

    async def refused(request: Request, error: Exception) -> Response:
        failure = failure_of(error)
        if failure is FAULT:
            return fault_of(request, error)
        return of_failure(request, failure, str(error), **_more(error))

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return invalid_fields(request, error.errors())

    async def framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return problem(
            request,
            status=error.status_code,
            title=HTTPStatus(error.status_code).phrase,
            detail=_hint(request, error),
            headers=dict(error.headers or {}),
        )

    app.add_exception_handler(SagacityError, refused)
    app.add_exception_handler(TimeoutError, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, framework)


def _more(error: Exception) -> dict[str, Any]:
    """What an error tells programs beside its words."""
    if isinstance(error, StalePlan):
        return {"plan": error.plan, "moved": error.moved}
    if isinstance(error, NotConfirmed):
        return {"plan": error.plan, "missing": error.missing, "confirmation": error.confirmation}
    return {}


def _hint(request: Request, error: HTTPException) -> str:
    if error.status_code == HTTPStatus.NOT_FOUND and error.detail == "Not Found":
        return f"there is nothing at {request.url.path}: the calls are listed in /v1/openapi.json"
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return f"{request.method} is not a method of {request.url.path}: see /v1/openapi.json"
    return str(error.detail)


def invalid_fields(request: Request, faults: Any) -> Response:
    """Fields that are missing, unknown or of the wrong kind: 422, each named."""
    told = [
        {"at": ".".join(str(part) for part in fault["loc"]) or "$", "what": str(fault["msg"])}
        for fault in faults
    ]
    detail = "; ".join(f"{one['at']}: {one['what']}" for one in told)
    return problem(
        request, status=422, title="The request cannot be taken", detail=detail, kind="input", errors=told
    )
