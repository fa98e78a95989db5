# Copyright 2026 cooptrack_ros contributors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""Datasets room: image files, complete or refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cooptrack_core.datasets.json_files import read_bytes
from cooptrack_core.errors import InputError

_PNG = b'\x89PNG\r\n\x1a\n'
_STANDALONE = {0x01, *range(0xD0, 0xD8)}
_START_OF_FRAME = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read a JPEG or PNG.

    Returns:
        (height, width, 3) uint8 RGB.

    Raises:
        InputError: The file is missing, cut off, or no image.
    """
    return decode_image(read_bytes(path, 'the image'), path)


def decode_image(data: bytes, path: Path) -> NDArray[np.uint8]:
    """Decode the bytes of a JPEG or PNG; ``path`` is named in errors.

    OpenCV fills the missing part of a cut-off file with grey and says so on stderr only, so
    completeness is checked here.

    Returns:
        (height, width, 3) uint8 RGB.

    Raises:
        InputError: The data are cut off, or no image.
    """
    _scan(data, path, complete=True)
    image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise _bad(path, 'the image cannot be decoded')
    # Twenty times as fast as turning the last axis with NumPy.
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def image_size(path: Path) -> tuple[int, int]:
    """Read (width, height) in pixels from the header of a JPEG or PNG, without decoding it.

    Raises:
        InputError: The file is missing or is neither.
    """
    return _scan(read_bytes(path, 'the image'), path, complete=False)


def _scan(data: bytes, path: Path, *, complete: bool) -> tuple[int, int]:
    """Walk the file's own structure: (width, height); with ``complete`` also ask for its end."""
    if data.startswith(_PNG) and len(data) >= 24:
        if complete and b'IEND' not in data[-64:]:
            raise _bad(path, 'the PNG is cut off (no IEND chunk)')
        return int.from_bytes(data[16:20], 'big'), int.from_bytes(data[20:24], 'big')
    if not data.startswith(b'\xff\xd8'):
        raise _bad(path, 'this is neither a JPEG nor a PNG file')
    size: tuple[int, int] | None = None
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _STANDALONE or marker == 0xFF:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in _START_OF_FRAME and at + 9 <= len(data):
            height = int.from_bytes(data[at + 5 : at + 7], 'big')
            size = (int.from_bytes(data[at + 7 : at + 9], 'big'), height)
            if not complete:
                return size
        if marker == 0xDA:
            # Inside the picture data a true FF is followed by 00, so FF D9 is the end marker.
            if size is not None and data.rfind(b'\xff\xd9', at) > 0:
                return size
            break
        at += 2 + int.from_bytes(data[at + 2 : at + 4], 'big')
    raise _bad(path, f'the JPEG is cut off after {len(data)} bytes (no end marker)')


def _bad(path: Path, message: str) -> InputError:
    return InputError(
        message, path=path, remedy="copy the file anew, or read with on_image_error='drop'"
    )
