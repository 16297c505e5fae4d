"""Checkpoints of a run: one folder per step, complete or absent."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sys
from pathlib import Path
from typing import Any

import torch

from portrayal.errors import PortrayalError
from portrayal.media.atomic import complete_or_absent, writing_error

UNREADABLE = (OSError, RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError)
"""What `torch.load` raises on a damaged file."""


def save_checkpoint(run: Path, step: int, state: dict[str, Any], *, keep: int = 2) -> Path | None:
    """Write `checkpoint-<step>` under another name and rename it; older ones beyond `keep` go, the best stays.

    The folder has its name only when its content is on the disk, so that neither a kill nor a power cut leaves a
    checkpoint that cannot be read.

    Returns:
        The checkpoint; None where it could not be written (a full disk), which is said on stderr.
    """
    final = run / f"checkpoint-{step:08d}"
    partial = run / f"{final.name}.partial"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        torch.save(state, partial / "state.pt")
        _to_disk(partial / "state.pt")
        _to_disk(partial)
        if final.exists():
            shutil.rmtree(final)
        os.replace(partial, final)
        _to_disk(run)
    except (OSError, RuntimeError) as error:  # torch turns a full disk into a RuntimeError
        shutil.rmtree(partial, ignore_errors=True)
        warn(f"no checkpoint at step {step}, training goes on: {_reason(error, final)}")
        return None
    best = best_checkpoint(run)
    for old in checkpoints(run)[:-keep]:
        if old != best:
            shutil.rmtree(old, ignore_errors=True)
    return final


def load_newest(run: Path, device: torch.device) -> dict[str, Any] | None:
    """The newest checkpoint that can be read, without executing anything; None where there is none.

    Raises:
        PortrayalError: there are checkpoints and none can be read.
    """
    found = checkpoints(run)
    for path in reversed(found):
        try:
            state: dict[str, Any] = torch.load(path / "state.pt", map_location=device, weights_only=True)
            return state
        except UNREADABLE as error:
            reason = (str(error) or "cut off").splitlines()[0]
            warn(f"{path}: this checkpoint is damaged ({reason}); an earlier one is used")
    if found:
        raise PortrayalError(f"{run}: none of its checkpoints can be read; remove them, or train in another --out")
    return None


def latest_checkpoint(run: Path) -> Path | None:
    """The newest complete checkpoint of a run folder."""
    found = checkpoints(run)
    return found[-1] if found else None


def checkpoints(run: Path) -> list[Path]:
    """All complete checkpoints of a run folder, oldest first."""
    return sorted(p for p in run.glob("checkpoint-*") if p.suffix != ".partial" and (p / "state.pt").is_file())


def mark_best(run: Path, step: int, name: str, value: float) -> bool:
    """Note in `best.json` that this checkpoint is the best so far, if it is; a smaller value is better."""
    noted = run / "best.json"
    if noted.is_file() and json.loads(noted.read_text())["value"] <= value:
        return False
    write_json(noted, {"step": step, "criterion": name, "value": value})
    return True


def best_checkpoint(run: Path) -> Path | None:
    """The checkpoint that `best.json` names."""
    noted = run / "best.json"
    return run / f"checkpoint-{json.loads(noted.read_text())['step']:08d}" if noted.is_file() else None


def write_json(path: Path, content: Any) -> None:
    """Complete or absent.

    Raises:
        PortrayalError: it cannot be written.
    """
    with complete_or_absent(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


def warn(sentence: str) -> None:
    """One sentence on stderr; the training goes on."""
    print(f"portrayal: {sentence}", file=sys.stderr, flush=True)


def _reason(error: OSError | RuntimeError, path: Path) -> str:
    if isinstance(error, OSError):
        return str(writing_error(error, path))
    free = shutil.disk_usage(path.parent).free
    return f"{path}: writing failed with {free / 2**20:.0f} MiB free on the disk; free some space"


def _to_disk(path: Path) -> None:
    """Wait until the file or folder has reached the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
