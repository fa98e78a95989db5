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

"""Weather and light of a scene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cooptrack_core.simulation.shapes import Floats

Rng = np.random.Generator
KINDS = ('day', 'overcast', 'dusk')
_EXPOSURE = {'day': 0.92, 'overcast': 1.1, 'dusk': 1.75}


@dataclass(frozen=True, eq=False)
class Light:
    """All that decides how bright a surface is. Colours are linear RGB.

    Attributes:
        kind: One of KINDS.
        sun: (3,) unit direction towards the sun (overcast: the brightest part of the sky).
        sun_colour: (3,) light of the sun on a surface that faces it.
        ambient: (3,) light of the sky on a horizontal surface.
        horizon: (3,) sky at the horizon.
        zenith: (3,) sky overhead.
        clouds: Contrast of the clouds.
        haze: Distance over which the air swallows 63 %, metres.
        exposure: Factor of the camera.
        lamps: Brightness of lamps, 0 when off.
        noise: Standard deviation of the sensor noise, grey levels.
    """

    kind: str
    sun: Floats
    sun_colour: Floats
    ambient: Floats
    horizon: Floats
    zenith: Floats
    clouds: float
    haze: float
    exposure: float
    lamps: float
    noise: float


def make_light(rng: Rng, weights: tuple[float, float, float]) -> Light:
    """Draw the weather with the given weights of KINDS."""
    share = np.array(weights) / sum(weights)
    kind = str(rng.choice(KINDS, p=share))
    azimuth = rng.uniform(-np.pi, np.pi)
    low, high = {'day': (28, 62), 'overcast': (70, 88), 'dusk': (6, 16)}[kind]
    elevation = np.radians(rng.uniform(low, high))
    flat = np.cos(elevation)
    sun = [flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)]
    table = {
        'day': ((1.40, 1.32, 1.14), (0.46, 0.52, 0.60), (0.66, 0.74, 0.84), (0.20, 0.36, 0.66)),
        'overcast': ((0.42, 0.42, 0.43), (0.62, 0.64, 0.67), (0.7, 0.74, 0.76), (0.55, 0.57, 0.6)),
        'dusk': ((0.50, 0.28, 0.14), (0.17, 0.18, 0.25), (0.62, 0.40, 0.28), (0.12, 0.15, 0.30)),
    }[kind]
    sun_colour, ambient, horizon, zenith = (
        np.array(c, np.float32) * np.float32(rng.uniform(0.88, 1.12)) for c in table
    )
    return Light(
        kind=kind,
        sun=np.array(sun, np.float32),
        sun_colour=sun_colour,
        ambient=ambient,
        horizon=horizon,
        zenith=zenith,
        clouds=float(rng.uniform(0.1, 0.6)),
        haze=float(rng.uniform(500, 1600) if kind != 'overcast' else rng.uniform(260, 900)),
        exposure=float(rng.uniform(0.85, 1.15) * _EXPOSURE[kind]),
        lamps=1.0 if kind == 'dusk' else 0.12,
        noise=float(rng.uniform(1.5, 3.0) * (1.6 if kind == 'dusk' else 1.0)),
    )
