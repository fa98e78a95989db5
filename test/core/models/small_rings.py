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

"""A map model that runs in milliseconds, and two simulated scenes of camera rings for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cooptrack_core.geometry import MapGrid
from cooptrack_core.models.cobevt.config import (
    CobevtConfig,
    FuseBevtConfig,
    MapDecoderConfig,
    RingBackboneConfig,
    RingImageConfig,
    SinBevtConfig,
)

CONFIG = CobevtConfig(
    name='small',
    image=RingImageConfig(48, 96, skip_rows=24),
    map=MapGrid(256, 256, 0.390625),
    backbone=RingBackboneConfig('residual', (8, 8, 16, 16), (1, 1, 1, 1), levels=(1, 2)),
    sinbevt=SinBevtConfig(
        dims=(16, 16), scale=8, query_windows=(16, 16), image_windows=((3, 6), (3, 6)),
        head_dims=8, dropout=0.0,
    ),
    fusion=FuseBevtConfig(depth=1, window=4, hidden=16, head_dims=8, dropout=0.0),
    decoder=MapDecoderConfig('nearest', (16, 8, 8, 8)),
)  # fmt: skip


def simulate_rings(root: Path) -> Path:
    """Write two scenes of two moments below ``root``, a roadside unit in each."""
    pytest.importorskip('embreex', reason='the simulator needs the extra [simulator]')
    from cooptrack_core.simulation import simulate
    from cooptrack_core.simulation.presets import CameraConfig, LidarConfig, load_preset

    base = load_preset('opv2v_train')
    preset = replace(
        base,
        frames=2,
        camera=CameraConfig(width=96, height=72, ground_texel=0.6),
        lidar=LidarConfig(vehicle_rings=16, vehicle_steps=180),
        ring=replace(base.ring, roadside_share=1.0),
    )
    simulate(root, preset, scenes=2, seed=6, workers=1)
    return root
