"""Videos in and out; the parts are in `decode`, `encode`, `sinks`, `sound` and `segments`."""

from portrayal.media.decode import VideoInfo, probe, read_frames
from portrayal.media.encode import VideoWriter, output_kind

__all__ = ["VideoInfo", "VideoWriter", "output_kind", "probe", "read_frames"]
