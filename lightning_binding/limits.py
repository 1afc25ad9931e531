"""Limits on files that users give, and readers that keep them; what goes beyond is an `InputError`."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from lightning_binding.errors import InputError

MOST_PIXELS = 2**27
"""Pixels of a picture, by its header; Pillow itself refuses more than twice its `Image.MAX_IMAGE_PIXELS`."""
MOST_TEXT = 16 * 2**20
"""Bytes of a text file: a configuration, a list, points."""
MOST_NODES = 100_000
"""Values of a configuration, with what its anchors repeat counted as often as it is repeated."""
MOST_DEPTH = 100
"""Mappings and lists inside of each other in a configuration."""


def read_text(path: str | Path, opener: Callable[[str, int], int] | None = None) -> str:
    """A text in UTF-8.

    Args:
        path: Of the file.
        opener: That of `open`.

    Raises:
        InputError: If it is longer than `MOST_TEXT`, cannot be read, or is no text.
    """
    try:
        with open(path, "rb", opener=opener) as file:
            content = file.read(MOST_TEXT + 1)
        if len(content) > MOST_TEXT:
            raise InputError(f"{path} is longer than {MOST_TEXT} bytes (limits.MOST_TEXT): is it the right file?")
        return content.decode("utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text in UTF-8: {error}.") from error


def parse_json(text: str, what: str | Path) -> Any:
    """The value of a JSON text.

    Args:
        text: The text.
        what: Names it in the message.

    Raises:
        InputError: If it is no JSON, or nested too deep.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise InputError(f"{what} is nested too deep.") from None
    except ValueError as error:
        raise InputError(f"{what} is no JSON: {error}.") from error


@contextmanager
def picture(path: str | Path, what: str = "") -> Iterator[Image.Image]:
    """An opened picture, not yet decoded; whatever Pillow raises for it inside becomes an `InputError`.

    Args:
        path: Of the file.
        what: Goes before the path in messages.

    Raises:
        InputError: If it cannot be read, or has more than `MOST_PIXELS`.
    """
    try:
        with Image.open(path) as image:
            if image.width * image.height > MOST_PIXELS:
                raise InputError(
                    f"{what}{path} has {image.width} x {image.height} pixels, "
                    f"more than {MOST_PIXELS} (limits.MOST_PIXELS)."
                )
            yield image
    except InputError:
        raise
    except Exception as error:  # OSError, SyntaxError, ValueError, struct.error, DecompressionBombError, …
        raise InputError(f"{what}{path} cannot be read as a picture: {error}") from error


def check_stored(path: str | Path) -> None:
    """Checks that a zip file of torch unpacks to no more than itself: torch stores, and never compresses.

    Raises:
        InputError: If it would unpack to more than the file holds. A file that is no zip is left to its reader.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except Exception:  # zipfile raises many for damage; whoever reads the file says what is wrong
        return
    if unpacked > Path(path).stat().st_size:
        raise InputError(f"{path} unpacks to {unpacked} bytes, more than it holds: torch writes no such checkpoint.")
