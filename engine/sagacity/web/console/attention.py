"""The first page: what nothing will move by itself, and who has to."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from sagacity.model.record import Status
from sagacity.store.base import Filter
from sagacity.web.console.frame import Frame

PAGE = 50


def pages(frame: Frame) -> APIRouter:
    """The routes of this module."""
    router = frame.router()

    @router.get("/")
    async def attention(request: Request) -> Response:
        found = await frame.sagas.list(Filter(status=(Status.STUCK,), limit=PAGE))
        return await frame.page(request, "attention.html", found=found)

    return router
