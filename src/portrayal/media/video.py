"""Videos in and out; the parts are in `decode`, `encode`, `movie`, `sinks`, `sound` and `segments`."""

from portrayal.media.decode import VideoInfo, probe, read_frames
from portrayal.media.encode import VideoWriter, output_kind
from portrayal.media.segments import SegmentedWriter

__all__ = ["SegmentedWriter", "VideoInfo", "VideoWriter", "output_kind", "probe", "read_frames"]
