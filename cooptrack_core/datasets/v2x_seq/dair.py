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

"""V2X-Seq reader: single vehicle / roadside pairs of DAIR-V2X (no sequences, no tracks)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cooptrack_core.datasets.json_files import Record, read_record, read_records
from cooptrack_core.datasets.pcd import read_points
from cooptrack_core.datasets.v2x_seq.calibration import RawCalibration, read_transform
from cooptrack_core.datasets.v2x_seq.labels import single_frame_labels
from cooptrack_core.datasets.v2x_seq.layout import EGO_ID, ROADSIDE_ID, read_offset
from cooptrack_core.datasets.v2x_seq.objects import CLASS_MAP, read_objects
from cooptrack_core.errors import InputError
from cooptrack_core.geometry import SE3
from cooptrack_core.structures import AgentFrame, ObjectLabels, Role


@dataclass(frozen=True, eq=False)
class DairPair:
    """One pair of DAIR-V2X; the world is the vehicle's LiDAR frame.

    Attributes:
        vehicle: The vehicle's frame (clouds; DAIR-V2X pairs carry no time of their own, 0).
        roadside: The roadside frame; its pose holds the registration.
        vehicle_labels: In the vehicle's LiDAR frame; no tracks, ids count from 0.
        roadside_labels: In the roadside virtual LiDAR frame.
        vehicle_SE3_roadside: Registration, system_error_offset included.
        offset: system_error_offset (delta_x, delta_y), metres.
        counts: Labels that were dropped, by reason.
    """

    vehicle: AgentFrame
    roadside: AgentFrame
    vehicle_labels: ObjectLabels
    roadside_labels: ObjectLabels
    vehicle_SE3_roadside: SE3
    offset: tuple[float, float]
    counts: Counter[str]


def read_dair_pairs(path: str | Path) -> list[Record]:
    """Read an index of pairs (``cooperative/data_info.json`` of DAIR-V2X).

    Raises:
        InputError: The file is missing or wrong.
    """
    return read_records(Path(path), 'the index of pairs')


def read_dair_pair(root: str | Path, row: Record, *, load_points: bool = True) -> DairPair:
    """Read one pair.

    The registration is ``cooperative/calib/lidar_i2v/{vehicle frame}.json`` where that exists
    (system_error_offset is already in it), else the chain of the sides' calibration files with
    system_error_offset added.

    Args:
        root: Directory with vehicle-side, infrastructure-side and cooperative.
        row: One row of ``read_dair_pairs``.
        load_points: Read the point clouds.

    Raises:
        InputError: A file is missing or wrong.
    """
    root = Path(root)
    clouds = {
        EGO_ID: root / row.text('vehicle_pointcloud_path'),
        ROADSIDE_ID: root / row.text('infrastructure_pointcloud_path'),
    }
    ids = {agent_id: cloud.stem for agent_id, cloud in clouds.items()}
    offset = read_offset(row, 'system_error_offset')
    vehicle_SE3_roadside = _registration(root, ids, offset)
    poses = {EGO_ID: SE3.identity(), ROADSIDE_ID: vehicle_SE3_roadside}
    label_paths = {
        EGO_ID: root / 'vehicle-side' / 'label' / 'lidar' / f'{ids[EGO_ID]}.json',
        ROADSIDE_ID: root
        / 'infrastructure-side'
        / 'label'
        / 'virtuallidar'
        / f'{ids[ROADSIDE_ID]}.json',
    }
    counts: Counter[str] = Counter()
    frames = {
        agent_id: AgentFrame(
            agent_id=agent_id,
            role=Role.from_dataset(agent_id),
            sequence_id=f'{ids[EGO_ID]}-{ids[ROADSIDE_ID]}',
            frame_id=ids[agent_id],
            stamp_ns=0,
            images=(),
            world_SE3_agent=poses[agent_id],
            world_SE3_body=poses[agent_id],
            points=read_points(clouds[agent_id]) if load_points else None,
        )
        for agent_id in clouds
    }
    labels = {
        agent_id: single_frame_labels(
            read_objects(path, class_map=CLASS_MAP, corrections={}, counts=counts, tracked=False)
        )
        for agent_id, path in label_paths.items()
    }
    return DairPair(
        frames[EGO_ID],
        frames[ROADSIDE_ID],
        labels[EGO_ID],
        labels[ROADSIDE_ID],
        vehicle_SE3_roadside,
        offset,
        counts,
    )


def _registration(root: Path, ids: dict[str, str], offset: tuple[float, float]) -> SE3:
    direct = root / 'cooperative' / 'calib' / 'lidar_i2v' / f'{ids[EGO_ID]}.json'
    if direct.exists():
        return SE3.from_matrix(
            read_transform(read_record(direct, 'the registration')), project=True
        )
    side, calib = root / 'vehicle-side' / 'calib', f'{ids[EGO_ID]}.json'
    if not (side / 'novatel_to_world' / calib).exists():
        raise InputError(
            'there is neither a registration nor the calibration of the sides',
            path=direct,
            remedy='add lidar_i2v, or the calib directories of both sides',
        )
    nested = read_record(side / 'lidar_to_novatel' / calib, 'the calibration')
    vehicle = RawCalibration(
        read_transform(nested.record('transform')),
        read_transform(read_record(side / 'novatel_to_world' / calib, 'the calibration')),
    )
    path = (
        root
        / 'infrastructure-side'
        / 'calib'
        / 'virtuallidar_to_world'
        / f'{ids[ROADSIDE_ID]}.json'
    )
    roadside = RawCalibration(np.eye(4), read_transform(read_record(path, 'the calibration')))
    relative = vehicle.world_SE3_agent.inverse() @ roadside.world_SE3_agent
    return SE3(relative.rotation, relative.translation + np.array([*offset, 0.0]))
