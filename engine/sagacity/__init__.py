"""Sagacity: long-lived business transactions as persisted finite-state machines."""
