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

"""Reader of the V2X-Seq-SPD layout (real and simulated) and of single DAIR-V2X pairs.

Example:
    >>> dataset = V2XSeqDataset('V2X-Seq-SPD', split='val')        # doctest: +SKIP
    >>> scene = dataset.scenes[0]                                   # doctest: +SKIP
    >>> pair = scene.pairs[0]                                       # doctest: +SKIP
    >>> ego = scene.frame('vehicle', pair.ego_frame_id)             # doctest: +SKIP
    >>> roadside = scene.remote_frame(pair, 'roadside')             # doctest: +SKIP
    >>> truth = scene.cooperative_labels(pair.ego_frame_id)         # doctest: +SKIP
"""

from cooptrack_core.datasets.v2x_seq.calibration import RawCalibration
from cooptrack_core.datasets.v2x_seq.dair import DairPair, read_dair_pair, read_dair_pairs
from cooptrack_core.datasets.v2x_seq.dataset import V2XSeqDataset
from cooptrack_core.datasets.v2x_seq.labels import is_ego_box
from cooptrack_core.datasets.v2x_seq.layout import EGO_ID, AgentInfo, FramePair, FrameRecord
from cooptrack_core.datasets.v2x_seq.maps import (
    cooperative_map_frames,
    map_labels,
    read_road_map,
)
from cooptrack_core.datasets.v2x_seq.objects import CLASS_MAP, LabelCorrections
from cooptrack_core.datasets.v2x_seq.official import OfficialView, official_view
from cooptrack_core.datasets.v2x_seq.scene import Scene
from cooptrack_core.datasets.v2x_seq.visibility import ObjectVisibility

__all__ = [
    'CLASS_MAP',
    'EGO_ID',
    'AgentInfo',
    'DairPair',
    'FramePair',
    'FrameRecord',
    'LabelCorrections',
    'ObjectVisibility',
    'OfficialView',
    'RawCalibration',
    'Scene',
    'V2XSeqDataset',
    'cooperative_map_frames',
    'is_ego_box',
    'map_labels',
    'official_view',
    'read_dair_pair',
    'read_dair_pairs',
    'read_road_map',
]
