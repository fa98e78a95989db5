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

"""The nouns that flow: images, frames, labels, messages, tracks. Frozen, validated, typed."""

from cooptrack_core.structures.frames import (
    CLASS_NAMES,
    AgentFrame,
    CameraImage,
    ObjectLabels,
    Role,
)
from cooptrack_core.structures.maps import (
    MAP_CLASSES,
    BevFeature,
    BevMap,
    CooperativeMapFrame,
    MapLabels,
)
from cooptrack_core.structures.tracks import (
    SURE_SCORE,
    InstanceMessage,
    Source,
    TrackedObjects,
)

__all__ = [
    'CLASS_NAMES',
    'MAP_CLASSES',
    'SURE_SCORE',
    'AgentFrame',
    'BevFeature',
    'BevMap',
    'CameraImage',
    'CooperativeMapFrame',
    'InstanceMessage',
    'MapLabels',
    'ObjectLabels',
    'Role',
    'Source',
    'TrackedObjects',
]
