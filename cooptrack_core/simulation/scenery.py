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

"""What does not move: buildings on the corners, trees, poles, lights, fences, a skyline."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.simulation.layout import Arm, Layout, road_clearance
from cooptrack_core.simulation.shapes import (
    FACADE,
    FOLIAGE,
    GROUND,
    Mesh,
    box,
    cylinder,
    join,
    make_mesh,
    prism,
    rod,
)
from cooptrack_core.simulation.textures import FACADE_STYLES

Array = NDArray[np.float64]
Rng = np.random.Generator

_WALLS = (
    (0.62, 0.56, 0.46), (0.48, 0.26, 0.18), (0.66, 0.65, 0.62), (0.52, 0.46, 0.36),
    (0.36, 0.37, 0.40), (0.68, 0.50, 0.34), (0.42, 0.20, 0.14), (0.58, 0.62, 0.64),
)  # fmt: skip


def make_scenery(layout: Layout, rng: Rng, *, buildings: float = 0.85) -> Mesh:
    """Everything static, ground included. ``buildings`` is the share of plots built on."""
    far = 600.0
    ground = np.array([[[-far, -far, 0], [far, -far, 0], [far, far, 0], [-far, far, 0]]])
    parts = [make_mesh(ground, (0.2, 0.2, 0.2), kind=GROUND)]
    parts += _skyline(rng)
    walk = layout.sidewalk
    for arm in layout.arms:
        for side in (1.0, -1.0):
            half = arm.half_in if side > 0 else arm.half_out
            setback = rng.uniform(0.2, 3.5)
            open_plot = rng.random() > buildings
            s = arm.mouth + rng.uniform(-2.0, 4.0)
            while s < 95:
                length, depth = rng.uniform(9, 24), rng.uniform(8, 14)
                if not open_plot or rng.random() < 0.3:
                    aside = side * (half + walk + setback + depth / 2)
                    house = _building(layout, arm, s + length / 2, aside, length, depth, rng)
                    if house is not None:
                        parts.append(house)
                elif rng.random() < 0.5:
                    parts += _hedge(layout, arm, s, side * (half + walk + 0.6), length, rng)
                s += length + (rng.uniform(0.05, 0.3) if rng.random() < 0.5 else rng.uniform(2, 9))
            parts += _furniture(layout, arm, side * (half + 0.75), rng)
            if layout.signals and side > 0:
                parts.append(_signal(arm, half))
    return join(parts)


def _building(
    layout: Layout, arm: Arm, s: float, aside: float, length: float, depth: float, rng: Rng
) -> Mesh | None:
    at, yaw = arm.offset(s, aside), float(arm.line.heading(s))
    c, n = np.array([np.cos(yaw), np.sin(yaw)]), np.array([-np.sin(yaw), np.cos(yaw)])
    grid = np.array([(a, b) for a in np.linspace(-0.5, 0.5, 7) for b in (-0.5, 0, 0.5)])
    spots = at + grid[:, :1] * length * c + grid[:, 1:] * depth * n
    if road_clearance(layout, spots).min() < layout.sidewalk * 0.85:
        return None
    height = float(rng.choice([rng.uniform(4, 8), rng.uniform(9, 16), rng.uniform(16, 32)]))
    tint = np.array(_WALLS[int(rng.integers(len(_WALLS)))]) * rng.uniform(0.8, 1.2)
    style = FACADE + int(rng.integers(FACADE_STYLES))
    solid = box([at[0], at[1], height / 2], [length, depth, height], yaw=yaw)
    walls = make_mesh(solid[2:], tint * 1.15, kind=style, gloss=0.02)
    parts = [walls]
    if height < 9 and rng.random() < 0.6:  # pitched roof
        e, r = (0.35, rng.uniform(1.5, 3.2))
        eave = box([at[0], at[1], height + 0.05], [length + e, depth + e, 0.1], yaw=yaw)[1]
        middle = eave.mean(0)
        along = np.array([*(c * (length + e) / 2), 0])
        ridge = [middle + along + [0, 0, r], middle - along + [0, 0, r]]
        top = np.array([ridge[0], ridge[1], ridge[1], ridge[0]])
        tiles = rng.choice([0, 1])
        colour = ((0.30, 0.11, 0.07), (0.13, 0.13, 0.14))[tiles]
        parts.append(make_mesh(prism(eave, top), colour))
    else:
        cornice = box([at[0], at[1], height + 0.15], [length + 0.3, depth + 0.3, 0.5], yaw=yaw)
        parts.append(make_mesh(cornice, tint * 0.7))
    plinth = box([at[0], at[1], 0.45], [length + 0.1, depth + 0.1, 0.9], yaw=yaw)
    parts.append(make_mesh(plinth, tint * 0.45))
    if rng.random() < 0.35:  # shops: a band of glass and a sign on the ground floor
        glass = box([at[0], at[1], 1.9], [length * 0.9, depth + 0.14, 2.0], yaw=yaw)
        parts.append(make_mesh(glass, (0.05, 0.06, 0.07), gloss=0.25))
        sign = box([at[0], at[1], 3.15], [length * 0.92, depth + 0.3, 0.6], yaw=yaw)
        parts.append(make_mesh(sign, rng.uniform(0.05, 0.6, 3), glow=0.7))
    return join(parts)


def _hedge(
    layout: Layout, arm: Arm, s: float, aside: float, length: float, rng: Rng
) -> list[Mesh]:
    at, yaw = arm.offset(s + length / 2, aside), float(arm.line.heading(s + length / 2))
    ends = at + np.array([[-0.5], [0.5]]) * length * np.array([[np.cos(yaw), np.sin(yaw)]])
    if road_clearance(layout, ends).min() < 1.0:
        return []
    tall = rng.uniform(0.9, 1.9)
    green = np.array([0.07, 0.13, 0.04]) * rng.uniform(0.7, 1.3)
    solid = box([at[0], at[1], tall / 2], [length, 0.8, tall], yaw=yaw)
    return [make_mesh(solid, green, kind=FOLIAGE)]


def tree(x: float, y: float, rng: Rng) -> Mesh:
    """A trunk and three lumps of leaves."""
    tall = rng.uniform(4.5, 8.5)
    trunk = cylinder([x, y, 0], [x, y, 0.5 * tall], rng.uniform(0.1, 0.18), 6)
    parts = [make_mesh(trunk, (0.12, 0.08, 0.05))]
    green = np.array([0.09, 0.16, 0.04]) * rng.uniform(0.6, 1.3)
    for _ in range(3):
        r = rng.uniform(0.17, 0.24) * tall
        at = np.array([x, y, 0.68 * tall]) + rng.normal(0, 0.09 * tall, 3)
        parts.append(make_mesh(_lump(at, r, rng), green * rng.uniform(0.8, 1.2), kind=FOLIAGE))
    return join(parts)


def _lump(at: Array, radius: float, rng: Rng) -> NDArray[np.float32]:
    turn = rng.uniform(0, 1)
    angle = (np.arange(8) + turn) * np.pi / 4
    rings = []
    for elevation in (-1.2, -0.45, 0.35, 1.0, 1.5):
        wide = radius * np.cos(elevation) * rng.uniform(0.85, 1.15, 8)
        high = np.full(8, radius * np.sin(elevation) * 0.9)
        rings.append(at + np.stack([wide * np.cos(angle), wide * np.sin(angle), high], 1))
    quads = []
    for low, up in pairwise(rings):
        quads.append(np.stack([low, np.roll(low, -1, 0), np.roll(up, -1, 0), up], 1))
    return np.concatenate(quads).astype(np.float32)


def _furniture(layout: Layout, arm: Arm, aside: float, rng: Rng) -> list[Mesh]:
    parts = []
    s = arm.mouth + rng.uniform(9, 16)
    while s < 85:
        at = arm.offset(s, aside)
        if road_clearance(layout, at[None])[0] > 0.3:
            draw = rng.random()
            if draw < 0.4:
                parts.append(tree(at[0], at[1], rng))
            elif draw < 0.65:
                parts.append(_street_light(at, float(arm.line.heading(s)), aside))
            elif draw < 0.75:
                yaw = float(arm.line.heading(s))
                solid = box([at[0], at[1], 1.25], [3.2, 0.5, 2.5], yaw=yaw)
                parts.append(make_mesh(solid, rng.uniform(0.1, 0.6, 3), gloss=0.05))
            elif draw < 0.85:
                bin_ = cylinder([at[0], at[1], 0], [at[0], at[1], 1.1], 0.3, 8)
                parts.append(make_mesh(bin_, (0.08, 0.12, 0.1)))
        s += rng.uniform(7, 15)
    return parts


def _street_light(at: Array, heading: float, aside: float) -> Mesh:
    toward = np.array([np.sin(heading), -np.cos(heading)]) * np.sign(aside)
    top = [at[0], at[1], 7.5]
    end = [at[0] + 1.8 * toward[0], at[1] + 1.8 * toward[1], 7.8]
    steel = (0.25, 0.26, 0.27)
    pole = cylinder([at[0], at[1], 0], top, 0.09, 6)
    head = box(end, [0.5, 0.3, 0.12], yaw=heading)
    return join(
        [
            make_mesh(pole, steel),
            make_mesh(rod(top, end, 0.08), steel),
            make_mesh(head, (0.8, 0.75, 0.6), glow=2.0),
        ]
    )


def _signal(arm: Arm, half: float) -> Mesh:
    at = arm.offset(arm.mouth + 5.0, half + 0.5)
    pole = cylinder([at[0], at[1], 0], [at[0], at[1], 3.4], 0.07, 6)
    head = box([at[0], at[1], 3.0], [0.3, 0.35, 0.95], yaw=float(arm.line.heading(arm.mouth)))
    return join([make_mesh(pole, (0.2, 0.2, 0.2)), make_mesh(head, (0.03, 0.03, 0.03))])


def sensor_pole(x: float, y: float, height: float) -> Mesh:
    """The pole of a roadside unit; it ends below the sensor."""
    pole = cylinder([x, y, 0], [x, y, height - 0.45], 0.1, 6)
    cabinet = box([x, y, 1.2], [0.45, 0.35, 0.7])
    return join([make_mesh(pole, (0.3, 0.31, 0.32)), make_mesh(cabinet, (0.5, 0.5, 0.48))])


def _skyline(rng: Rng) -> list[Mesh]:
    parts = []
    angle = 0.0
    while angle < 2 * np.pi:
        width, distance = rng.uniform(15, 45), rng.uniform(150, 260)
        at = distance * np.array([np.cos(angle), np.sin(angle)])
        if rng.random() < 0.75:
            height = rng.uniform(6, 34)
            solid = box([*at, height / 2], [18, width, height], yaw=angle)
            tint = np.array(_WALLS[int(rng.integers(len(_WALLS)))]) * rng.uniform(0.6, 1.0)
            kind = FACADE + int(rng.integers(FACADE_STYLES))
            parts.append(make_mesh(solid[1:], tint, kind=kind))
        else:
            height = rng.uniform(5, 11)
            solid = box([*at, height / 2], [10, width, height], yaw=angle)
            parts.append(make_mesh(solid, np.array([0.08, 0.12, 0.05]), kind=FOLIAGE))
        angle += width / distance * rng.uniform(0.9, 1.3)
    return parts
