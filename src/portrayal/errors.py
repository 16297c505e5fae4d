"""What a user can get wrong, as exceptions with one clear sentence: what, which file or frame, what to do."""

from __future__ import annotations


class PortrayalError(Exception):
    """A failure that the message explains; the command line prints it and exits with `exit_code`."""

    exit_code = 1


class InputError(PortrayalError, ValueError):
    """Something given by the user cannot be used."""

    exit_code = 2


class MissingFileError(InputError, FileNotFoundError):
    """A file or folder that was named does not exist."""
