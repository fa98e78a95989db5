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

"""Two small simulated scenes for all tests of training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from small_rings import simulate_rings


@pytest.fixture(scope='session')
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip('embreex', reason='the simulator needs the extra [simulator]')
    from cooptrack_core.simulation import simulate
    from cooptrack_core.simulation.presets import load_preset

    root = tmp_path_factory.mktemp('scenes') / 'data'
    simulate(root, replace(load_preset('tiny'), frames=4), scenes=2, seed=3, workers=1)
    return root


@pytest.fixture(scope='session')
def rings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scenes of two moments with camera rings and maps."""
    return simulate_rings(tmp_path_factory.mktemp('rings') / 'data')
