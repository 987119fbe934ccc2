"""A copy of a frozen record with some fields changed, ten times as fast as `dataclasses.replace`.

`replace` calls the constructor, which sets every field through the frozen class's guard; a saga of
three steps makes fifteen such copies. Here the copy is made of the record's dictionary, so it is for
frozen dataclasses without slots and without `__post_init__`.
"""

from typing import TYPE_CHECKING, Any, TypeVar

__all__ = ["changed"]

if TYPE_CHECKING:
    from dataclasses import replace as changed  # so that field names and types are checked
else:
    Item = TypeVar("Item")

    def changed(item: Item, /, **values: Any) -> Item:
        """`item` with `values` in place of the fields of those names.

        Raises:
            TypeError: it has no such field.
        """
        copy = object.__new__(type(item))
        fields = copy.__dict__
        fields.update(item.__dict__)
        known = len(fields)
        fields.update(values)
        if len(fields) != known:
            names = ", ".join(sorted(values.keys() - item.__dict__.keys()))
            raise TypeError(f"{type(item).__name__} has no field {names}")
        return copy
