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

import cv2
import numpy as np
from numpy.typing import NDArray

from cooptrack_core.geometry import SE3
from cooptrack_core.simulation.light import Light
from cooptrack_core.simulation.raycast import NOTHING, Geometry, Hits
from cooptrack_core.simulation.shapes import FACADE, FOLIAGE, GROUND, PLAIN, Floats
from cooptrack_core.simulation.textures import FACADE_STYLES, Texture, facade, noise_texture

_F = np.float32
_CHUNK = 16_384


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
    near_moving: NDArray[np.bool_] | None = None,
    standing: Hits | None = None,
    edge_rays: int = 2,
) -> Picture:
    """Render one picture.

    Args:
        geometry: The instant.
        ground: Texture of the ground.
        light: Weather.
        lens: The camera's rays.
        site_SE3_camera: Pose of the optical frame.
        rng: Sensor noise.
        noise: Factor on it.
        near_moving: (h * w,) pixels that may show something that moves; None: all may.
        standing: ``standing_view`` of a camera that stays where it is.
        edge_rays: Further rays, 0 to 2, of pixels where surfaces meet.
    """
    h, w = lens.height, lens.width
    turn = site_SE3_camera.rotation.T.astype(_F)
    origin = site_SE3_camera.translation.astype(_F)
    directions = _turned(lens.directions, turn)
    quads, depth = geometry.cast(origin, directions, near_moving, standing)
    shader = _Shader(geometry, ground, light, origin, _F(1 / lens.intrinsic[0, 0]))
    lit = _coarse(shader, directions, quads, depth, h, w)
    colour = shader.shade(directions, quads, depth, lit)
    where = np.flatnonzero(_edges(quads.reshape(h, w)))
    if edge_rays and len(where):
        v, u = np.divmod(where, w)
        total = colour[:, where]
        near = None if near_moving is None else near_moving[where]
        for du, dv in ((-0.29, 0.27), (0.31, -0.25))[:edge_rays]:
            rays = _turned(lens.through(u + du, v + dv), turn)
            q, t = geometry.cast(origin, rays, near)
            total += shader.shade(rays, q, t, shader.lit(rays, q, t))
        colour[:, where] = total * _F(1 / (1 + edge_rays))
    image = _develop(colour, light, rng, noise).reshape(h, w, 3)
    far = np.where(quads == NOTHING, _F(np.inf), depth).reshape(h, w)
    return Picture(image, geometry.objects[quads].reshape(h, w), far)


def standing_view(geometry: Geometry, lens: Lens, site_SE3_camera: SE3) -> Hits:
    """What a camera sees of the things that stay, per pixel."""
    turn = site_SE3_camera.rotation.T.astype(_F)
    origin = site_SE3_camera.translation.astype(_F)
    return geometry.standing_hits(origin, _turned(lens.directions, turn))


def _edges(grid: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Pixels with another surface beside them."""
    edge = np.zeros(grid.shape, bool)
    across, down = grid[:, 1:] != grid[:, :-1], grid[1:] != grid[:-1]
    edge[:, 1:] |= across
    edge[1:] |= down
    edge[:, :-1] |= across
    edge[:-1] |= down
    return edge


def _coarse(
    shader: _Shader, rays: Floats, quads: NDArray[np.int32], depth: Floats, h: int, w: int
) -> Floats:
    """Cast shadows (h * w,), worked out for every second pixel of every second row."""
    index = np.arange(h * w).reshape(h, w)[::2, ::2]
    at = index.ravel()
    small = shader.lit(rays[at], quads[at], depth[at]).reshape(index.shape)
    # In between lies the half-shade of a sun that is no point.
    return np.asarray(cv2.resize(small, (w, h), interpolation=cv2.INTER_LINEAR), _F).ravel()


def _turned(directions: Floats, turn: Floats) -> Floats:
    # No BLAS: its result may depend on the number of threads, and pictures must not.
    out = directions[:, :1] * turn[0]
    out += directions[:, 1:2] * turn[1]
    out += directions[:, 2:] * turn[2]
    return np.asarray(out)


class _Shader:
    """Shades rays of one picture. Inside, vectors are (3, n): long rows keep numpy fast."""

    def __init__(
        self, geometry: Geometry, ground: Texture, light: Light, origin: Floats, pixel: np.float32
    ) -> None:
        mesh = geometry.mesh
        self.geometry, self.ground, self.light = geometry, ground, light
        self.origin, self.pixel = origin, pixel
        self.normals = np.ascontiguousarray(geometry.normals.T)
        self.colours = np.ascontiguousarray(mesh.colours.T)
        self.kinds, self.gloss, self.glow = mesh.kinds, mesh.gloss, mesh.glow
        self.shiny = mesh.gloss > 0
        self.lamps = (mesh.glow > 0) & (light.lamps > 0)

    def shade(self, rays: Floats, quads: NDArray[np.int32], depth: Floats, lit: Floats) -> Floats:
        """Linear light (3, n) along rays (n, 3); ``lit`` (n,) is 0 in cast shadows."""
        out = np.empty((3, len(rays)), _F)
        for i in range(0, len(rays), _CHUNK):  # what fits the cache goes through much faster
            part = slice(i, i + _CHUNK)
            out[:, part] = self._shade(
                np.ascontiguousarray(rays[part].T), quads[part], depth[part], lit[part]
            )
        return out

    def lit(self, rays: Floats, quads: NDArray[np.int32], depth: Floats) -> Floats:
        """1 where the sun reaches, 0 in a cast shadow (n,)."""
        lit = np.ones(len(rays), _F)
        normals = self.geometry.normals[quads]
        facing = np.einsum('ij,ij->i', normals, rays)
        sun = np.einsum('ij,j->i', normals, self.light.sun) * -np.sign(facing)
        at = np.flatnonzero((sun > 0.01) & (quads != NOTHING))
        n = normals[at] * -np.sign(facing[at])[:, None]
        starts = rays[at] * depth[at][:, None] + self.origin
        starts += n * _F(0.02) + self.light.sun * _F(0.01)
        lit[at] = 1 - self.geometry.blocked(starts, self.light.sun).astype(_F)
        return lit

    def _shade(self, d: Floats, quads: NDArray[np.int32], depth: Floats, lit: Floats) -> Floats:
        light = self.light
        t = np.where(quads == NOTHING, _F(1), depth)
        p = d * t
        p += self.origin[:, None]
        n = self.normals.take(quads, axis=1)
        facing = _dot(n, d)
        n *= -np.sign(facing)
        colour = self.colours.take(quads, axis=1)
        kinds = self.kinds[quads]
        for kind in np.flatnonzero(np.bincount(kinds)):
            if kind != PLAIN:
                self._texture(int(kind), np.flatnonzero(kinds == kind), facing, p, n, t, colour)
        sun = n[0] * light.sun[0] + n[1] * light.sun[1] + n[2] * light.sun[2]
        np.maximum(sun, 0, out=sun)
        sun *= lit
        sky = n[2] * _F(0.4) + _F(0.6)
        clear = np.exp(t * _F(-1 / light.haze))
        lamps = np.flatnonzero(self.lamps[quads])
        shining = colour[:, lamps] * (self.glow[quads[lamps]] * _F(light.lamps))
        for c in range(3):
            colour[c] *= sky * light.ambient[c] + sun * light.sun_colour[c]
        colour[:, lamps] += shining
        shiny = np.flatnonzero(self.shiny[quads])
        self._mirror(shiny, d, n, facing, self.gloss[quads[shiny]], colour)
        colour *= clear
        for c in range(3):
            colour[c] += (1 - clear) * (light.horizon[c] * _F(0.9))
        open_sky = np.flatnonzero(quads == NOTHING)
        if len(open_sky):
            colour[:, open_sky] = self._sky(d[:, open_sky])
        return colour

    def _texture(
        self, kind: int, at: NDArray[np.int64], facing: Floats, points: Floats, normals: Floats,
        t: Floats, colour: Floats,
    ) -> None:  # fmt: skip
        x, y, z = points[0][at], points[1][at], points[2][at]
        # Between the extents of the pixel's footprint across and along the line of sight.
        cos = np.minimum(np.abs(facing[at]) + _F(0.02), 1)
        footprint = t[at] * self.pixel / np.sqrt(cos)
        if kind == GROUND:
            colour[:, at] = self.ground.sample(x, y, footprint).T
        elif kind == FOLIAGE:
            u, v = x + _F(0.6) * z, y + _F(0.8) * z
            colour[:, at] *= noise_texture().sample(u, v, footprint).T * _F(4)
        else:
            style = (kind - FACADE) % FACADE_STYLES
            u = y * normals[0][at] - x * normals[1][at]
            colour[:, at] *= facade(style).sample(u, z, footprint).T

    def _mirror(
        self, at: NDArray[np.int64], d: Floats, n: Floats, facing: Floats, gloss: Floats,
        colour: Floats,
    ) -> None:  # fmt: skip
        """Add the sky's reflection, more at grazing angles."""
        if len(at) == 0:
            return
        rays, light = d[:, at], self.light
        length = np.sqrt(_dot(rays, rays))
        cos = -np.abs(facing[at]) / length
        up = rays[2] / length - 2 * cos * n[2][at]
        share = gloss * (_F(0.55) + (1 + cos) ** 3 * _F(1.6))
        high = np.clip(up * _F(1.6), 0, 1)
        kept = colour[:, at] * (1 - share * _F(0.7))
        for c in range(3):
            sky = light.horizon[c] * (1 - high) + light.zenith[c] * high
            kept[c] += np.where(up > 0, sky, light.ambient[c] * _F(0.3)) * share
        colour[:, at] = kept

    def _sky(self, d: Floats) -> Floats:
        light = self.light
        length = np.sqrt(_dot(d, d))
        up = np.clip(d[2] / length, 0, 1)
        high = np.sqrt(up)
        scale = _F(2.5) / ((up + _F(0.12)) * length)
        spread = np.full(d.shape[1], 0.05, _F)
        cloud = noise_texture().sample(d[0] * scale, d[1] * scale, spread)[:, 0]
        cover = np.clip(cloud * 4 - _F(0.9), 0, 1) * _F(light.clouds)
        out = np.empty_like(d)
        for c in range(3):
            out[c] = light.horizon[c] * (1 - high) + light.zenith[c] * high
            out[c] += (light.horizon[c] * _F(1.15) - out[c]) * cover
        return out


def _dot(a: Floats, b: Floats) -> Floats:
    return np.asarray(a[0] * b[0] + a[1] * b[1] + a[2] * b[2])


_NOISE: list[Floats] = []


def _develop(
    colour: Floats, light: Light, rng: np.random.Generator, noise: float
) -> NDArray[np.uint8]:
    """Linear light (3, n) to grey levels (n, 3), with sensor noise."""
    if not _NOISE:
        _NOISE.append(np.random.default_rng(5).normal(size=1_000_003).astype(_F))
    out = np.empty((colour.shape[1], 3), np.uint8)
    for i in range(0, len(out), _CHUNK):
        grey = np.sqrt(colour[:, i : i + _CHUNK] * _F(light.exposure))
        bright = np.nonzero(grey > 0.75)  # highlights roll off instead of clipping
        over = grey[bright] - _F(0.75)
        grey[bright] = _F(0.75) + over / (1 + over * _F(3))
        grey *= _F(255)
        start = int(rng.integers(0, 1_000_003 - 3 * _CHUNK))
        grain = _NOISE[0][start : start + grey.size].reshape(grey.shape)
        grey += grain * _F(light.noise * noise)
        grey += _F(0.5)
        out[i : i + _CHUNK] = np.clip(grey, 0, 255, out=grey).T
    return out
