"""How training pairs are drawn; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PairOptions:
    """What a pair is made of and what is done to it."""

    by_identity: bool = True
    """Draw a person, then one of the person's clips (as FOMM does on VoxCeleb); otherwise every clip alike."""
    candidates: int = 2
    """Driving frames of which the one farthest in time from the source is taken; 1 draws both frames alike."""
    mirror: bool = True
    """Mirror every second pair."""
    colour: float = 0.1
    """Largest change of brightness, contrast, saturation (share) and hue (of the circle), alike in both pictures."""
    photos: float = 0.0
    """Share of pairs made from photos by meshwarp (`data.pseudo_pairs`)."""
    photo_variants: int = 8
    """Warped pictures kept of each photo."""
    photo_is_source: bool = False
    """Warp towards the truth instead of from it; the artefacts of the warp are then learned."""

    def __post_init__(self) -> None:
        if self.candidates < 1 or self.photo_variants < 1:
            raise ValueError("candidates and photo_variants must be at least 1")
        if not 0 <= self.photos <= 1 or not 0 <= self.colour <= 0.5:
            raise ValueError("photos must be in [0, 1] and colour in [0, 0.5]")
