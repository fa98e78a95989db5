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


"""Instance messages to test with."""

from __future__ import annotations

import numpy as np

from cooptrack_core.geometry import SE3, Boxes3D, MapGrid, PerceptionRange
from cooptrack_core.structures import BevFeature, InstanceMessage, Role

RANGE = PerceptionRange(-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)
MODEL = 'tiny-0123456789ab'


def make_message(n: int = 3, d: int = 16, seed: int = 0, **changes: object) -> InstanceMessage:
    """Build a plausible message of n instances with D = d and three classes."""
    random = np.random.default_rng(seed)
    points = random.uniform(0, 1, (n, 3)).astype(np.float32)
    scores = random.uniform(0, 1, (n, 3)).astype(np.float32)
    velocities = random.uniform(-20, 20, (n, 2))
    if n:
        velocities[0] = np.nan
    spread = random.normal(size=(6, 6))
    fields: dict[str, object] = {
        'agent_id': 'roadside_1',
        'role': Role.ROADSIDE,
        'model_id': MODEL,
        'session_id': 0xFEDCBA9876543210,
        'sequence': 7,
        'stamp_ns': 1_626_155_123_456_789_000,
        'world_SE3_agent': SE3.from_yaw(0.7, (456_789.123456, 4_428_123.654321, 21.5)),
        'pose_covariance': spread @ spread.T * 1e-3,
        'range': RANGE,
        'query_features': random.normal(size=(n, d)).astype(np.float32),
        'query_embeddings': random.normal(size=(n, d)).astype(np.float32) * 10,
        'motion_features': random.normal(size=(n, d)).astype(np.float32) * 0.1,
        'reference_points': points,
        'boxes': Boxes3D(
            RANGE.denormalise(points),
            random.uniform(0.5, 12, (n, 3)),
            random.uniform(-np.pi, np.pi, n),
            velocities,
        ),
        'class_scores': scores,
        'track_ids': np.arange(n, dtype=np.int64) * 1000,
    }
    return InstanceMessage(**{**fields, **changes})  # type: ignore[arg-type]


def make_feature(
    channels: int = 3, rows: int = 4, columns: int = 5, seed: int = 0, **changes: object
) -> BevFeature:
    """Build a plausible BEV map whose channels differ in scale and hold zeros."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(channels, rows, columns)) * 10.0 ** random.uniform(
        -3, 2, (channels, 1, 1)
    )
    spread = random.normal(size=(6, 6))
    fields: dict[str, object] = {
        'agent_id': 'vehicle_2',
        'role': Role.VEHICLE,
        'model_id': MODEL,
        'session_id': 0xFEDCBA9876543210,
        'sequence': 7,
        'stamp_ns': 1_626_155_123_456_789_000,
        'world_SE3_agent': SE3.from_yaw(0.7, (456_789.123456, 4_428_123.654321, 21.5)),
        'pose_covariance': spread @ spread.T * 1e-3,
        'grid': MapGrid(rows, columns, 3.125),
        'features': np.maximum(values, 0).astype(np.float32),
    }
    return BevFeature(**{**fields, **changes})  # type: ignore[arg-type]
