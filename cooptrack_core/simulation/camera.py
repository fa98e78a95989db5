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

"""Pictures: one ray per pixel, two more where surfaces meet, shaded in single precision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.geometry import SE3
from cooptrack_core.simulation.light import Light
from cooptrack_core.simulation.raycast import NOTHING, Geometry
from cooptrack_core.simulation.shapes import FACADE, FOLIAGE, GROUND, Floats
from cooptrack_core.simulation.textures import FACADE_STYLES, Texture, facade, noise_texture

_F = np.float32


@dataclass(frozen=True, eq=False)
class Picture:
    """What a camera delivers.

    Attributes:
        image: (h, w, 3) uint8 RGB.
        objects: (h, w) int32 object id per pixel centre; 0 static, -1 sky.
        depth: (h, w) float32 metres along the optical axis; inf for sky.
    """

    image: NDArray[np.uint8]
    objects: NDArray[np.int32]
    depth: Floats


class Lens:
    """A pinhole's rays, worked out once. Pixel (0, 0) is the centre of the top-left pixel."""

    def __init__(self, width: int, height: int, intrinsic: NDArray[np.float64]) -> None:
        """Keep the directions with depth 1 of all pixel centres."""
        self.width, self.height = width, height
        self.intrinsic = np.asarray(intrinsic, np.float64)
        v, u = np.mgrid[0:height, 0:width].astype(np.float64)
        self.directions = self.through(u.ravel(), v.ravel())

    def through(self, u: NDArray[np.float64], v: NDArray[np.float64]) -> Floats:
        """Directions (n, 3), z = 1, optical frame, through pixels."""
        k = self.intrinsic
        x, y = (u - k[0, 2]) / k[0, 0], (v - k[1, 2]) / k[1, 1]
        return np.stack([x, y, np.ones_like(x)], 1).astype(_F)


def take_picture(
    geometry: Geometry,
    ground: Texture,
    light: Light,
    lens: Lens,
    site_SE3_camera: SE3,
    rng: np.random.Generator,
    *,
    noise: float = 1.0,
) -> Picture:
    """Render one picture; ``noise`` scales the sensor noise."""
    h, w = lens.height, lens.width
    turn = site_SE3_camera.rotation.T.astype(_F)
    origin = site_SE3_camera.translation.astype(_F)
    directions = _turned(lens.directions, turn)
    quads, depth = geometry.cast(origin, directions)
    pixel = _F(1 / lens.intrinsic[0, 0])
    shader = _Shader(geometry, ground, light, origin, pixel)
    colour = shader.shade(directions, quads, depth, (h, w))
    grid = quads.reshape(h, w)
    edge = np.zeros((h, w), bool)
    across, down = grid[:, 1:] != grid[:, :-1], grid[1:] != grid[:-1]
    edge[:, 1:] |= across
    edge[1:] |= down
    edge[:, :-1] |= across
    edge[:-1] |= down
    where = np.flatnonzero(edge)
    if len(where):
        v, u = np.divmod(where, w)
        total = colour[where]
        for du, dv in ((-0.29, 0.27), (0.31, -0.25)):
            rays = _turned(lens.through(u + du, v + dv), turn)
            q, t = geometry.cast(origin, rays)
            total += shader.shade(rays, q, t, None)
        colour[where] = total * _F(1 / 3)
    image = _develop(colour.reshape(h, w, 3), light, rng, noise)
    far = np.where(quads == NOTHING, _F(np.inf), depth).reshape(h, w)
    return Picture(image, geometry.objects[quads].reshape(h, w), far)


def _turned(directions: Floats, turn: Floats) -> Floats:
    # No BLAS: its result may depend on the number of threads, and pictures must not.
    out = directions[:, :1] * turn[0]
    out += directions[:, 1:2] * turn[1]
    out += directions[:, 2:] * turn[2]
    return np.asarray(out)


class _Shader:
    def __init__(
        self, geometry: Geometry, ground: Texture, light: Light, origin: Floats, pixel: np.float32
    ) -> None:
        self.geometry, self.ground, self.light = geometry, ground, light
        self.origin, self.pixel = origin, pixel
        kinds = geometry.mesh.kinds
        self.textured = {int(k) for k in np.unique(kinds)} - {0}
        self.mirrors = geometry.mesh.gloss > 0
        self.lamps = (geometry.mesh.glow > 0) & (light.lamps > 0)

    def shade(
        self, rays: Floats, quads: NDArray[np.int32], depth: Floats, shape: tuple[int, int] | None
    ) -> Floats:
        """Linear light (n, 3) along rays; ``shape`` allows coarser shadows on a full picture."""
        g, light = self.geometry, self.light
        t = np.where(quads == NOTHING, _F(1), depth)
        points = rays * t[:, None]
        points += self.origin
        normals = g.normals[quads]
        facing = np.einsum('ij,ij->i', normals, rays)
        normals *= np.where(facing > 0, _F(-1), _F(1))[:, None]
        colour = g.mesh.colours[quads]
        kinds = g.mesh.kinds[quads]
        for kind in self.textured:
            self._texture(kind, np.flatnonzero(kinds == kind), rays, points, normals, t, colour)
        sun = np.einsum('ij,j->i', normals, light.sun)
        np.maximum(sun, 0, out=sun)
        sun *= self._lit(points, normals, sun, quads, shape)
        sky = normals[:, 2] * _F(0.4) + _F(0.6)
        received = sky[:, None] * light.ambient
        received += sun[:, None] * light.sun_colour
        lamps = np.flatnonzero(self.lamps[quads])
        base = colour[lamps]
        colour *= received
        colour[lamps] += base * (g.mesh.glow[quads[lamps]] * _F(light.lamps))[:, None]
        shiny = np.flatnonzero(self.mirrors[quads])
        self._mirror(shiny, rays, normals, g.mesh.gloss[quads[shiny]], colour)
        clear = np.exp(t * _F(-1 / light.haze))[:, None]
        colour *= clear
        colour += (1 - clear) * (light.horizon * _F(0.9))
        open_sky = np.flatnonzero(quads == NOTHING)
        colour[open_sky] = self._sky(rays[open_sky])
        return colour

    def _texture(
        self, kind: int, at: NDArray[np.int64], rays: Floats, points: Floats, normals: Floats,
        t: Floats, colour: Floats,
    ) -> None:  # fmt: skip
        if len(at) == 0:
            return
        p, n = points[at], normals[at]
        cos = np.abs(np.einsum('ij,ij->i', n, rays[at])) + _F(0.02)
        footprint = t[at] * self.pixel / np.sqrt(np.minimum(cos, 1))
        if kind == GROUND:
            colour[at] = self.ground.sample(p[:, 0], p[:, 1], footprint)
        elif kind == FOLIAGE:
            u, v = p[:, 0] + _F(0.6) * p[:, 2], p[:, 1] + _F(0.8) * p[:, 2]
            colour[at] *= noise_texture().sample(u, v, footprint) * _F(4)
        else:
            style = (kind - FACADE) % FACADE_STYLES
            u = p[:, 1] * n[:, 0] - p[:, 0] * n[:, 1]
            colour[at] *= facade(style).sample(u, p[:, 2], footprint)

    def _lit(
        self, points: Floats, normals: Floats, sun: Floats, quads: NDArray[np.int32],
        shape: tuple[int, int] | None,
    ) -> Floats:  # fmt: skip
        """1 where the sun reaches, 0 in a cast shadow."""
        lit = np.ones(len(points), _F)
        wanted = (sun > 0.01) & (quads != NOTHING)
        if shape is not None:  # every second pixel of every second row answers for four
            coarse = np.zeros(shape, bool)
            coarse[::2, ::2] = True
            wanted &= coarse.ravel()
        at = np.flatnonzero(wanted)
        starts = points[at] + normals[at] * _F(0.02) + self.light.sun * _F(0.01)
        lit[at] = 1 - self.geometry.blocked(starts, self.light.sun).astype(_F)
        if shape is not None:
            h, w = shape
            small = lit.reshape(h, w)[::2, ::2]
            lit = np.repeat(np.repeat(small, 2, 0), 2, 1)[:h, :w].ravel()
        return lit

    def _mirror(
        self, at: NDArray[np.int64], rays: Floats, normals: Floats, gloss: Floats, colour: Floats
    ) -> None:
        if len(at) == 0:
            return
        d = rays[at] / np.linalg.norm(rays[at], axis=1, keepdims=True)
        n = normals[at]
        cos = np.einsum('ij,ij->i', d, n)
        up = d[:, 2] - 2 * cos * n[:, 2]
        rim = (1 - np.abs(cos)) ** 3
        share = (gloss * (_F(0.55) + rim * _F(1.6)))[:, None]
        high = np.clip(up * _F(1.6), 0, 1)[:, None]
        sky = self.light.horizon * (1 - high) + self.light.zenith * high
        seen = np.where(up[:, None] > 0, sky, self.light.ambient * _F(0.3))
        colour[at] = colour[at] * (1 - share * _F(0.7)) + seen * share

    def _sky(self, rays: Floats) -> Floats:
        if len(rays) == 0:
            return rays
        d = rays / np.linalg.norm(rays, axis=1, keepdims=True)
        up = np.clip(d[:, 2], 0, 1)
        high = np.sqrt(up)[:, None]
        colour = self.light.horizon * (1 - high) + self.light.zenith * high
        scale = 2.5 / (up + _F(0.12))
        cloud = noise_texture().sample(d[:, 0] * scale, d[:, 1] * scale, np.full(len(d), 0.05, _F))
        cover = np.clip(cloud[:, :1] * 4 - _F(0.9), 0, 1) * _F(self.light.clouds)
        return np.asarray(colour * (1 - cover) + (self.light.horizon * _F(1.15)) * cover)


_NOISE: list[Floats] = []


def _develop(
    colour: Floats, light: Light, rng: np.random.Generator, noise: float
) -> NDArray[np.uint8]:
    """Linear light to grey levels, with sensor noise."""
    if not _NOISE:
        _NOISE.append(np.random.default_rng(5).normal(size=2_000_003).astype(_F))
    grey = np.sqrt(np.maximum(colour * _F(light.exposure), 0))
    grey = np.where(grey > 0.75, 0.75 + 0.25 * np.tanh((grey - _F(0.75)) * 4 * _F(0.85)), grey)
    grey = grey.astype(_F) * _F(255)
    start = int(rng.integers(0, 2_000_003 - 1_000_000))
    flat = grey.reshape(-1)
    for i in range(0, len(flat), 1_000_000):
        piece = flat[i : i + 1_000_000]
        piece += _NOISE[0][start : start + len(piece)] * _F(light.noise * noise)
    return np.clip(grey + _F(0.5), 0, 255).astype(np.uint8)
