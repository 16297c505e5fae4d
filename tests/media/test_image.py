"""Reading and writing pictures of every mode."""

import subprocess
import sys
import textwrap

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from portrayal.errors import InputError, MissingFileError
from portrayal.media.image import is_picture, read_image, to_tensor, to_uint8, write_image


@pytest.fixture
def rgb():
    image = np.zeros((40, 60, 3), np.uint8)
    image[..., 0] = np.arange(60) * 4
    image[..., 1] = np.arange(40)[:, None] * 6
    image[:6, :6] = 255
    return image


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("extension", ["jpg", "png", "tif", "webp"])
def test_exif_orientation(tmp_path, rgb, orientation, extension):
    exif = Image.Exif()
    exif[0x112] = orientation
    options = {"jpg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}.get(extension, {})
    path = tmp_path / f"p.{extension}"
    Image.fromarray(rgb).save(path, exif=exif, **options)
    stored = Image.fromarray(rgb)
    stored.getexif()[0x112] = orientation
    want = np.array(ImageOps.exif_transpose(stored))
    assert np.abs(read_image(path).astype(int) - want).max() <= (6 if extension == "jpg" else 0)
    assert read_image(path, max_side=30).shape == ((20, 30, 3) if orientation < 5 else (30, 20, 3))


@pytest.mark.parametrize("extension", ["png", "tif"])
def test_greys(tmp_path, rgb, extension):
    grey = rgb[..., 0]
    for name, stored in [("8", grey), ("16", grey.astype(np.uint16) * 257)]:
        Image.fromarray(stored).save(tmp_path / f"{name}.{extension}")
    if extension == "tif":
        Image.fromarray(grey.astype(np.int32) * 257).save(tmp_path / "32.tif")
        Image.fromarray((grey / 255).astype(np.float32)).save(tmp_path / "float.tif")
    for path in tmp_path.iterdir():
        assert np.array_equal(read_image(path), np.repeat(grey[..., None], 3, 2)), path


def test_16_bit_colour(tmp_path, rgb):
    cv2.imwrite(str(tmp_path / "p.png"), rgb[..., ::-1].astype(np.uint16) * 257)
    assert np.array_equal(read_image(tmp_path / "p.png"), rgb)


def test_transparent_parts_become_white(tmp_path, rgb):
    alpha = np.tile(np.arange(60, dtype=np.uint8) * 4, (40, 1))
    Image.fromarray(np.dstack([rgb, alpha])).save(tmp_path / "p.png")
    share = alpha[..., None] / 255
    assert np.abs(read_image(tmp_path / "p.png") - (rgb * share + 255 * (1 - share))).max() <= 1
    palette = Image.fromarray(rgb).quantize(16)
    palette.save(tmp_path / "p.gif", transparency=palette.getpixel((30, 20)))
    assert (read_image(tmp_path / "p.gif")[20, 30] == 255).all()
    assert (read_image(tmp_path / "p.gif", max_side=30)[10, 15] > 200).all()


def test_palette_bilevel_cmyk_lab(tmp_path, rgb):
    picture = Image.fromarray(rgb)
    picture.quantize(256).save(tmp_path / "palette.png")
    picture.convert("1").save(tmp_path / "one.png")
    picture.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=100, subsampling=0)
    picture.convert("CMYK").save(tmp_path / "cmyk.tif")
    for path in tmp_path.iterdir():
        image = read_image(path)
        assert (image.shape, image.dtype) == ((40, 60, 3), np.uint8)
        if path.stem != "one":
            assert np.abs(image.astype(int) - rgb).mean() < 6, path


def test_a_colour_profile_is_converted(tmp_path):
    """A profile whose red is sRGB's blue must swap them; sRGB itself must change nothing."""
    image = np.full((8, 8, 3), (200, 100, 50), np.uint8)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = bytearray(profile)
    red, blue = swapped.index(b"rXYZ"), swapped.index(b"bXYZ")
    swapped[red : red + 4], swapped[blue : blue + 4] = b"bXYZ", b"rXYZ"
    name = swapped.find("sRGB".encode("utf-16-be"))
    if name >= 0:
        swapped[name : name + 8] = "swap".encode("utf-16-be")
    Image.fromarray(image).save(tmp_path / "same.png", icc_profile=profile)
    Image.fromarray(image).save(tmp_path / "swapped.png", icc_profile=bytes(swapped))
    assert np.array_equal(read_image(tmp_path / "same.png"), image)
    assert np.abs(read_image(tmp_path / "swapped.png")[0, 0].astype(int) - [50, 100, 200]).max() <= 3


def test_animations(tmp_path, rgb):
    first, second = Image.fromarray(rgb), Image.fromarray(rgb[::-1].copy())
    for extension, is_still in [("gif", False), ("png", False), ("webp", True), ("tif", True)]:
        path = tmp_path / f"p.{extension}"
        options = {"lossless": True} if extension == "webp" else {}
        first.save(path, save_all=True, append_images=[second], **options)
        assert np.abs(read_image(path).astype(int) - rgb).mean() < 6
        assert is_picture(path) is is_still


def test_content_decides(tmp_path, rgb):
    Image.fromarray(rgb).save(tmp_path / "p.mp4", format="PNG")
    assert is_picture(tmp_path / "p.mp4")
    assert np.array_equal(read_image(tmp_path / "p.mp4"), rgb)
    (tmp_path / "p.png").write_text("words")
    assert not is_picture(tmp_path / "p.png")


def test_bad_files_give_one_sentence(tmp_path, rgb):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)).save(tmp_path / "whole.png")
    Image.fromarray(rgb).save(tmp_path / "whole.jpg")
    for whole in ("whole.png", "whole.jpg"):
        data = (tmp_path / whole).read_bytes()
        (tmp_path / f"cut-{whole}").write_bytes(data[: len(data) // 2])
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("words")
    (tmp_path / "folder.png").mkdir()
    for name in ("cut-whole.png", "cut-whole.jpg", "empty.jpg", "text.jpg", "folder.png", "absent.png"):
        with pytest.raises(InputError, match=name) as caught:
            read_image(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(MissingFileError):
        is_picture(tmp_path / "absent.png")


def test_a_bomb_is_refused(tmp_path):
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    with pytest.raises(InputError, match="megapixels"):
        read_image(tmp_path / "bomb.png", max_side=100)
    assert is_picture(tmp_path / "bomb.png")


@pytest.mark.slow
@pytest.mark.parametrize("extension", ["jpg", "png"])
def test_a_huge_picture_needs_bounded_memory(tmp_path, extension):
    path = tmp_path / f"huge.{extension}"
    options = {"compress_level": 1} if extension == "png" else {}
    Image.linear_gradient("L").convert("RGB").resize((12_000, 9_000)).save(path, **options)
    script = f"""
        import resource
        from portrayal.media.image import read_image
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert read_image({str(path)!r}, max_side=2048).shape == (1536, 2048, 3)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    assert int(run.stdout) < {"jpg": 150_000, "png": 650_000}[extension]  # kB


@pytest.mark.parametrize("extension", ["png", "jpg", "webp"])
def test_write(tmp_path, rgb, extension):
    smooth = cv2.GaussianBlur(rgb, (0, 0), 3)
    path = tmp_path / "new" / f"p.{extension}"
    write_image(path, smooth)
    assert np.abs(read_image(path).astype(int) - smooth).mean() < (0.1 if extension == "png" else 3)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_write_refuses(tmp_path, rgb):
    with pytest.raises(InputError, match=r"\.png"):
        write_image(tmp_path / "p.xyz", rgb)
    with pytest.raises(ValueError, match="uint8"):
        write_image(tmp_path / "p.png", rgb.astype(float))
    with pytest.raises(ValueError, match=r"\(40, 60, 4\)"):
        write_image(tmp_path / "p.png", np.dstack([rgb, rgb[..., 0]]))


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_tensor_round_trip(height, width, seed):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    tensor = to_tensor(image)
    assert tensor.shape == (1, 3, height, width)
    assert tensor[0, 2, height - 1, 0] == pytest.approx(image[height - 1, 0, 2] / 255)
    assert np.array_equal(to_uint8(tensor)[0], image)


def test_to_uint8_clips_and_rounds():
    values = torch.tensor([-1.0, 0.5 / 255, 1.4 / 255, 2.0]).view(1, 1, 1, 4).expand(1, 3, 1, 4)
    assert to_uint8(values)[0, 0, :, 0].tolist() == [0, 0, 1, 255]
