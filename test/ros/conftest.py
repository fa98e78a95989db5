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

"""What the tests of commands share: a simulated scene and a pair of small random models."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_models import save_pair


@pytest.fixture(scope='module')
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One simulated scene of the smallest preset."""
    pytest.importorskip('embreex', reason='the simulator needs the extra [simulator]')
    from cooptrack_core.simulation import simulate

    directory = tmp_path_factory.mktemp('simulated') / 'scene'
    simulate(directory, 'tiny', 1, 5, workers=1)
    return directory


@pytest.fixture(scope='module')
def weights(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options that name agent and cooperative weights which belong together."""
    agent, cooperative = save_pair(tmp_path_factory.mktemp('weights'))
    return ['--agent-weights', str(agent), '--cooperative-weights', str(cooperative)]
