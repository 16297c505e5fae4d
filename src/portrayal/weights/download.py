"""One file from the network: continued where it broke off, checked, and in its place only when it is right."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO, cast
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from portrayal.errors import PortrayalError

Progress = Callable[[str, int, int | None], None]
"""Called with (stage, done, total)."""
CHUNK = 1 << 18
"""Bytes read at a time."""
TIMEOUT = 30.0
"""Seconds without an answer after which a connection counts as broken."""


def download(url: str, path: Path, *, size_bytes: int, sha256: str, progress: Progress | None = None) -> None:
    """Fetch a file whose size and hash are known; `<path>.part` keeps what came of it until it is complete.

    Raises:
        InputError: the folder cannot be written.
        PortrayalError: no connection, it broke off, the disk is full, or what came is not what was expected.
    """
    part = path.with_name(f"{path.name}.part")
    # Here, because `media` imports `face`, whose model imports the weights registry, which imports this module.
    from portrayal.media.atomic import make_parent, writing_error

    make_parent(path)
    try:
        if part.exists() and part.stat().st_size > size_bytes:
            part.unlink()
        try:
            with part.open("ab") as file:
                if file.tell() < size_bytes:
                    _fetch(url, file, path, size_bytes=size_bytes, progress=progress)
        finally:
            if part.exists() and part.stat().st_size == 0:
                part.unlink()
        if file_sha256(part) != sha256:
            part.unlink()
            raise PortrayalError(f"{url}: what came is not the expected file (its SHA-256 differs); nothing was kept")
        os.replace(part, path)
    except OSError as error:
        raise writing_error(error, path) from error


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(url: str, file: BinaryIO, path: Path, *, size_bytes: int, progress: Progress | None) -> None:
    """Append what `file` still lacks, or all of it where the server cannot continue.

    Raises:
        PortrayalError: it broke off (the file keeps what came), or the server sends a page, or more than the file
            should have.
    """
    with _open(url, file.tell(), path) as response:
        if response.headers.get_content_type() == "text/html":
            raise PortrayalError(f"{url}: a page came instead of the file; open it in a browser, or put it at {path}")
        if response.status != 206 or not _continues(response, file.tell()):
            _empty(file)
        while True:
            done = file.tell()
            if progress:
                progress(path.name, done, size_bytes)
            chunk = _read(response)
            if not chunk:
                break
            if done + len(chunk) > size_bytes:
                _empty(file)
                raise PortrayalError(
                    f"{url}: what came is longer than the expected {size_bytes} bytes; nothing was kept"
                )
            file.write(chunk)
    if file.tell() < size_bytes:
        raise PortrayalError(f"{url}: broke off after {file.tell()} of {size_bytes} bytes; run this again to continue")


def _open(url: str, start: int, path: Path) -> HTTPResponse:
    """The answer to a request for the bytes from `start` on, or for all where the server refuses that."""
    headers = {"User-Agent": "portrayal"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        return cast(HTTPResponse, urlopen(Request(url, headers=headers), timeout=TIMEOUT))
    except HTTPError as error:
        error.close()
        if error.code == 416 and start:
            return _open(url, 0, path)
        raise PortrayalError(
            f"{url}: the server answered {error.code} {error.reason}; try later, or put it at {path}"
        ) from None
    except (OSError, HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        reason = getattr(reason, "strerror", None) or reason
        raise PortrayalError(f"{url}: not reached ({reason}); check the network, or put the file at {path}") from error


def _continues(response: HTTPResponse, start: int) -> bool:
    return response.headers.get("Content-Range", "").startswith(f"bytes {start}-")


def _empty(file: BinaryIO) -> None:
    file.seek(0)
    file.truncate()


def _read(response: HTTPResponse) -> bytes:
    """The next bytes; none at the end or where the connection broke."""
    try:
        return response.read(CHUNK)
    except (OSError, HTTPException):
        return b""
