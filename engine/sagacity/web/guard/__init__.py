"""Who is calling, and what they may do: everything that stands between the socket and a route."""
