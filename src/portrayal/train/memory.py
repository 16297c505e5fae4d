"""How this process gets its memory from the system."""

from __future__ import annotations

import ctypes

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4
"""Options of glibc's mallopt."""
SPARE_BYTES = 64 << 20
MOST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Keep what tensors leave instead of giving it back: each step of a training asks for the same large blocks again,
    and on a CPU getting them anew, page by page, is a fifth of its time.

    Returns:
        Whether the C library is one that can be told so (glibc); others are left as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # no such function, and on Windows no such library
        return False
    options = ((MMAP_MAX, 0), (TRIM_THRESHOLD, MOST), (TOP_PAD, SPARE_BYTES))
    return min(mallopt(option, value) for option, value in options) == 1
