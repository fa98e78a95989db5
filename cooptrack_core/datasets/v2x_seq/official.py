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

"""V2X-Seq reader: the numbers that CoopTrack's pkl infos hold, for parity with released weights.

Nothing else should use them: they mix raw matrices, transposes and row-vector conventions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.datasets.v2x_seq.layout import EGO_ID, FramePair
from cooptrack_core.datasets.v2x_seq.scene import Scene

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class OfficialView:
    """One pair as the official data pipeline sees it (reference section 6.2).

    Attributes:
        timestamps: Seconds per agent, LiDAR time.
        vehicle_to_remote: Per remote agent (4, 4), ego LiDAR to remote LiDAR, column vectors,
            system_error_offset inside; the remote rotation is inverted as it is, so the matrix
            is not exactly rigid.
        l2g_r: Per agent (3, 3): row vectors, p_world = p @ l2g_r + l2g_t.
        l2g_t: Per agent (3,).
        lidar2img: Per agent (4, 4) with the raw extrinsic.
    """

    timestamps: dict[str, float]
    vehicle_to_remote: dict[str, Array]
    l2g_r: dict[str, Array]
    l2g_t: dict[str, Array]
    lidar2img: dict[str, Array]

    def veh2inf_rt(self, agent_id: str, *, transposed: bool = True) -> Array:
        """(4, 4) vehicle to roadside; the pipeline stores the transposed matrix."""
        matrix = self.vehicle_to_remote[agent_id]
        return np.asarray(matrix.T if transposed else matrix)


def official_view(scene: Scene, pair: FramePair) -> OfficialView:
    """Compute the official infos' matrices of a pair.

    p_remote = R_remote^-1 (R_e2g (R_l2e (p - d) + t_l2e) + t_e2g - t_remote), with
    d = (delta_x, delta_y, 0), vehicle rotations made rigid and the remote one raw.

    Raises:
        InputError: As ``Scene.frame``.
    """
    frames = {EGO_ID: pair.ego_frame_id, **pair.remote_frame_ids}
    poses = {a: scene.frame(a, f, load_images=False).world_SE3_agent for a, f in frames.items()}
    vehicle_to_remote = {}
    for agent_id, frame_id in pair.remote_frame_ids.items():
        offset = np.eye(4)
        offset[:2, 3] = -np.array(pair.offsets[agent_id])
        world_T_remote = scene.raw_calibration(agent_id, frame_id).world_T_agent
        vehicle_to_remote[agent_id] = np.asarray(
            np.linalg.solve(world_T_remote, poses[EGO_ID].matrix @ offset), dtype=np.float64
        )
    return OfficialView(
        timestamps={a: scene.record(a, f).stamp_ns * 1e-9 for a, f in frames.items()},
        vehicle_to_remote=vehicle_to_remote,
        l2g_r={a: pose.rotation.T for a, pose in poses.items()},
        l2g_t={a: pose.translation for a, pose in poses.items()},
        lidar2img={a: scene.camera(a, f).agent_to_image for a, f in frames.items()},
    )
