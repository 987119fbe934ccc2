"""Where the traces of our own faults are kept, so that a person reads one line and not forty."""

import os
import tempfile
import traceback
from pathlib import Path

from sagacity.ids import new_id


def keep(error: BaseException) -> tuple[str, Path]:
    """Write the trace of `error` to a file; its id and the file.

    The file lies in `.sagacity/faults` of the current folder, or with the system's temporary
    files where that cannot be written. Only its owner may read it: a trace may quote input.
    """
    fault = new_id().hex[-12:]
    text = "".join(traceback.format_exception(error))
    for folder in (Path(".sagacity/faults"), Path(tempfile.gettempdir())):
        path = folder.absolute() / f"sagacity-fault-{fault}.txt"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(text)
        except OSError:
            continue
        return fault, path
    return fault, Path(os.devnull)
