"""`verify` and `rebuild`: the log is the truth, and the tables are what folding it gives.

Both read one consistent cut (all chain heads in one statement) and page up to it, each page a snapshot of
its own, so they run beside working workers and keep nothing from being vacuumed. What has moved on since the
cut is looked at again before it is called wrong.
"""

from sagacity.audit.evidence import Evidence
from sagacity.audit.rebuilding import rebuild
from sagacity.audit.verifying import verify

__all__ = ["Evidence", "rebuild", "verify"]
