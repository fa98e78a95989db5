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

"""The simulator: a junction with traffic and occluders, seen by cameras and LiDARs.

It writes the layouts of V2X-Seq and OPV2V. The ray caster (embreex) is an extra:
``pip install "cooptrack_ros[simulator]"``.
"""

from cooptrack_core.simulation.map_statistics import MapSummary
from cooptrack_core.simulation.presets import LAYOUTS, PRESETS, Preset, load_preset
from cooptrack_core.simulation.run import simulate
from cooptrack_core.simulation.statistics import SimulationSummary, describe

__all__ = [
    'LAYOUTS',
    'PRESETS',
    'MapSummary',
    'Preset',
    'SimulationSummary',
    'describe',
    'load_preset',
    'simulate',
]
