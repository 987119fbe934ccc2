"""The file with the key that anchors are signed with: outside the database, for its owner only."""

import os
from pathlib import Path

from sagacity.anchor import KEY_BYTES, key_of
from sagacity.errors import ConfigError
from sagacity.ids import new_secret


def write_key(path: Path) -> None:
    """Make a new key file, mode 0600.

    Raises:
        ConfigError: the file is there already, or cannot be made.
    """
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError(f"{path} is there already: a key that signed anchors is still needed") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be made: {error.strerror}") from None
    with os.fdopen(file, "w") as opened:
        opened.write(new_secret(KEY_BYTES).hex() + "\n")


def read_key(path: Path) -> bytes:
    """The key in a file that only its owner can read.

    Raises:
        ConfigError: there is no such file, others can read it, or it holds no key; the message has the fix.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}: make a key with `sagacity anchor --new-key FILE`"
        ) from None
    if mode & 0o077:
        raise ConfigError(f"{path} can be read by others: `chmod 600 {path}`, and make a new key if they did")
    return key_of(text, file=str(path))
