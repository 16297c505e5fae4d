"""A clip or picture that cannot be used, said so that a training leaves it out and goes on."""

from __future__ import annotations

from portrayal.errors import InputError


class BadSample(InputError):
    """One sample cannot be made; the others can. A training skips it and counts it.

    Args:
        name: of the clip or photo, as in the table that lists it.
        sentence: what is wrong, which file, what to do.
    """

    def __init__(self, name: str, sentence: str) -> None:
        super().__init__(sentence)
        self.name, self.sentence = name, sentence

    def __reduce__(self) -> tuple[type[BadSample], tuple[str, str]]:
        """Both arguments travel from a loader's worker to the training."""
        return BadSample, (self.name, self.sentence)
