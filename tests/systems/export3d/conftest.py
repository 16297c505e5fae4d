import pytest

from portrayal.train.loop import RunOptions
from tests.systems.export3d.made_clips import make_clips


@pytest.fixture(scope="session")
def clips(tmp_path_factory):
    return make_clips(tmp_path_factory.mktemp("export3d") / "clips")


@pytest.fixture
def options(clips, tmp_path):
    """Options of a quick run on the CPU: a function of the run folder's name."""

    def make(name: str, **changes) -> RunOptions:
        quick = {"device": "cpu", "precision": "32-true", "workers": 0, "save_every_steps": 4, "log_every_steps": 1}
        return RunOptions(data=clips, out=tmp_path / name, cache=clips.parent / "cache", **(quick | changes))

    return make
