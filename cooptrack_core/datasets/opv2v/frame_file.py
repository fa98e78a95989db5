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

"""OPV2V reader: the YAML file of one agent and frame, turned right-handed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from cooptrack_core.datasets.json_files import Record, read_bytes
from cooptrack_core.errors import InputError
from cooptrack_core.geometry import SE3, Boxes3D
from cooptrack_core.geometry.ue4 import camera_T_agent_from_ue4, from_ue4, pose_matrix
from cooptrack_core.structures import ObjectLabels

Array = NDArray[np.float64]

CAMERA_NAMES = ('front', 'right', 'left', 'back')  # camera0 to camera3
_KMH = 3.6
# libyaml is ten times as fast, where PyYAML was built with it; both are safe.
_Loader: Any = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)

# Words in CARLA's blueprint names of two-wheelers.
_TWO_WHEELERS = (
    'bike', 'cyclist', 'omafiets', 'century', 'harley', 'kawasaki', 'yamaha', 'vespa', 'gazelle',
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class RingCamera:
    """Calibration of one camera, image size unknown.

    Attributes:
        key: ``camera0`` to ``camera3``, also in the name of the image file.
        intrinsic: (3, 3) as stored, pixels.
        camera_T_agent: (4, 4) maps right-handed LiDAR points into the OpenCV optical frame.
    """

    key: str
    intrinsic: Array
    camera_T_agent: Array

    @property
    def name(self) -> str:
        """What the camera is called in frames."""
        number = int(self.key.removeprefix('camera'))
        return CAMERA_NAMES[number] if number < len(CAMERA_NAMES) else self.key


@dataclass(frozen=True, eq=False)
class Vehicle:
    """An object that the agent's LiDAR hits, right-handed world.

    Attributes:
        track_id: Unique in the scenario.
        raw_type: CARLA's blueprint, V2XSet's type, or ``vehicle``.
        center: (3,) of the box, metres.
        size: (3,) length, width, height, metres.
        heading: (3,) unit vector.
        speed: m/s.
    """

    track_id: int
    raw_type: str
    center: Array
    size: Array
    heading: Array
    speed: float

    @property
    def class_name(self) -> str:
        """One of CLASS_NAMES."""
        word = self.raw_type.lower()
        if word.startswith('walker') or 'pedestrian' in word:
            return 'pedestrian'
        return 'bicycle' if any(part in word for part in _TWO_WHEELERS) else 'car'


@dataclass(frozen=True, eq=False)
class FrameRecord:
    """What the file says.

    Attributes:
        world_SE3_agent: Pose of the LiDAR.
        world_SE3_body: Pose of the vehicle, ``true_ego_pos``.
        speed: m/s.
        cameras: In their order.
        vehicles: In the order of their ids.
    """

    world_SE3_agent: SE3
    world_SE3_body: SE3
    speed: float
    cameras: tuple[RingCamera, ...]
    vehicles: tuple[Vehicle, ...]

    def labels(self) -> ObjectLabels:
        """The vehicles in the agent frame; velocities along their headings."""
        n = len(self.vehicles)
        agent_SE3_world = self.world_SE3_agent.inverse()

        def rows(values: Iterable[Array]) -> Array:
            return np.array(list(values), dtype=np.float64).reshape(n, 3)

        heading = agent_SE3_world.rotate_vectors(rows(v.heading for v in self.vehicles))
        speed = np.array([v.speed for v in self.vehicles]).reshape(n, 1)
        boxes = Boxes3D(
            agent_SE3_world.transform_points(rows(v.center for v in self.vehicles)),
            rows(v.size for v in self.vehicles),
            np.arctan2(heading[:, 1], heading[:, 0]),
            heading[:, :2] * speed,
        )
        return ObjectLabels(
            boxes,
            tuple(v.class_name for v in self.vehicles),
            np.array([v.track_id for v in self.vehicles], dtype=np.int64),
            tuple(v.raw_type for v in self.vehicles),
            np.full(n, -1, dtype=np.int64),
            np.zeros(n, dtype=bool),
        )


def read_frame(path: Path) -> FrameRecord:
    """Read ``<frame>.yaml``.

    Raises:
        InputError: The file is missing, is no YAML, or a field is missing or wrong.
    """
    record = _read_yaml(path)
    lidar, body = _pose(record, 'lidar_pose'), _pose(record, 'true_ego_pos')
    names = [k for k in record.values if isinstance(k, str) and re.fullmatch(r'camera\d+', k)]
    cameras = []
    for key in sorted(names, key=lambda name: int(name.removeprefix('camera'))):
        entry = record.record(key)
        extrinsic = camera_T_agent_from_ue4(_pose(entry, 'cords'), lidar)
        intrinsic = entry.array('intrinsic', (3, 3))
        if intrinsic[0, 0] <= 0 or intrinsic[1, 1] <= 0 or abs(intrinsic[2, 2] - 1) > 1e-6:
            raise entry.error(
                'intrinsic', 'the camera is not calibrated', 'correct the focal lengths'
            )
        cameras.append(RingCamera(key, intrinsic, extrinsic))
    speed = record.number('ego_speed') / _KMH if 'ego_speed' in record else 0.0
    vehicles = tuple(_vehicles(record))
    return FrameRecord(from_ue4(lidar), from_ue4(body), speed, tuple(cameras), vehicles)


def _read_yaml(path: Path) -> Record:
    data = read_bytes(path, 'the frame')
    try:
        content = yaml.load(data.decode('utf-8'), Loader=_Loader)  # noqa: S506 - a safe loader
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(
            f'this is not valid YAML ({" ".join(str(error).split())})', path=path,
            remedy='copy the file anew from the dataset; it is cut off or was edited',
        ) from error  # fmt: skip
    if not isinstance(content, Mapping):
        raise InputError(
            f'expected a mapping of fields, found {type(content).__name__}', path=path,
            remedy='copy the file anew from the dataset; it is cut off or of another layout',
        )  # fmt: skip
    return Record(content, path, '')


def _pose(record: Record, key: str) -> Array:
    return pose_matrix(record.array(key, (6,)))


def _vehicles(record: Record) -> Iterable[Vehicle]:
    if record.raw('vehicles') is None:  # "vehicles:" with nothing below it
        return
    listed = record.record('vehicles')
    try:
        keys = sorted(listed.values, key=int)
    except (TypeError, ValueError):
        raise record.error(
            'vehicles', 'an id is not a whole number', 'copy the file anew from the dataset'
        ) from None
    for key in keys:
        entry = listed.record(key)
        pose = pose_matrix([*entry.array('location', (3,)), *entry.array('angle', (3,))])
        offset = entry.array('center', (3,)) if 'center' in entry else np.zeros(3)
        size = 2 * entry.array('extent', (3,))
        if (size <= 0).any():
            raise entry.error('extent', f'sizes must be positive, found {size / 2}',
                              'correct or delete the vehicle')  # fmt: skip
        mirror = np.array([1.0, -1.0, 1.0])
        yield Vehicle(
            int(key),
            entry.text('obj_type', entry.text('bp_id', 'vehicle')),
            (pose[:3, :3] @ offset + pose[:3, 3]) * mirror,
            size,
            pose[:3, 0] * mirror,
            entry.number('speed') / _KMH if 'speed' in entry else float('nan'),
        )
