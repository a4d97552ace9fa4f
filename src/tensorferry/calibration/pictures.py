"""A folder of pictures as samples. Pillow decodes; everything else is as TensorFlow's own bilinear resizing does it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorferry.calibration.inputs import Input, Layout, the_picture_input
from tensorferry.calibration.pixels import UNSAID, Mapping, Preparation, choose_mapping, units_notice
from tensorferry.errors import FerryError, OptionError, SourceError
from tensorferry.tensor import Array, DType

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""Those that Pillow decodes without other programs."""

MOST_PIXELS = 1 << 26
"""Of one picture: 200 MB when decoded."""

MOST_FILES = 1_000_000

_PLAIN_MODES = ("1", "L", "P", "LA", "PA", "RGB", "RGBA", "RGBX", "La", "RGBa")
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclass(slots=True)
class Pictures:
    """Pictures in the order of their names; each is decoded when its turn comes."""

    where: Path
    given: Input
    layout: Layout
    mapping: Mapping
    asked: Preparation
    paths: list[Path]
    notices: list[str] = field(default_factory=list)
    moving: list[str] = field(default_factory=list)
    """Names of those with several frames."""

    @classmethod
    def open(cls, where: Path, inputs: tuple[Input, ...], asked: Preparation) -> Pictures:
        """Find the pictures, without looking into any. OptionError where the model or the options do not fit."""
        given, layout = the_picture_input(inputs)
        mapping = choose_mapping(given, layout.channels, asked)
        require_pillow()
        found = cls(where, given, layout, mapping, asked, find_pictures(where))
        if mapping.why == UNSAID:
            found.notices.append(f"pictures go in as x / 127.5 - 1: {UNSAID}")
        if notice := units_notice(asked):
            found.notices.append(notice)
        return found

    def __len__(self) -> int:
        return len(self.paths)

    def check(self, place: int) -> None:
        """Decode it once. SourceError names what cannot be used."""
        with opened(self.paths[place]) as picture:
            if getattr(picture, "n_frames", 1) > 1 and picture.format != "MPO":  # MPO: a JPEG with a preview behind it
                self.moving.append(self.paths[place].name)
            picture.draft(picture.mode, (1, 1))  # a JPEG is then decoded at an eighth of its size
            picture.load()

    def told(self) -> tuple[str, ...]:
        """What a user should know, after the check."""
        moving = [f"of moving pictures the first frame is taken: {_some(self.moving)}"] if self.moving else []
        return (*self.notices, *moving)

    def read(self, place: int) -> dict[str, Array]:
        """One sample."""
        with opened(self.paths[place]) as picture:
            pixels = pixels_of(picture, self.layout.channels)
        fitted = fit(pixels, (self.layout.height, self.layout.width), self.asked.fit)
        if self.asked.order == "bgr" and self.layout.channels > 1:
            fitted = np.concatenate([fitted[..., 2::-1], fitted[..., 3:]], axis=-1)
        values = _cast(self.mapping.apply(fitted), self.given.dtype)
        if self.layout.channels_first:
            values = values.transpose(2, 0, 1)
        if self.layout.flat:
            values = values[..., 0]
        if self.layout.batch is not None:
            values = np.repeat(values[None], self.layout.batch, axis=0)
        return {self.given.name: np.ascontiguousarray(values)}

    def about(self) -> dict[str, Any]:
        """How the pictures were prepared."""
        colours = {1: "grey", 3: self.asked.order, 4: f"{self.asked.order} and alpha"}[self.layout.channels]
        size = f"{self.layout.width}x{self.layout.height}"
        return {"kind": "pictures", "size": size, "fit": self.asked.fit, "colours": colours, "values": str(self.mapping)}


def read_pixels(path: Path, channels: int = 3) -> Array:
    """A picture, turned as its EXIF says: uint8, height x width x channels. OptionError without Pillow, SourceError as above."""
    require_pillow()
    with opened(path) as picture:
        return pixels_of(picture, channels)


def find_pictures(where: Path) -> list[Path]:
    """The file itself, or all pictures in a folder and the folders in it, by name."""
    if where.is_file():
        return [where]
    found, others = [], 0
    for folder, folders, files in os.walk(where):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        named = [name for name in files if not name.startswith(".")]
        pictures = [Path(folder, name) for name in named if Path(name).suffix.lower() in SUFFIXES]
        others += len(named) - len(pictures)
        found += pictures
        if len(found) > MOST_FILES:
            raise SourceError(f"'{where}' holds more than {MOST_FILES} pictures", remedy="name a folder with fewer")
    if not found:
        why = f"none of its {others} files ends in {', '.join(SUFFIXES)}" if others else "it is empty"
        raise SourceError(
            f"there are no pictures in '{where}'", why=why, remedy="name a folder of pictures, or an .npy, .npz or .csv file"
        )
    return sorted(found)


def require_pillow() -> None:
    try:
        import PIL.Image  # noqa: F401, PLC0415 - an extra
    except ImportError as error:
        raise OptionError(
            "pictures cannot be read", why="the package Pillow is not installed", remedy="pip install 'tensorferry[images]'"
        ) from error


@contextmanager
def opened(path: Path) -> Iterator[Image]:
    """A picture whose header is sound and whose kind of pixels we take; what goes wrong in decoding becomes a SourceError."""
    from PIL import Image  # noqa: PLC0415 - an extra

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=_FORMATS) as picture:
                _check_header(path, picture)
                yield picture
    except FerryError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise _too_large(path, str(error)) from error
    except Exception as error:  # decoders raise what they please on damaged data, from OSError to SyntaxError
        why = str(error) if isinstance(error, OSError) and str(error) else f"{type(error).__name__}: {error}"
        raise SourceError(
            f"the picture '{path}' cannot be read", why=why, remedy="repair it, or take it out of the folder"
        ) from error


def _check_header(path: Path, picture: Image) -> None:
    width, height = picture.size
    if width * height > MOST_PIXELS:
        raise _too_large(path, f"it has {width} x {height} pixels")
    sixteen = picture.mode.startswith(("I", "F")) or any(";16" in str(tile) for tile in getattr(picture, "tile", ()))
    remedy = "convert it to RGB or grey with 8 bits"
    if sixteen:
        raise SourceError(f"the picture '{path}' has more than 8 bits for each colour", remedy=remedy)
    if picture.mode not in _PLAIN_MODES:
        raise SourceError(
            f"the picture '{path}' is {picture.mode}", why="its colours hang on a profile, and would be wrong", remedy=remedy
        )


def _too_large(path: Path, why: str) -> SourceError:
    return SourceError(
        f"the picture '{path}' is too large",
        why=f"{why}; at most {MOST_PIXELS >> 20} million pixels are decoded",
        remedy="make it smaller",
    )


def pixels_of(picture: Image, channels: int) -> Array:
    """Turned as its EXIF says; uint8, height x width x channels."""
    from PIL import ImageOps  # noqa: PLC0415 - an extra

    turned = ImageOps.exif_transpose(picture).convert(_MODES[channels])
    pixels = np.asarray(turned, np.uint8)
    return pixels if pixels.ndim == 3 else pixels[..., None]


def fit(pixels: Array, size: tuple[int, int], way: str) -> Array:
    """float32 pixels of this height and width. `crop` takes the middle of the wanted proportions, `letterbox` adds black bars."""
    (height, width), (tall, wide) = pixels.shape[:2], size
    if way == "stretch":
        return resize(pixels, size)
    ratios = tall / height, wide / width
    if way == "crop":
        inner = [min(length, max(1, round(each / max(ratios)))) for length, each in ((height, tall), (width, wide))]
        top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
        return resize(pixels[top : top + inner[0], left : left + inner[1]], size)
    inner = [min(each, max(1, round(length * min(ratios)))) for length, each in ((height, tall), (width, wide))]
    top, left = (tall - inner[0]) // 2, (wide - inner[1]) // 2
    fitted = np.zeros((tall, wide, pixels.shape[2]), np.float32)
    fitted[top : top + inner[0], left : left + inner[1]] = resize(pixels, (inner[0], inner[1]))
    return fitted


def resize(pixels: Array, size: tuple[int, int]) -> Array:
    """Bilinear, half-pixel centres, no antialias: what tf.image.resize does. Only the rows and columns needed become float."""
    for axis, wanted in enumerate(size):
        length = pixels.shape[axis]
        places = np.clip((np.arange(wanted) + 0.5) * (length / wanted) - 0.5, 0, length - 1)
        low = np.floor(places).astype(np.intp)
        part = (places - low).astype(np.float32).reshape([-1 if each == axis else 1 for each in range(3)])
        below, above = (pixels.take(each, axis).astype(np.float32) for each in (low, np.minimum(low + 1, length - 1)))
        pixels = below + (above - below) * part
    return pixels


def _cast(values: Array, dtype: DType) -> Array:
    if dtype.is_float:
        return values.astype(dtype.numpy)
    limits = np.iinfo(dtype.value)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype.numpy)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
