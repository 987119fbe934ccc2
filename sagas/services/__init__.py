"""The outside world of the reference flows: a warehouse, a payment provider, a carrier, a bank, clusters.

Each is a real HTTP service in a process of its own, with a ledger file of everything it did. They know
nothing of sagas: they keep idempotency keys, refuse what the played-back orders say was refused, and
report by web hook. What a flow got right or wrong can therefore be read from their ledgers alone.
"""
