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

"""A canvas for pictures, drawn with OpenCV.

Everything is drawn at twice the size and scaled down at the end, which makes OpenCV's thin lines
and its stroke font pleasant to read.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]  # RGB

WHITE: Colour = (255, 255, 255)
TEXT: Colour = (27, 31, 36)

_FINE = 2  # drawn pixels per finished pixel
_BITS = 4  # binary places of coordinates given to OpenCV
_FONT = cv2.FONT_HERSHEY_DUPLEX
_TIPS = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
_ANGLES = np.linspace(0, 2 * np.pi, 37)[:-1]
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], -1)


class Canvas:
    """A picture in the making; pixel (0, 0) of the finished one spans [0, 1] x [0, 1].

    Args:
        width, height: Of the finished picture, pixels.
        colour: Ground, RGB.
    """

    def __init__(self, width: int, height: int, colour: Colour = WHITE) -> None:
        """Fill the ground; see the class."""
        self.width, self.height = width, height
        self._array = np.full((height * _FINE, width * _FINE, 3), colour, dtype=np.uint8)

    def finished(self) -> Picture:
        """(height, width, 3) uint8 RGB."""
        size = (self.width, self.height)
        return np.asarray(cv2.resize(self._array, size, interpolation=cv2.INTER_AREA), np.uint8)

    def paste(self, picture: Picture, x: int, y: int, width: int, height: int) -> None:
        """Put a picture at (x, y), scaled to a size."""
        size = (width * _FINE, height * _FINE)
        shrinks = size[0] < picture.shape[1]
        kind = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        x, y = x * _FINE, y * _FINE
        self._array[y : y + size[1], x : x + size[0]] = cv2.resize(
            picture, size, interpolation=kind
        )

    def line(
        self,
        points: ArrayLike,
        colour: Colour,
        width: float = 1.0,
        *,
        closed: bool = False,
        alpha: float = 1.0,
    ) -> None:
        """Draw a polyline.

        Args:
            points: (n, 2) pixels.
            colour: RGB.
            width: Pixels.
            closed: Whether the last point is joined with the first.
            alpha: Opacity.
        """
        p = np.asarray(points, dtype=np.float64).reshape(-1, 2)
        if closed:
            p = np.concatenate([p, p[:1]])
        fixed = [_fixed(p)]
        thick = max(1, round(width * _FINE))

        def draw(array: Picture) -> None:
            cv2.polylines(array, fixed, False, colour, thick, cv2.LINE_AA, _BITS)

        self._blend(p, width, alpha, draw)

    def polygon(self, points: ArrayLike, colour: Colour, alpha: float = 1.0) -> None:
        """Fill a polygon of (n, 2) pixels."""
        p = np.asarray(points, dtype=np.float64).reshape(-1, 2)
        fixed = [_fixed(p)]
        self._blend(
            p, 1, alpha, lambda array: cv2.fillPoly(array, fixed, colour, cv2.LINE_AA, _BITS)
        )

    def dot(
        self, at: ArrayLike, radius: float, colour: Colour, *, outline: Colour = WHITE
    ) -> None:
        """Draw a disc with an outline that sets it off its ground."""
        self.polygon(np.asarray(at) + _CIRCLE * (radius + 1.5), outline)
        self.polygon(np.asarray(at) + _CIRCLE * radius, colour)

    def ring(self, at: ArrayLike, radius: float, colour: Colour, width: float = 2.5) -> None:
        """Draw a circle."""
        self.line(np.asarray(at) + _CIRCLE * radius, WHITE, width + 3, closed=True)
        self.line(np.asarray(at) + _CIRCLE * radius, colour, width, closed=True)

    def diamond(
        self, at: ArrayLike, radius: float, colour: Colour, *, outline: Colour = WHITE
    ) -> None:
        """Draw a square on its tip with an outline that sets it off its ground."""
        self.polygon(np.asarray(at) + _TIPS * (radius + 2), outline)
        self.polygon(np.asarray(at) + _TIPS * radius, colour)

    def text(
        self,
        words: str,
        at: ArrayLike,
        colour: Colour = TEXT,
        *,
        size: float = 13.0,
        align: float = 0.0,
        bold: bool = False,
        halo: Colour | None = None,
    ) -> float:
        """Write a line; returns its width, pixels.

        Args:
            words: What to write; the font knows ASCII only.
            at: Left end of the base line (x, y), pixels.
            colour: RGB.
            size: Height of a capital times 1.4, about what CSS calls the font size.
            align: 0 puts the left end at x, 0.5 the middle, 1 the right end.
            bold: Thicker strokes.
            halo: RGB of an outline, for text on a picture.
        """
        clean = ascii_text(words)
        scale, thick = _pen(size, bold)
        long = text_width(words, size, bold=bold) * _FINE
        x, y = (np.asarray(at, dtype=np.float64) * _FINE).tolist()
        place = (round(x - align * long), round(y))
        passes = [(colour, thick)]
        if halo is not None:
            passes.insert(0, (halo, thick + round(2.5 * _FINE)))
        for ink, width in passes:
            cv2.putText(self._array, clean, place, _FONT, scale, ink, width, cv2.LINE_AA)
        return long / _FINE

    def _blend(
        self, points: Array, margin: float, alpha: float, draw: Callable[[Picture], object]
    ) -> None:
        """Draw, and mix what was there before into it."""
        if alpha >= 1:
            draw(self._array)
            return
        low = np.floor((points.min(0) - margin - 2) * _FINE).astype(int)
        high = np.ceil((points.max(0) + margin + 2) * _FINE).astype(int)
        x0, y0 = np.maximum(low, 0)
        x1, y1 = np.minimum(high, self._array.shape[1::-1])
        if x1 <= x0 or y1 <= y0:
            return
        part = self._array[y0:y1, x0:x1]
        before = part.copy()
        draw(self._array)
        part[:] = cv2.addWeighted(part, alpha, before, 1 - alpha, 0)


def ascii_text(words: str, length: int = 60) -> str:
    """Text that the stroke font can write; names come from the air and may hold anything."""
    clean = ''.join(c if ' ' <= c <= '~' else '?' for c in words)
    return clean if len(clean) <= length else clean[: length - 3] + '...'


def text_width(words: str, size: float = 13.0, *, bold: bool = False) -> float:
    """Pixels that a line of text takes; see ``Canvas.text``."""
    scale, thick = _pen(size, bold)
    return float(cv2.getTextSize(ascii_text(words), _FONT, scale, thick)[0][0] / _FINE)


def _pen(size: float, bold: bool) -> tuple[float, int]:
    """Scale of the font, whose capitals are 21 units high, and the thickness of its strokes."""
    thick = max(1, round(size / 13 * (1.5 if bold else 1.0) * _FINE / 1.6))
    return size / 1.4 / 21 * _FINE, thick


def _fixed(points: Array) -> NDArray[np.int32]:
    """Pixels of the finished picture as OpenCV's fixed-point numbers on the fine one."""
    # OpenCV puts (0, 0) into the middle of the first pixel.
    fine = np.clip(points * _FINE - 0.5, -1e7, 1e7)  # 32 bits hold no more
    return np.asarray(np.round(fine * 2**_BITS), dtype=np.int32)
