import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from harness.data.images import CHUNK, for_each, read_image
from harness.errors import HarnessError


def decode(path, **options):
    return read_image(path, **options).pixels


def save(path, pixels, **options):
    Image.fromarray(np.asarray(pixels)).save(path, **options)
    return str(path)


def solid(path, mode, colour, size=(4, 3), **options):
    Image.new(mode, size, colour).save(path, **options)
    return str(path)


def png_that_claims(path, width, height):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    return str(path)


@pytest.mark.parametrize("channels", [1, 3])
def test_shape_is_height_width_channels(tmp_path, channels):
    image = decode(solid(tmp_path / "a.png", "RGB", "red", size=(4, 3)), channels=channels)
    assert image.shape == (3, 4, channels) and image.dtype == np.uint8


def test_gray_becomes_colour_and_colour_gray(tmp_path):
    assert (decode(solid(tmp_path / "a.png", "L", 77), channels=3) == 77).all()
    assert (decode(solid(tmp_path / "b.png", "RGB", (77, 77, 77)), channels=1) == 77).all()


@pytest.mark.parametrize("suffix", ["png", "tif", "ppm"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    pixels = np.array([[0, 257, 32768, 65535]], np.uint16)
    if suffix == "ppm":
        path.write_bytes(b"P5 4 1 65535\n" + pixels.astype(">u2").tobytes())
    else:
        save(path, pixels)
    assert decode(str(path), channels=1)[0, :, 0].tolist() == [0, 1, 128, 255]
    assert decode(str(path), channels=3)[0, :, 2].tolist() == [0, 1, 128, 255]


def test_pixels_without_a_fixed_range_are_refused(tmp_path):
    with pytest.raises(HarnessError, match=r"a\.tif is not a readable image: 32-bit pixels"):
        decode(save(tmp_path / "a.tif", np.ones((2, 2), np.float32)), channels=3)


@pytest.mark.parametrize(("mode", "clear"), [("RGBA", (0, 0, 0, 0)), ("LA", (0, 0))])
def test_transparency_is_laid_on_white(tmp_path, mode, clear):
    assert (decode(solid(tmp_path / "a.png", mode, clear), channels=3) == 255).all()
    assert (decode(solid(tmp_path / "a.png", mode, clear), channels=1) == 255).all()


def test_opaque_and_half_transparent_pixels_are_kept(tmp_path):
    assert (decode(solid(tmp_path / "a.png", "RGBA", (10, 20, 30, 255)), channels=3) == [10, 20, 30]).all()
    half = decode(solid(tmp_path / "b.png", "RGBA", (0, 0, 0, 128)), channels=3)
    assert (half == 127).all()


def test_palettes_are_looked_up(tmp_path):
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    palette.save(tmp_path / "a.png")
    assert (decode(str(tmp_path / "a.png"), channels=3) == [10, 20, 30]).all()
    palette.save(tmp_path / "b.png", transparency=1)
    assert (decode(str(tmp_path / "b.png"), channels=3) == 255).all()


def test_cmyk_becomes_rgb(tmp_path):
    image = decode(solid(tmp_path / "a.jpg", "CMYK", (0, 255, 255, 0), size=(16, 16)), channels=3)
    assert image[0, 0, 0] > 200 and (image[0, 0, 1:] < 60).all()


def test_black_and_white_is_0_and_255(tmp_path):
    assert decode(save(tmp_path / "a.png", [[True, False]]), channels=1).ravel().tolist() == [255, 0]


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    left_white = np.zeros((16, 32), np.uint8)
    left_white[:, :16] = 255
    path = save(tmp_path / "a.jpg", left_white, exif=exif)
    upright = decode(path, channels=1)
    assert upright.shape == (32, 16, 1)
    assert upright[:12].min() > 200 and upright[20:].max() < 55


def test_the_content_decides_the_format_and_the_first_frame_is_taken(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    path = tmp_path / "animation.jpg"
    frames[0].save(path, format="GIF", save_all=True, append_images=frames[1:])
    assert (decode(str(path), channels=3) == [255, 0, 0]).all()


def test_the_shorter_side_is_resized_and_the_centre_is_cut_out(tmp_path):
    pixels = np.zeros((20, 60, 3), np.uint8)
    pixels[:, 20:40] = 200
    image = decode(save(tmp_path / "a.png", pixels), channels=3, size=10)
    assert image.shape == (10, 10, 3)
    assert (image[:, 1:-1] == 200).all()


def test_a_small_image_is_enlarged(tmp_path):
    assert decode(solid(tmp_path / "a.png", "RGB", "red", size=(3, 2)), channels=3, size=8).shape == (8, 8, 3)


@pytest.mark.parametrize("size", [16, 64, 256])
def test_a_jpeg_decoded_smaller_loses_no_detail(tmp_path, size):
    wave = np.tile(127 + 100 * np.sin(np.arange(512) / 6), (512, 1)).astype(np.uint8)
    small = decode(save(tmp_path / "a.jpg", wave, quality=95), channels=1, size=size)
    exact = decode(save(tmp_path / "a.png", wave), channels=1, size=size)
    assert np.abs(small.astype(int) - exact).max() <= 8


def test_a_format_outside_the_list_is_refused_whatever_its_name(tmp_path):
    path = solid(tmp_path / "a.jpg", "RGB", "red", format="PCX")
    with pytest.raises(HarnessError, match=r"a\.jpg is not a readable image: no known format"):
        decode(path, channels=3)


def test_what_is_not_an_image_is_named(tmp_path):
    good = tmp_path / "good.png"
    save(good, np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    bad = {"truncated.png": good.read_bytes()[:2000], "empty.jpg": b"", "text.jpg": b"hello " * 100}
    bad["script.jpg"] = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(HarnessError, match=f"{name} is not a readable image"):
            decode(str(tmp_path / name), channels=3)
    with pytest.raises(HarnessError, match="No such file"):
        decode(str(tmp_path / "missing.jpg"), channels=3)


def test_a_huge_image_is_refused(tmp_path):
    with pytest.raises(HarnessError, match=r"bomb\.png is not a readable image"):
        decode(png_that_claims(tmp_path / "bomb.png", 20_000, 11_000), channels=3)


def test_a_large_image_is_read_without_a_warning(tmp_path):
    # 100 megapixels: Pillow warns from 89, and a warning is an error in these tests.
    path, found = solid(tmp_path / "large.png", "1", 1, size=(12_500, 8_000)), []
    for_each(1, lambda _: found.append(decode(path, channels=1, size=4)))
    assert (found[0] == 255).all()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("name", "mode"), [("a.jpg", "RGB"), ("a.jpg", "L"), ("a.png", "RGB"), ("a.png", "L"), ("a.gif", "RGB")]
)
def test_plain_are_jpeg_and_png_of_gray_or_colour(tmp_path, name, mode, channels):
    path = solid(tmp_path / name, mode, 3 if mode == "L" else (1, 2, 3))
    assert read_image(path, channels=channels).plain == (name != "a.gif")


def test_the_content_decides_what_is_plain(tmp_path):
    assert read_image(solid(tmp_path / "a.gif", "RGB", "red", format="JPEG"), channels=3).plain
    assert not read_image(solid(tmp_path / "a.jpg", "RGB", "red", format="BMP"), channels=3).plain


@pytest.mark.parametrize(
    ("name", "mode", "options"),
    [
        ("a.png", "P", {}),
        ("a.png", "1", {}),
        ("a.png", "I;16", {}),
        ("a.png", "RGBA", {}),
        ("a.png", "LA", {}),
        ("a.png", "RGB", {"transparency": (0, 0, 0)}),
        ("a.png", "L", {"transparency": 0}),
        ("a.jpg", "CMYK", {}),
        ("a.webp", "RGB", {}),
        ("a.tiff", "RGB", {}),
        ("a.bmp", "RGB", {}),
        ("a.ppm", "RGB", {}),
    ],
)
def test_what_decoders_may_read_in_different_ways_is_not_plain(tmp_path, name, mode, options):
    assert not read_image(solid(tmp_path / name, mode, 0, **options), channels=3).plain


def test_the_gray_of_a_colour_jpeg_is_the_luma_in_the_file(tmp_path):
    # Saturated colours are clipped on their way to RGB, so that the gray of RGB is another one.
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    path = save(tmp_path / "a.jpg", noise, quality=95)
    with Image.open(path) as image:
        by_rgb = np.asarray(image.convert("L"))
    with Image.open(path) as image:
        image.draft("YCbCr", image.size)
        luma = np.asarray(image.convert("YCbCr"))[..., 0]
    found = decode(path, channels=1)[..., 0]
    assert np.array_equal(found, luma)
    assert np.abs(by_rgb.astype(int) - luma).max() > 2


@pytest.mark.parametrize("count", [0, 1, CHUNK - 1, CHUNK, 5 * CHUNK + 3])
def test_each_number_is_worked_on_once(count):
    done = []
    for_each(count, done.append)
    assert sorted(done) == list(range(count))


def test_the_first_error_ends_the_work():
    done = []

    def work(number):
        if number in (20, 39):
            raise HarnessError(f"number {number}")
        done.append(number)

    with pytest.raises(HarnessError, match="number 20"):
        for_each(40, work)
    assert set(range(CHUNK)) <= set(done)


def test_filters_of_warnings_are_as_they_were():
    before = list(warnings.filters)
    for_each(3, lambda _: None)
    assert warnings.filters == before
