"""The heart: (record, what happened, now) → what to write and what to do. No I/O, no clock."""
