"""Output files appear only when complete: written beside their place under a hidden name, then moved there."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from portrayal.errors import InputError, PortrayalError

_numbers = count()


def temporary_beside(path: Path) -> Path:
    """A name in the same folder as `path` that no other writer uses (also not one of another process)."""
    return path.with_name(f".{path.name}.{os.getpid()}-{next(_numbers)}.part")


def remove(path: Path) -> None:
    """Delete a file or a folder; nothing happens where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def complete_or_absent(path: Path) -> Iterator[Path]:
    """Yield a temporary path; what was written there becomes `path` at the end, or vanishes on any exception.

    Raises:
        InputError: the folder of `path` does not exist or may not be written.
        PortrayalError: the disk is full or fails.
    """
    temporary = temporary_beside(path)
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        remove(temporary)
        if isinstance(error, PortrayalError):
            raise
        raise writing_error(error, path) from error
    except BaseException:
        remove(temporary)
        raise


def make_parent(path: Path) -> None:
    """Create the folder of `path`.

    Raises:
        InputError: it cannot be created.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path.parent}: this folder cannot be created ({error.strerror}); choose another") from error


def writing_error(error: OSError, path: Path) -> PortrayalError:
    """What went wrong while writing `path`, as one sentence."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return PortrayalError(f"{path}: the disk is full; free some space or choose another disk")
    if error.errno == errno.EFBIG:
        return PortrayalError(f"{path}: the file would exceed the size allowed here; shorten it or raise the limit")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR):
        return InputError(f"{path}: cannot be written ({error.strerror}); choose another output")
    return PortrayalError(f"{path}: writing failed ({error.strerror or error}); check the disk, then run this again")
