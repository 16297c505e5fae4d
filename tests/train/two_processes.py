"""Run by test_processes: trains the toy stage on as many processes as its arguments say."""

import sys
from pathlib import Path

from portrayal.train.loop import RunOptions, train
from tests.train.toy import STAGE, Config

if __name__ == "__main__":
    out, devices, accumulate, steps = sys.argv[1], *map(int, sys.argv[2:])
    train(
        STAGE,
        Config(steps=steps),
        RunOptions(
            data=Path(),
            out=Path(out),
            device="cpu",
            devices=devices,
            accumulate=accumulate,
            precision="32-true",
            workers=0,
            log_every_steps=1,
            save_every_steps=3,
        ),
    )
