"""Pictures, videos and sound in and out, the crop around a face, and pasting a rendered crop back."""

from portrayal.media.crop import (
    Crop,
    apply_crop,
    crop_around,
    params_to_crop,
    params_to_picture,
    points_to_crop,
    points_to_picture,
)
from portrayal.media.image import is_picture, read_image, to_tensor, to_uint8, write_image
from portrayal.media.paste import Paster, feathered_mask
from portrayal.media.video import SegmentedWriter, VideoInfo, VideoWriter, output_kind, probe, read_frames

__all__ = [
    "Crop",
    "Paster",
    "SegmentedWriter",
    "VideoInfo",
    "VideoWriter",
    "apply_crop",
    "crop_around",
    "feathered_mask",
    "is_picture",
    "output_kind",
    "params_to_crop",
    "params_to_picture",
    "points_to_crop",
    "points_to_picture",
    "probe",
    "read_frames",
    "read_image",
    "to_tensor",
    "to_uint8",
    "write_image",
]
