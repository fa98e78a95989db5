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

"""The bodies of road users: recognisable cars, vans, trucks, buses, cyclists, pedestrians.

Local frame: x forward, y left, z up; the origin lies on the ground below the middle of the
body's box, so a body fills length x width x height around (0, 0, height / 2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.simulation.shapes import (
    Floats,
    Mesh,
    box,
    cylinder,
    disc,
    join,
    loft,
    make_mesh,
    rod,
)

Rng = np.random.Generator

GLASS = (0.03, 0.04, 0.05)
RUBBER = (0.025, 0.025, 0.028)
HUB = (0.42, 0.43, 0.45)
DARK = (0.05, 0.05, 0.055)
LAMP = (0.85, 0.85, 0.8)
RED_LAMP = (0.45, 0.02, 0.02)
PLATE = (0.7, 0.7, 0.72)

_CAR_PAINTS = (
    (0.80, 0.80, 0.80), (0.62, 0.63, 0.65), (0.30, 0.31, 0.33), (0.03, 0.03, 0.035),
    (0.42, 0.03, 0.03), (0.04, 0.10, 0.36), (0.03, 0.17, 0.10), (0.52, 0.38, 0.10),
    (0.20, 0.30, 0.42), (0.50, 0.46, 0.38), (0.60, 0.18, 0.04), (0.10, 0.11, 0.14),
)  # fmt: skip
_BUS_PAINTS = ((0.55, 0.06, 0.05), (0.05, 0.2, 0.5), (0.75, 0.72, 0.6), (0.08, 0.38, 0.2))
_CLOTHES = (
    (0.55, 0.08, 0.08), (0.08, 0.14, 0.45), (0.05, 0.05, 0.06), (0.65, 0.65, 0.62),
    (0.12, 0.35, 0.16), (0.70, 0.55, 0.10), (0.35, 0.22, 0.40), (0.25, 0.24, 0.22),
    (0.75, 0.35, 0.12), (0.20, 0.42, 0.50),
)  # fmt: skip
_SKINS = ((0.62, 0.42, 0.32), (0.45, 0.28, 0.19), (0.22, 0.13, 0.09), (0.70, 0.50, 0.40))


@dataclass(frozen=True, eq=False)
class Body:
    """What one road user looks like.

    Attributes:
        type: Type word of the dataset, for example ``Van``.
        size: (3,) length, width, height of its box, metres.
        poses: One mesh per phase of the gait; one only for what does not walk.
        stride: Metres after which the gait repeats.
    """

    type: str
    size: NDArray[np.float64]
    poses: tuple[Mesh, ...]
    stride: float = 1.0


def _pick(rng: Rng, options: Sequence[tuple[float, float, float]], jitter: float = 0.05) -> Floats:
    colour = np.array(options[int(rng.integers(len(options)))])
    varied = colour * rng.uniform(0.8, 1.2) + rng.normal(0, jitter / 3, 3)
    return np.asarray(np.clip(varied, 0.015, 0.9), np.float32)


@lru_cache(maxsize=64)
def _wheel(radius: float, width: float) -> Mesh:
    """A wheel whose outer disc lies at y = 0 and whose tyre reaches to y = -width."""
    angle = 2 * np.pi * np.arange(8) / 8
    ring = np.stack([np.cos(angle), np.zeros(8), np.sin(angle)], 1)
    inner = radius * ring - [0, width, 0]
    outer = radius * ring
    tread = np.stack([inner, np.roll(inner, -1, 0), np.roll(outer, -1, 0), outer], 1)
    tyre = np.concatenate([tread, disc([0, 0, 0], outer)])
    hub = disc([0, 0.012, 0], 0.6 * radius * ring)
    return join([make_mesh(tyre, RUBBER), make_mesh(hub, HUB, gloss=0.1)])


def _wheels(xs: Sequence[float], half_width: float, radius: float, width: float = 0.22) -> Mesh:
    wheel = _wheel(radius, width)
    left = [wheel.posed(x, half_width, 0.0, radius) for x in xs]
    right = [wheel.posed(x, -half_width, np.pi, radius) for x in xs]
    return join([*left, *right])


def _face(length: float, width: float, lamp_z: float, bumper_z: float, grille: float) -> Mesh:
    """Lamps, plates, grille and bumpers: what tells front from back."""
    front, y = length / 2, 0.36 * width
    parts = [make_mesh(box([front - 0.02, 0, bumper_z], [0.06, 0.86 * width, 0.16]), DARK)]
    parts.append(make_mesh(box([-front + 0.02, 0, bumper_z], [0.06, 0.86 * width, 0.16]), DARK))
    parts.append(make_mesh(box([front - 0.01, 0, lamp_z], [0.05, 0.4 * width, grille]), DARK))
    for side in (-y, y):
        lamp = box([front - 0.04, side, lamp_z + 0.02], [0.11, 0.2 * width, 0.13])
        tail = box([-front + 0.04, side * 1.05, lamp_z + 0.14], [0.11, 0.17 * width, 0.17])
        parts += [make_mesh(lamp, LAMP, glow=3.0), make_mesh(tail, RED_LAMP, glow=0.8)]
    for x in (front, -front):
        parts.append(make_mesh(box([x, 0, bumper_z + 0.04], [0.015, 0.48, 0.12]), PLATE))
    return join(parts)


def _painted(skin: dict[str, Floats], paint: Floats, bottom: Sequence[float] = DARK) -> Mesh:
    shell = np.concatenate([skin['top'], skin['sides'], skin['back'], skin['front']])
    return join([make_mesh(shell, paint, gloss=0.13), make_mesh(skin['bottom'], bottom)])


def _cabin(
    stations: Sequence[tuple[float, float, float, float, float]],
    paint: Floats,
    pillars: Sequence[float],
) -> Mesh:
    """A glass house with a painted roof and pillars at the given x."""
    skin = loft(stations)
    roof = int(np.argmax([min(a[2], b[2]) for a, b in pairwise(stations)]))
    glass = np.concatenate([np.delete(skin['top'], roof, 0), skin['sides']])
    parts = [make_mesh(glass, GLASS, gloss=0.32)]
    parts.append(make_mesh(skin['top'][roof : roof + 1], paint, gloss=0.13))
    (xa, _, top, _, wa), (xb, _, _, _, wb) = stations[roof], stations[roof + 1]
    low, wide = stations[roof][1], stations[roof][3]
    parts.append(make_mesh(box([(xa + xb) / 2, 0, top - 0.03], [xb - xa, wa + wb, 0.07]), paint))
    for x in pillars:
        for side in (-1.0, 1.0):
            foot, head = [x, side * (wide + 0.005), low], [x, side * (wa + 0.005), top - 0.03]
            parts.append(make_mesh(rod(foot, head, 0.09), paint))
    return join(parts)


def car(rng: Rng) -> Body:
    """Sedan, hatchback or SUV."""
    shape = int(rng.integers(3))
    length = rng.uniform(*((4.4, 4.95), (3.8, 4.3), (4.5, 4.9))[shape])
    width = rng.uniform(*((1.76, 1.88), (1.70, 1.80), (1.84, 1.96))[shape])
    height = rng.uniform(*((1.42, 1.50), (1.46, 1.56), (1.66, 1.80))[shape])
    paint = _pick(rng, _CAR_PAINTS)
    half, w = length / 2, width / 2
    belt = 0.62 * height
    lift = 0.16 + 0.05 * (shape == 2)
    tail = (0.93, 1.0, 1.02)[shape] * belt
    body = loft(
        [
            (-half, lift + 0.16, tail - 0.1, 0.88 * w, 0.84 * w),
            (-half + 0.18, lift, tail, 0.97 * w, 0.92 * w),
            (-0.2 * half, lift, belt, 0.985 * w, 0.94 * w),
            (0.42 * half, lift, belt * 0.98, 0.985 * w, 0.94 * w),
            (half - 0.25, lift, 0.80 * belt, 0.97 * w, 0.88 * w),
            (half, lift + 0.14, 0.64 * belt, 0.86 * w, 0.80 * w),
        ]
    )
    rear = ((-0.74, -0.42), (-0.93, -0.76), (-0.95, -0.84))[shape]
    cabin = _cabin(
        [
            (rear[0] * half, 0.95 * belt, belt, 0.9 * w, 0.88 * w),
            (rear[1] * half, 0.95 * belt, height, 0.9 * w, 0.70 * w),
            (0.06 * half, 0.95 * belt, height, 0.9 * w, 0.70 * w),
            (0.46 * half, 0.95 * belt, 0.98 * belt, 0.9 * w, 0.88 * w),
        ],
        paint,
        [rear[1] * half + 0.06, -0.18 * half, 0.04 * half],
    )
    wheels = _wheels([-0.6 * half, 0.62 * half], w - 0.012, 0.31 + 0.05 * (shape == 2))
    mirrors = [
        make_mesh(box([0.36 * half, s * (w - 0.02), belt + 0.04], [0.12, 0.2, 0.12]), paint)
        for s in (-1.0, 1.0)
    ]
    parts = [_painted(body, paint), cabin, wheels, *mirrors]
    parts.append(_face(length, width, 0.72 * belt, lift + 0.2, 0.1))
    return Body('Car', np.array([length, width + 0.02, height]), (join(parts),))


def van(rng: Rng) -> Body:
    """Delivery van or minibus: a tall box with a short sloped nose."""
    length, width = rng.uniform(4.9, 6.0), rng.uniform(1.92, 2.05)
    height = rng.uniform(2.0, 2.6)
    paint = _pick(rng, ((0.8, 0.8, 0.8), *_CAR_PAINTS[:4], (0.65, 0.55, 0.05)))
    half, w = length / 2, width / 2
    nose, belt = 0.52 * height, 0.5 * height
    body = loft(
        [
            (-half, 0.3, height - 0.06, 0.98 * w, 0.93 * w),
            (0.36 * half, 0.26, height, 0.98 * w, 0.92 * w),
            (0.52 * half, 0.26, 0.95 * height, 0.98 * w, 0.9 * w),
            (0.80 * half, 0.26, nose, 0.98 * w, 0.92 * w),
            (half, 0.36, 0.42 * height, 0.93 * w, 0.84 * w),
        ]
    )
    parts = [_painted(body, paint), _wheels([-0.58 * half, 0.64 * half], w - 0.012, 0.34)]
    shield = body['top'][2:3] + np.array([0.02, 0, 0.015], np.float32)
    middle = shield.mean(1, keepdims=True)
    parts.append(make_mesh(middle + (shield - middle) * np.float32(0.92), GLASS, gloss=0.32))
    windows = [(0.34 * half, 0.34 * half)]
    if rng.random() < 0.4:
        windows += [(-0.15 * half, 0.5 * half), (-0.68 * half, 0.42 * half)]
    for x, span in windows:
        pane = box([x, 0, belt + 0.25 * height], [span, 1.925 * w, 0.24 * height])
        parts.append(make_mesh(pane, GLASS, gloss=0.32))
    rear = box([-half, 0, belt + 0.25 * height], [0.03, 1.5 * w, 0.24 * height])
    parts.append(make_mesh(rear, GLASS, gloss=0.3))
    parts.append(_face(length, width, 0.34 * height, 0.42, 0.14))
    return Body('Van', np.array([length + 0.03, width + 0.02, height]), (join(parts),))


def truck(rng: Rng) -> Body:
    """A cab and a separate cargo box."""
    length, width, height = rng.uniform(6.5, 10.5), rng.uniform(2.3, 2.5), rng.uniform(2.9, 3.6)
    paint = _pick(rng, _CAR_PAINTS)
    cargo = _pick(rng, ((0.75, 0.75, 0.75), (0.7, 0.68, 0.6), (0.1, 0.2, 0.45), (0.5, 0.1, 0.08)))
    half, w = length / 2, width / 2
    cab_length, cab_height = rng.uniform(1.8, 2.2), min(rng.uniform(2.4, 2.8), height)
    start = half - cab_length
    cab = loft(
        [
            (start, 0.5, cab_height, 0.96 * w, 0.92 * w),
            (half - 0.5, 0.45, cab_height, 0.96 * w, 0.92 * w),
            (half - 0.06, 0.4, 0.56 * cab_height, 0.96 * w, 0.94 * w),
            (half, 0.42, 0.5 * cab_height, 0.95 * w, 0.93 * w),
        ]
    )
    parts = [_painted(cab, paint)]
    shield = cab['top'][1:2] + np.array([0.02, 0, 0.015], np.float32)
    middle = shield.mean(1, keepdims=True)
    parts.append(make_mesh(middle + (shield - middle) * np.float32(0.9), GLASS, gloss=0.32))
    side = box([half - 0.95, 0, 0.72 * cab_height], [0.75, 1.94 * w, 0.28 * cab_height])
    parts.append(make_mesh(side, GLASS, gloss=0.32))
    hold = start - 0.12 + half
    at = [-half + hold / 2, 0.0, (height + 0.95) / 2]
    parts.append(make_mesh(box(at, [hold - 0.04, 2 * w, height - 0.95]), cargo, gloss=0.03))
    stripe = box([at[0], 0, 0.95 + 0.3 * (height - 0.95)], [0.8 * hold, 2 * w + 0.02, 0.3])
    parts.append(make_mesh(stripe, _pick(rng, _CAR_PAINTS)))
    doors = box([-half + 0.01, 0, at[2]], [0.02, 0.03, height - 1.1])
    parts.append(make_mesh(doors, DARK))
    parts.append(make_mesh(box([-0.3, 0, 0.75], [length - 1.2, 0.9, 0.3]), DARK))
    axles = [half - 1.15, -half + 1.2] + ([-half + 2.35] if length > 8.5 else [])
    parts.append(_wheels(axles, w - 0.012, 0.48, 0.3))
    parts.append(_face(length, width, 0.75, 0.52, 0.22))
    return Body('Truck', np.array([length + 0.02, width + 0.02, height]), (join(parts),))


def bus(rng: Rng) -> Body:
    """City bus with a band of windows and doors on the right."""
    length, width, height = rng.uniform(9.5, 12.0), 2.5, rng.uniform(2.95, 3.2)
    paint = _pick(rng, _BUS_PAINTS)
    half, w = length / 2, width / 2
    body = loft(
        [
            (-half, 0.35, height - 0.05, 0.98 * w, 0.95 * w),
            (-half + 0.2, 0.3, height, 0.99 * w, 0.96 * w),
            (half - 0.3, 0.3, height, 0.99 * w, 0.96 * w),
            (half, 0.35, height - 0.1, 0.97 * w, 0.93 * w),
        ]
    )
    parts = [_painted(body, paint)]
    roof = box([0, 0, height - 0.03], [length - 0.8, 2.3, 0.1])
    parts.append(make_mesh(roof, (0.75, 0.75, 0.75)))
    panes = int(length / 1.6)
    pitch = (length - 1.0) / panes
    for i in range(panes):
        x = -half + 0.5 + (i + 0.5) * pitch
        pane = box([x, 0, 0.62 * height], [pitch - 0.14, 1.975 * w, 0.34 * height])
        parts.append(make_mesh(pane, GLASS, gloss=0.32))
    for x in (half - 1.3, -0.1 * half):
        door = box([x, -0.97 * w, 0.45 * height], [1.2, 0.07, 0.7 * height])
        parts.append(make_mesh(door, GLASS, gloss=0.25))
    shield = box([half - 0.02, 0, 0.58 * height], [0.1, 1.78 * w, 0.45 * height])
    parts.append(make_mesh(shield, GLASS, gloss=0.32))
    sign = box([half - 0.04, 0, 0.89 * height], [0.1, 1.4 * w, 0.2])
    parts.append(make_mesh(sign, (0.8, 0.45, 0.05), glow=1.0))
    rear = box([-half + 0.01, 0, 0.7 * height], [0.06, 1.5 * w, 0.25 * height])
    parts.append(make_mesh(rear, GLASS, gloss=0.3))
    parts.append(_wheels([-0.58 * half, 0.55 * half], w - 0.005, 0.47, 0.3))
    parts.append(_face(length, width, 0.7, 0.45, 0.12))
    return Body('Bus', np.array([length + 0.03, width + 0.02, height]), (join(parts),))


def _person(rng: Rng, tall: float, swing: float, *, seated: bool, look: Floats) -> list[Mesh]:
    """Parts of a person at the origin; ``look`` holds shirt, trousers, skin, hair (4, 3)."""
    shirt, trousers, skin, hair = look
    leg, hip = 0.47 * tall, 0.5 * tall
    parts = []
    shoulder = 0.82 * tall
    torso_low = [[0.1, 0.16, hip], [-0.1, 0.16, hip], [-0.1, -0.16, hip], [0.1, -0.16, hip]]
    lean = 0.25 if seated else 0.02
    torso_high = [
        [0.11 + lean, 0.22, shoulder], [-0.11 + lean, 0.22, shoulder],
        [-0.11 + lean, -0.22, shoulder], [0.11 + lean, -0.22, shoulder],
    ]  # fmt: skip
    quads = np.array([torso_low, torso_high], np.float32)
    from_low = [[0, 1, 2, 3], [4, 5, 6, 7], [0, 1, 5, 4], [1, 2, 6, 5], [2, 3, 7, 6], [3, 0, 4, 7]]
    parts.append(make_mesh(quads.reshape(8, 3)[np.array(from_low)], shirt))
    head = [lean * 1.2, 0, 0.915 * tall]
    neck = cylinder([head[0], 0, 0.84 * tall], [head[0], 0, 0.965 * tall], 0.1, 8)
    parts.append(make_mesh(neck, skin))
    cap = cylinder([head[0] - 0.02, 0, 0.945 * tall], [head[0] - 0.02, 0, tall], 0.115, 8)
    parts.append(make_mesh(cap, hair))
    for side in (-1.0, 1.0):
        step = side * swing * 0.32
        if seated:
            knee = [0.3, side * 0.11, hip - 0.12 + step * 0.5]
            parts.append(make_mesh(rod([0, side * 0.1, hip], knee, 0.16), trousers))
            foot = [0.16, side * 0.12, hip - 0.5 + step * 0.5]
            parts.append(make_mesh(rod(knee, foot, 0.13), trousers))
            hand = [0.55, side * 0.24, hip + 0.16]
        else:
            foot = [step, side * 0.09, 0.04]
            parts.append(make_mesh(rod([0, side * 0.09, leg + 0.06], foot, 0.16), trousers))
            shoe = box([step + 0.04, side * 0.09, 0.045], [0.27, 0.1, 0.09])
            parts.append(make_mesh(shoe, DARK))
            hand = [-step * 0.9, side * 0.27, hip - 0.02]
        arm = rod([lean, side * 0.25, shoulder - 0.03], hand, 0.1)
        parts.append(make_mesh(arm, shirt * np.float32(0.85)))
    return parts


def pedestrian(rng: Rng) -> Body:
    """A walking person, four phases of the gait."""
    tall = rng.uniform(1.5, 1.9)
    shirt, trousers = _pick(rng, _CLOTHES), _pick(rng, _CLOTHES[1:3])
    look = np.stack([shirt, trousers, _pick(rng, _SKINS), _pick(rng, _SKINS[2:])])
    look[3] *= 0.4
    phases = []
    for swing in (0.0, 1.0, 0.0, -1.0):
        phases.append(join(_person(rng, tall, swing, seated=False, look=look)))
    return Body('Pedestrian', np.array([0.75, 0.65, tall]), tuple(phases), stride=1.45)


def cyclist(rng: Rng) -> Body:
    """A person on a bicycle, or now and then on a motorcycle."""
    motor = rng.random() < 0.3
    tall = rng.uniform(1.55, 1.8)
    look = np.stack(
        [_pick(rng, _CLOTHES), _pick(rng, _CLOTHES[1:3]), _pick(rng, _SKINS), _pick(rng, _CLOTHES)]
    )
    frame = _pick(rng, _CAR_PAINTS)
    radius, base = (0.3, 0.66) if motor else (0.34, 0.55)
    parts = []
    for x in (-base, base):
        thick = 0.07 if motor else 0.025
        tyre = cylinder([x, -thick, radius], [x, thick, radius], radius, 12)
        parts.append(make_mesh(tyre, RUBBER))
        side = thick + 0.005
        spokes = cylinder([x, -side, radius], [x, side, radius], 0.75 * radius, 12)
        parts.append(make_mesh(spokes, (0.28, 0.28, 0.3)))
    seat = 0.72 if motor else 0.9
    thickness = 0.2 if motor else 0.06
    for a, b in (
        ([-base, 0, radius], [-0.15, 0, seat - 0.1]),
        ([-0.15, 0, seat - 0.1], [base - 0.12, 0, seat]),
        ([-0.05, 0, radius], [base - 0.12, 0, seat]),
        ([base, 0, radius], [base - 0.16, 0, seat + 0.18]),
    ):
        parts.append(make_mesh(rod(a, b, thickness), frame, gloss=0.1))
    bar = rod([base - 0.18, -0.3, seat + 0.2], [base - 0.18, 0.3, seat + 0.2], 0.05)
    parts.append(make_mesh(bar, DARK))
    parts.append(make_mesh(box([base - 0.08, 0, seat + 0.1], [0.1, 0.12, 0.1]), LAMP, glow=2.0))
    tail = box([-base - 0.02, 0, seat - 0.15], [0.06, 0.1, 0.08])
    parts.append(make_mesh(tail, RED_LAMP, glow=1.0))
    if motor:
        parts.append(make_mesh(box([-0.1, 0, 0.62], [0.8, 0.3, 0.22]), frame, gloss=0.15))
    phases = []
    drop = 0.5 * tall - seat
    for swing in (0.3, -0.3) if not motor else (0.0,):
        rider = join(_person(rng, tall, swing, seated=True, look=look)).posed(-0.2, 0, 0, -drop)
        phases.append(join([*parts, rider]))
    length, height = 2 * (base + radius), tall - drop
    name = 'Motorcyclist' if motor else 'Cyclist'
    return Body(name, np.array([length + 0.05, 0.66, height]), tuple(phases), stride=4.0)


MAKERS: dict[str, Callable[[Rng], Body]] = {
    'car': car,
    'van': van,
    'truck': truck,
    'bus': bus,
    'cyclist': cyclist,
    'pedestrian': pedestrian,
}
