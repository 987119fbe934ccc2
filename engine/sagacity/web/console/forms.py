"""What a plain HTML form sent, read without a library: names and texts, bounded."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

from fastapi import Request

from sagacity.errors import InputError, PayloadTooLarge
from sagacity.model.canonical import MAX_PAYLOAD

_FIELDS = 600


@dataclass(frozen=True, slots=True)
class Form:
    """The fields in the order in which they were sent; a name may come several times."""

    fields: Sequence[tuple[str, str]]

    def text(self, name: str) -> str:
        """The last field of that name without blanks around it; empty where there is none."""
        return next((value.strip() for key, value in reversed(self.fields) if key == name), "")

    def all(self, name: str) -> list[str]:
        """All of them, empty ones left out."""
        return [value.strip() for key, value in self.fields if key == name and value.strip()]

    def ticked(self, name: str) -> bool:
        """Whether a box of that name was ticked."""
        return bool(self.text(name))


async def read_form(request: Request) -> Form:
    """The form that a page sent.

    Raises:
        InputError: it is not a form, or not text. PayloadTooLarge: over 256 KiB.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise InputError(f"the body is {kind or 'of no named type'}: send a form from one of these pages")
    body = await request.body()
    if len(body) > MAX_PAYLOAD:
        raise PayloadTooLarge(len(body), MAX_PAYLOAD)
    try:
        text = body.decode("ascii")
        found = parse_qsl(text, keep_blank_values=True, max_num_fields=_FIELDS, errors="strict")
    except ValueError as error:
        raise InputError(f"the form cannot be read: {error}") from None
    return Form(found)
