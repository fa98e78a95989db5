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

"""OPV2V reader: rings of cameras, LiDAR, and maps around every agent (reference cobevt.md, 8).

Example:
    >>> dataset = Opv2vDataset('OPV2V', split='validate')             # doctest: +SKIP
    >>> for frame in dataset.scenarios[0].frames():                    # doctest: +SKIP
    ...     frame.ego.images, frame.others, frame.labels.dynamic, frame.map_SE3_agents
"""

from cooptrack_core.datasets.opv2v.dataset import Opv2vDataset, is_opv2v
from cooptrack_core.datasets.opv2v.frame_file import FrameRecord, RingCamera, Vehicle, read_frame
from cooptrack_core.datasets.opv2v.maps import MAP_FILES, read_map_labels
from cooptrack_core.datasets.opv2v.scenario import Opv2vScenario, ReadOptions

__all__ = [
    'MAP_FILES',
    'FrameRecord',
    'Opv2vDataset',
    'Opv2vScenario',
    'ReadOptions',
    'RingCamera',
    'Vehicle',
    'is_opv2v',
    'read_frame',
    'read_map_labels',
]
