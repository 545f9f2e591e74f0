"""Files that survive a crash: whole or absent, and locked by one process at a time."""

from __future__ import annotations

import codecs
import errno
import hashlib
import os
from pathlib import Path
from typing import Any

from pydantic_core import from_json

LITTER = "*.tmp"  # what a killed process may leave


def write_atomic(path: Path, *content: bytes | memoryview, keep: Path | None = None) -> None:
    """Replace `path` by `content`: after a crash at any moment it holds the old bytes or the new ones.

    With `keep`, the old file goes there; then a crash may leave nothing at `path`, but the old bytes at `keep`.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.writelines(content)
            file.flush()
            os.fsync(file.fileno())
        if keep and path.exists():
            path.replace(keep)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def read_json(path: Path) -> Any:
    """What a JSON file in UTF-8 holds. Raises ValueError for any other, however deeply nested or torn, and OSError."""
    return from_json(path.read_bytes().removeprefix(codecs.BOM_UTF8), allow_inf_nan=False)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_litter(folder: Path) -> None:
    for path in folder.glob(LITTER):
        path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable; Windows has no such call and needs none, some network disks have none."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):
                raise
        finally:
            os.close(descriptor)


def try_lock(descriptor: int) -> bool:
    """Whether the lock is ours now. Raises OSError on a file system that has no locks."""
    try:
        if os.name == "posix":
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            os.lseek(descriptor, 1 << 30, os.SEEK_SET)  # behind the owner's name, which others are to read
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    except (BlockingIOError, PermissionError):  # the second is Windows' word for it
        return False
    return True
