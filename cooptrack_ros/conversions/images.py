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


"""Conversions room: images, raw and compressed, to and from RGB arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.image import ImageError
from rosbags.image.image import Format, convert_color, to_cvtype

from cooptrack_core.datasets.images import decode_image
from cooptrack_core.errors import InputError
from cooptrack_ros.conversions.geometry import header
from cooptrack_ros.conversions.message_types import MessageTypes

# OpenCV's bare type names carry no colours; ROS drivers that use them mean these.
_MEANT = {'8UC1': 'mono8', '8UC3': 'bgr8', '8UC4': 'bgra8', '16UC1': 'mono16'}
_REMEDY = 'publish rgb8, bgr8, mono8, a bayer pattern or yuv422, or JPEG or PNG compressed'


def rgb_from_image(message: Any, source: str = 'image') -> NDArray[np.uint8]:
    """Read a sensor_msgs/Image.

    Args:
        message: The message; rows may be padded, 16 bit are scaled to 8.
        source: Where it came from, for error texts (a topic).

    Returns:
        (height, width, 3) uint8 RGB.

    Raises:
        InputError: The encoding is unknown, or the sizes do not fit the data.
    """
    encoding = _MEANT.get(message.encoding, message.encoding)
    try:
        _, kind, typename, channels = to_cvtype(encoding)
    except (ImageError, AssertionError) as error:
        raise _wrong(source, 'encoding', f'unknown encoding {message.encoding!r}') from error
    if kind in (Format.GENERIC, Format.YUV_NV12, Format.YUV_NV21):
        raise _wrong(source, 'encoding', f'encoding {message.encoding!r} is not handled')
    dtype = np.dtype(typename).newbyteorder('>' if message.is_bigendian else '<')
    width, height, step = int(message.width), int(message.height), int(message.step)
    row = width * channels * dtype.itemsize
    data = np.frombuffer(message.data, dtype=np.uint8)
    if width <= 0 or height <= 0:
        raise _wrong(source, 'width', f'the image has {width} x {height} pixels')
    if step < row or data.size < step * (height - 1) + row:
        raise _wrong(
            source,
            'data',
            f'{data.size} bytes with step {step} are too few for {width} x {height} {encoding}',
        )
    rows = np.lib.stride_tricks.as_strided(data, (height, row), (step, 1), writeable=False)
    pixels = np.ascontiguousarray(rows).view(dtype).astype(dtype.newbyteorder('='), copy=False)
    pixels = pixels.reshape((height, width) if channels == 1 else (height, width, channels))
    try:
        return np.ascontiguousarray(convert_color(pixels, encoding, 'rgb8'), dtype=np.uint8)
    except ImageError as error:
        raise _wrong(source, 'encoding', str(error)) from error


def rgb_from_compressed(message: Any, source: str = 'image') -> NDArray[np.uint8]:
    """Read a sensor_msgs/CompressedImage that holds a JPEG or PNG.

    Returns:
        (height, width, 3) uint8 RGB.

    Raises:
        InputError: The data are cut off or no JPEG or PNG.
    """
    if 'compressedDepth' in message.format:
        raise _wrong(source, 'format', 'this is a depth image')
    return decode_image(np.asarray(message.data, dtype=np.uint8).tobytes(), Path(source))


def image_to_message(
    types: MessageTypes, rgb: NDArray[np.uint8], stamp_ns: int, frame_id: str
) -> Any:
    """Make a sensor_msgs/Image, rgb8, from an array (height, width, 3)."""
    height, width, _ = rgb.shape
    return types.new(
        'sensor_msgs/msg/Image',
        header=header(types, stamp_ns, frame_id),
        height=height,
        width=width,
        encoding='rgb8',
        is_bigendian=0,
        step=width * 3,
        data=types.sequence(rgb),
    )


def compressed_to_message(types: MessageTypes, data: bytes, stamp_ns: int, frame_id: str) -> Any:
    """Make a sensor_msgs/CompressedImage from the bytes of a JPEG or PNG file."""
    kind = 'png' if data.startswith(b'\x89PNG') else 'jpeg'
    return types.new(
        'sensor_msgs/msg/CompressedImage',
        header=header(types, stamp_ns, frame_id),
        format=kind,
        data=types.sequence(np.frombuffer(data, dtype=np.uint8)),
    )


def _wrong(source: str, field: str, message: str) -> InputError:
    return InputError(message, path=source, field=field, remedy=_REMEDY)
