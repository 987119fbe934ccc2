"""The peers, each a program of its own in an environment of its own."""
