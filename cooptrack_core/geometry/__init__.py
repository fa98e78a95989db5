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

"""Geometry: rigid transforms, 3-D boxes, camera models and BEV grids."""

from cooptrack_core.geometry.bev import BevGrid, MapGrid, PerceptionRange
from cooptrack_core.geometry.boxes import Boxes3D
from cooptrack_core.geometry.cameras import CameraModel
from cooptrack_core.geometry.se3 import SE3, orthogonality_residual, polar_rotation, wrap_angle

__all__ = [
    'SE3',
    'BevGrid',
    'Boxes3D',
    'CameraModel',
    'MapGrid',
    'PerceptionRange',
    'orthogonality_residual',
    'polar_rotation',
    'wrap_angle',
]
