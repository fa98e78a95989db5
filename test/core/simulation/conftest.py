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

"""One small scene, captured once for all tests of the simulator."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip('embreex', reason='the simulator needs the extra [simulator]')

from cooptrack_core.simulation.presets import CameraConfig, Preset, load_preset
from cooptrack_core.simulation.scene import Capture, SceneSimulation


@pytest.fixture(scope='session')
def small_preset() -> Preset:
    tiny = load_preset('tiny')
    return replace(tiny, camera=CameraConfig(width=320, height=180, ground_texel=0.3))


@pytest.fixture(scope='session')
def scenes(small_preset: Preset) -> list[SceneSimulation]:
    return [SceneSimulation(small_preset, 4, index) for index in range(3)]


@pytest.fixture(scope='session')
def captures(scenes: list[SceneSimulation]) -> list[Capture]:
    """First frame of both agents of every scene."""
    return [capture for scene in scenes for capture in next(scene.frames())]
