"""What a plain HTML form sent, read without a library: names and texts, bounded."""

from urllib.parse import parse_qsl

from fastapi import Request

from sagacity.errors import InputError, PayloadTooLarge
from sagacity.model.canonical import MAX_PAYLOAD

_FIELDS = 100


async def read_form(request: Request) -> dict[str, str]:
    """The form's fields; of several with one name the last.

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
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_FIELDS, errors="strict"))
    except ValueError as error:
        raise InputError(f"the form cannot be read: {error}") from None
