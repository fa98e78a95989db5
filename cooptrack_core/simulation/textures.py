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

"""Procedural textures: the painted ground of a junction, facades, leaves, clouds.

Texels hold the square root of linear reflectance as uint8, so that 8 bits suffice in the dark.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from cooptrack_core.simulation.layout import CROSSWALK, REACH, STOP_LINE, Arm, Layout
from cooptrack_core.simulation.shapes import Floats

Array = NDArray[np.float64]
Bytes = NDArray[np.uint8]
FACADE_STYLES = 6
FACADE_EXTENT = 12.8  # metres per facade tile


@dataclass(frozen=True, eq=False)
class Texture:
    """A picture with ever smaller copies.

    Attributes:
        levels: (h, w, 3) uint8 each, every one half the size of the one before.
        origin: Metres of the corner of texel (0, 0).
        texel: Metres per texel of level 0.
        wrap: Whether it repeats for ever.
    """

    levels: tuple[Bytes, ...]
    origin: tuple[float, float]
    texel: float
    wrap: bool

    def sample(self, u: Floats, v: Floats, footprint: Floats) -> Floats:
        """Linear reflectance (n, 3) at (u, v) metres, averaged over ``footprint`` metres."""
        top = len(self.levels) - 1
        level = np.log2(np.maximum(footprint / np.float32(self.texel), 1e-3)) + np.float32(0.25)
        level = np.clip(np.round(level), 0, top).astype(np.int8)
        out = np.empty((len(u), 3), np.float32)
        for k in range(top + 1):
            where = np.flatnonzero(level == k)
            if len(where) == 0:
                continue
            scale = np.float32(1 / (self.texel * 2**k))
            x = (u[where] - np.float32(self.origin[0])) * scale - np.float32(0.5)
            y = (v[where] - np.float32(self.origin[1])) * scale - np.float32(0.5)
            out[where] = _lookup(self.levels[k], x, y, self.wrap)
        out *= np.float32(1 / 255)
        return np.square(out, out=out)


def _lookup(image: Bytes, x: Floats, y: Floats, wrap: bool) -> Floats:
    if wrap:
        x, y = np.mod(x, image.shape[1]), np.mod(y, image.shape[0])
    n, columns = len(x), 4096  # remap wants a picture, and one of limited width
    rows = -(-n // columns)
    mx = np.zeros(rows * columns, np.float32)
    my = np.zeros(rows * columns, np.float32)
    mx[:n], my[:n] = x, y
    border = cv2.BORDER_WRAP if wrap else cv2.BORDER_REPLICATE
    out = cv2.remap(
        image, mx.reshape(rows, columns), my.reshape(rows, columns), cv2.INTER_LINEAR,
        borderMode=border,
    )  # fmt: skip
    return np.asarray(out.reshape(-1, 3)[:n], np.float32)


def pyramid(image: Bytes, origin: tuple[float, float], texel: float, *, wrap: bool) -> Texture:
    """Add the smaller copies."""
    levels = [image]
    while min(levels[-1].shape[:2]) >= 32 and len(levels) < 7:
        h, w = levels[-1].shape[0] // 2, levels[-1].shape[1] // 2
        levels.append(np.asarray(cv2.resize(levels[-1], (w, h), interpolation=cv2.INTER_AREA)))
    return Texture(tuple(levels), origin, texel, wrap)


def _encode(colour: ArrayLike) -> tuple[float, float, float]:
    r, g, b = (np.sqrt(np.asarray(colour, np.float64)) * 255).tolist()
    return r, g, b


@lru_cache(maxsize=1)
def grain() -> Bytes:
    """(512, 512) tileable noise around 128: fine grain on soft blotches."""
    rng = np.random.default_rng(11)
    total = np.zeros((512, 512), np.float32)
    for size, weight in ((512, 9.0), (256, 6.0), (64, 5.0), (16, 6.0), (8, 6.0)):
        small = rng.normal(size=(size, size)).astype(np.float32)
        padded = np.pad(small, 2, mode='wrap')
        scale = 512 // size
        large = cv2.resize(padded, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        cut = 2 * scale
        total += weight * large[cut : cut + 512, cut : cut + 512]
    return np.asarray(np.clip(128 + total, 40, 216), np.uint8)


@lru_cache(maxsize=1)
def noise_texture() -> Texture:
    """Leaves and clouds: the grain with more contrast, 10 m per tile."""
    g = grain().astype(np.float32)
    image = np.clip(128 + 3.2 * (g - 128), 30, 255).astype(np.uint8)
    return pyramid(np.repeat(image[..., None], 3, 2), (0.0, 0.0), 10.0 / 512, wrap=True)


@lru_cache(maxsize=FACADE_STYLES)
def facade(style: int) -> Texture:
    """Four by four windows of one style; to be tinted by the colour of the building."""
    rng = np.random.default_rng(1000 + style)
    size = 512
    image = np.full((size, size, 3), _encode((0.8, 0.8, 0.8)), np.uint8)
    if style in (1, 4):  # brick courses
        for y in range(0, size, 8):
            image[y : y + 1] = (image[y : y + 1] * 0.86).astype(np.uint8)
    columns, rows = ((4, 4), (5, 4), (8, 4), (3, 4), (6, 4), (4, 4))[style]
    wide, tall = (
        (0.5, 0.55), (0.42, 0.6), (0.82, 0.62), (0.72, 0.4), (0.4, 0.5), (0.92, 0.78),
    )[style]  # fmt: skip
    cw, ch = size / columns, size / rows
    for row in range(rows):
        if style in (0, 3):
            y = int((row + 0.02) * ch)
            image[y : y + 5] = _encode((0.55, 0.55, 0.55))
        for column in range(columns):
            x0, x1 = int((column + 0.5 - wide / 2) * cw), int((column + 0.5 + wide / 2) * cw)
            y0, y1 = int((row + 0.5 - tall / 2) * ch), int((row + 0.5 + tall / 2) * ch)
            frame = _encode((0.9, 0.9, 0.88) if style % 2 == 0 else (0.25, 0.25, 0.25))
            cv2.rectangle(image, (x0 - 3, y0 - 3), (x1 + 3, y1 + 3), frame, -1)
            shade = rng.uniform(0.03, 0.12)
            pane = np.array([0.9, 1.0, 1.15]) * shade
            cv2.rectangle(image, (x0, y0), (x1, y1), _encode(pane), -1)
            if rng.random() < 0.35:  # a curtain or blind
                drop = y0 + int((y1 - y0) * rng.uniform(0.3, 1.0))
                cloth = rng.uniform(0.25, 0.5) * np.array([1.0, 0.97, 0.9])
                cv2.rectangle(image, (x0, y0), (x1, drop), _encode(cloth), -1)
            middle = (x0 + x1) // 2
            cv2.line(image, (middle, y0), (middle, y1), frame, 2)
    image = np.asarray(image[::-1])  # v runs upwards
    mottled = cv2.multiply(image, np.repeat(grain()[..., None], 3, 2), scale=1 / 128)
    return pyramid(np.asarray(mottled, np.uint8), (0.0, 0.0), FACADE_EXTENT / size, wrap=True)


class _Painter:
    """Draws metres into a picture."""

    def __init__(self, image: Bytes, origin: float, texel: float) -> None:
        self.image, self.origin, self.texel = image, origin, texel

    def fill(self, points: ArrayLike, colour: ArrayLike) -> None:
        pixels = (np.asarray(points) - self.origin) / self.texel - 0.5
        sixteenths = np.round(pixels * 16).astype(np.int32)
        cv2.fillPoly(self.image, [sixteenths.reshape(-1, 1, 2)], _encode(colour), cv2.LINE_AA, 4)

    def strip(
        self, arm: Arm, s0: float, s1: float, left: float, right: float, colour: ArrayLike
    ) -> None:
        """Fill between two lateral offsets along an arm."""
        s = np.linspace(s0, s1, max(2, int((s1 - s0) / 1.5)))
        a = arm.offset(s, np.full(len(s), left))
        b = arm.offset(s, np.full(len(s), right))
        self.fill(np.concatenate([a, b[::-1]]), colour)


def paint_ground(layout: Layout, rng: np.random.Generator, texel: float) -> Texture:
    """The junction seen from above: asphalt, kerbs, sidewalks, markings, crosswalks, wear."""
    half = REACH + 6.0
    size = int(2 * half / texel)
    lawn = np.array([0.10, 0.14, 0.05]) * rng.uniform(0.8, 1.4)
    paving = np.array([0.30, 0.29, 0.27]) * rng.uniform(0.7, 1.25)
    asphalt = np.array([0.105, 0.105, 0.11]) * rng.uniform(0.65, 1.5)
    paint = np.array([0.62, 0.62, 0.60]) * rng.uniform(0.75, 1.1)
    yellow = np.array([0.60, 0.42, 0.08]) if rng.random() < 0.5 else paint
    around = lawn if rng.random() < 0.5 else paving * 0.8
    image = np.full((size, size, 3), _encode(around), np.uint8)
    painter = _Painter(image, -half, texel)
    walk, end = layout.sidewalk, REACH + 4
    for extra, colour in ((walk, paving), (0.18, paving * 1.25), (0.0, asphalt)):
        for arm in layout.arms:
            painter.strip(arm, 0.0, end, arm.half_in + extra, -arm.half_out - extra, colour)
        corners = [
            arm.offset(arm.mouth, side)
            for arm in layout.arms
            for side in (arm.half_in + extra, -arm.half_out - extra)
        ]
        painter.fill(cv2.convexHull(np.array(corners, np.float32))[:, 0], colour)
    for _ in range(int(rng.integers(6, 16))):  # patched road
        arm = layout.arms[int(rng.integers(len(layout.arms)))]
        s, a = rng.uniform(0, 60), rng.uniform(-arm.half_out, arm.half_in - 2)
        patch = asphalt * rng.uniform(0.7, 1.3)
        painter.strip(arm, s, s + rng.uniform(1, 9), a, a + rng.uniform(0.6, 2.0), patch)
    for arm in layout.arms:
        _markings(painter, arm, paint, yellow)
    grains = grain()
    turned = np.ascontiguousarray(np.rot90(grains, int(rng.integers(4))))
    times = -(-size // 512)
    noise = np.tile(turned, (times, times))[:size, :size]
    stretched = cv2.resize(turned, None, fx=5, fy=5, interpolation=cv2.INTER_LINEAR)
    wide = np.tile(stretched, (-(-size // 2560),) * 2)[:size, :size]
    mottle = cv2.addWeighted(noise, 0.55, wide, 0.45, 0)
    worn = cv2.multiply(image, cv2.merge([mottle] * 3), scale=1 / 128)
    return pyramid(np.asarray(worn, np.uint8), (-half, -half), texel, wrap=False)


def _markings(painter: _Painter, arm: Arm, paint: Array, yellow: Array) -> None:
    start, far, w = arm.mouth + STOP_LINE, REACH, arm.lane_width
    for aside in (0.12, -0.12):
        painter.strip(arm, start, far, aside + 0.06, aside - 0.06, yellow)
    painter.strip(arm, start - 0.45, start, arm.lanes_in * w - 0.1, 0.15, paint)
    lines = [k * w for k in range(1, arm.lanes_in)]
    lines += [-k * w for k in range(1, arm.lanes_out)]
    for aside in lines:
        solid = start + (22.0 if aside > 0 else 0.0)
        if solid > start:
            painter.strip(arm, start, solid, aside + 0.07, aside - 0.07, paint)
        for s in np.arange(solid, far, 6.0):
            painter.strip(arm, s, s + 2.5, aside + 0.07, aside - 0.07, paint)
    kerbs = ((1, arm.parking_in, arm.lanes_in), (-1, arm.parking_out, arm.lanes_out))
    for side, strip, lanes in kerbs:
        if strip:
            edge = side * lanes * w
            painter.strip(arm, start + 1, far, edge + 0.05, edge - 0.05, paint)
            for s in np.arange(start + 1, far, 6.5):
                outer = side * (lanes * w + strip)
                painter.strip(arm, s, s + 0.1, max(edge, outer), min(edge, outer), paint)
    s0, s1 = arm.mouth + CROSSWALK[0], arm.mouth + CROSSWALK[1]
    for aside in np.arange(-arm.half_out + 0.4, arm.half_in - 0.6, 1.0):
        painter.strip(arm, s0, s1, aside + 0.5, aside, paint)
    for lane in range(arm.lanes_in):  # an arrow per lane, pointing at the junction
        a = (lane + 0.5) * w
        painter.strip(arm, start + 6.5, start + 9.5, a + 0.1, a - 0.1, paint)
        tip = [
            arm.offset(start + s, a + aside)
            for s, aside in ((4.8, 0.0), (6.6, 0.42), (6.6, -0.42))
        ]
        painter.fill(tip, paint)
