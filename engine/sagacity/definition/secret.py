"""`Secret`: a mark for fields whose values nobody should read on a screen.

`card: Annotated[str, Secret]` in an input, a result, a signal or a participant's state. The engine keeps the
value as it is; the API and the console show `•••` in its place, wherever in that saga it turns up.
"""

from pydantic import Field

Secret = Field(json_schema_extra={"secret": True})
"""The mark. `Field(json_schema_extra={"secret": True})` means the same."""
