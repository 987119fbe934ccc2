"""How a user writes a flow, and how the engine reads it."""
