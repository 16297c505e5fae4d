"""Pictures in and out, and the one place where pixels become model input and come back."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError
from torch import Tensor

from portrayal.errors import InputError, MissingFileError
from portrayal.media.atomic import complete_or_absent, make_parent

UInt8 = NDArray[np.uint8]

MAX_PIXELS = 178_956_970
"""Larger pictures are refused (16-bit or compressed "bombs" could fill the memory): twice Pillow's warning limit."""

_WRITE_OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {"compress_level": 4}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".webp": ("WEBP", {"quality": 95}),
}


def read_image(path: str | Path, *, max_side: int | None = None) -> UInt8:
    """Read a picture of any kind as upright 8-bit RGB.

    EXIF orientation is applied; transparent parts become white; 16-bit and float greys are scaled to 8 bit; embedded
    colour profiles (CMYK, Display P3) are converted to sRGB; of an animation the first frame is taken.

    Args:
        path: JPEG, PNG, WebP, TIFF, GIF, BMP, AVIF and whatever else Pillow reads; the content decides.
        max_side: reduce to at most this many pixels on the longer side; large JPEGs are then decoded at reduced size.

    Returns:
        (h, w, 3) uint8 RGB.

    Raises:
        InputError: missing, empty, broken, not a picture, or more than `MAX_PIXELS` pixels.
    """
    path = Path(path)
    check_file(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of bombs below our limit and of odd metadata
        try:
            with Image.open(path) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise _too_large(path)
                return _to_rgb(picture, max_side)
        except Image.DecompressionBombError as error:
            raise _too_large(path) from error
        except UnidentifiedImageError as error:
            raise InputError(f"{path}: this is not a picture that can be read; convert it to PNG or JPEG") from error
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path}: the picture is broken or cut off ({error}); get a complete copy") from error


def write_image(path: str | Path, image: UInt8) -> None:
    """Write (h, w, 3) uint8 RGB as PNG, JPEG or WebP by extension; appears only when complete.

    Raises:
        InputError: another extension, or a place that cannot be written.
        PortrayalError: the disk is full.
        ValueError: `image` is not (h, w, 3) uint8.
    """
    path = Path(path)
    check_rgb(image)
    if path.suffix.lower() not in _WRITE_OPTIONS:
        known = ", ".join(_WRITE_OPTIONS)
        raise InputError(f"{path}: pictures are written as {known}; choose one of these extensions")
    kind, options = _WRITE_OPTIONS[path.suffix.lower()]
    make_parent(path)
    with complete_or_absent(path) as temporary:
        Image.fromarray(image).save(temporary, format=kind, **options)


def is_picture(path: str | Path) -> bool:
    """Whether the file's content, not its name, is a still picture.

    Animated GIF and PNG are videos (`read_frames` reads them); animated WebP and several pages or views in one file
    (TIFF, MPO) count as pictures, because only their first one can be used.

    Raises:
        InputError: missing, empty or unreadable file.
    """
    path = Path(path)
    check_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as picture:
                return not (picture.format in ("GIF", "PNG") and getattr(picture, "is_animated", False))
    except Image.DecompressionBombError:
        return True
    except (OSError, SyntaxError, ValueError, EOFError):
        return False


def to_tensor(image: UInt8) -> Tensor:
    """(h, w, 3) uint8 RGB to (1, 3, h, w) float32 in [0, 1]."""
    check_rgb(image)
    return rearrange(torch.from_numpy(np.ascontiguousarray(image)), "h w c -> 1 c h w").float().div_(255)


def to_uint8(images: Tensor) -> UInt8:
    """(b, 3, h, w) floats in [0, 1], clipped and rounded, to (b, h, w, 3) uint8 RGB on the CPU."""
    pixels = images.detach().float().mul(255).round_().clamp_(0, 255).to(torch.uint8)
    return rearrange(pixels, "b c h w -> b h w c").contiguous().cpu().numpy()


def check_rgb(image: UInt8) -> None:
    """Raise ValueError unless `image` is (h, w, 3) uint8."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"a picture must be (h, w, 3) uint8 RGB, got {image.shape} {image.dtype}")


def check_file(path: Path) -> None:
    """Raise InputError unless `path` is a readable file with something in it."""
    try:
        if path.is_dir():
            raise InputError(f"{path}: this is a folder; give a file")
        with path.open("rb") as file:
            if not file.read(1):
                raise InputError(f"{path}: the file is empty; get a complete copy")
    except FileNotFoundError as error:
        raise MissingFileError(f"{path}: no such file; check the name") from error
    except OSError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error


def _to_rgb(picture: Image.Image, max_side: int | None) -> UInt8:
    """Decode, reduce, turn upright, then convert to sRGB: in this order, so that the costly steps see few pixels."""
    profile = picture.info.get("icc_profile")
    scale = 1.0 if max_side is None else min(1.0, max_side / max(picture.size))
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    if size != picture.size:
        picture.draft(None, size)  # JPEG: decodes at 1/2, 1/4 or 1/8, never below `size`
    picture.load()
    turn = _TURNS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    picture = _to_8_bit(picture)
    if size != picture.size:
        picture = picture.convert("RGBA") if picture.mode in ("1", "P", "PA") else picture
        picture = picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    if turn is not None:
        picture = picture.transpose(turn)
    if profile:
        picture = _to_srgb(picture, profile)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    picture = picture if picture.mode == "RGB" else picture.convert("RGB")
    image = np.empty((picture.height, picture.width, 3), np.uint8)
    for top in range(0, picture.height, 512):  # Pillow copies what it hands over
        bottom = min(top + 512, picture.height)
        image[top:bottom] = np.asarray(picture.crop((0, top, picture.width, bottom)))
    return image


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation to what makes the picture upright."""


def _to_8_bit(picture: Image.Image) -> Image.Image:
    """Greys with 16 bits, 32 bits or floats to "L"; every other mode has 8 bits already."""
    if picture.mode not in ("I", "F", "I;16", "I;16L", "I;16B", "I;16N"):
        return picture
    values = np.asarray(picture)
    if picture.mode == "F":  # [0, 1] by convention, else already in [0, 255]
        grey = values * 255 if np.nanmax(values) <= 1 else values
    elif picture.mode == "I" and values.max() > 65535:
        grey = values / 2**31 * 255
    else:
        grey = values.astype(np.float32) / 257
    return Image.fromarray(np.nan_to_num(grey).round().clip(0, 255).astype(np.uint8))


def _to_srgb(picture: Image.Image, profile: bytes) -> Image.Image:
    """Convert from an embedded colour profile; a profile that does not fit the picture is ignored, as viewers do."""
    if picture.mode not in ("RGB", "RGBA", "CMYK", "L"):
        return picture
    target = picture.mode if picture.mode in ("RGB", "RGBA") else "RGB"
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return picture
        converted = ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode=target)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return picture
    return converted if converted is not None else picture


def _too_large(path: Path) -> InputError:
    return InputError(f"{path}: more than {MAX_PIXELS // 1_000_000} megapixels; scale the picture down first")
