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

"""Writes small V2X-Seq directories with a known truth, for tests of everything that reads them."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from cooptrack_core.geometry import SE3

ORIGIN = np.array([457000.0, 4404000.0, 20.0])
START_US = 1626155123000000
EGO_SE3_LIDAR = SE3.from_yaw(0.02, [1.0, 0.1, 1.6])
INTRINSIC = np.array([[60.0, 0.0, 31.5], [0.0, 60.0, 23.5], [0.0, 0.0, 1.0]])
# Optical axes of a camera that looks along +x of its agent.
CAMERA_R_AGENT = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])


@dataclass(frozen=True)
class Thing:
    """An object on a straight line: type, start (metres from ORIGIN), speed, heading."""

    track_id: int
    kind: str
    start: tuple[float, float, float]
    velocity: tuple[float, float] = (0.0, 0.0)
    yaw: float = 0.0
    size: tuple[float, float, float] = (4.5, 1.9, 1.6)


@dataclass(frozen=True)
class Extra:
    """A side beyond vehicle and roadside; ``listed`` writes it into the rows of the pairs."""

    agent_id: str
    role: str
    start: tuple[float, float, float]
    listed: bool = True
    offset: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Spec:
    """What to write. ``hidden`` leaves labels out: (side, track, frame number)."""

    sequences: tuple[str, ...] = ('0000',)
    frames: int = 5
    things: tuple[Thing, ...] = (
        Thing(1, 'Car', (20.0, 5.0, 0.8), (5.0, 1.0), 0.2),
        Thing(2, 'Van', (25.0, -4.0, 1.0)),
        Thing(3, 'Cyclist', (12.0, 3.0, 0.9), (2.0, -1.0), -0.4, (1.8, 0.6, 1.7)),
        Thing(4, 'Pedestrian', (9.0, -6.0, 0.9), (0.0, 1.0), 1.5, (0.6, 0.6, 1.7)),
        Thing(5, 'TrafficCone', (14.0, 0.0, 0.3), size=(0.3, 0.3, 0.6)),
    )
    hidden: frozenset[tuple[str, int, int]] = frozenset()
    offset: tuple[float, float] = (0.7, -0.4)
    skew: float = 0.0
    layout: str = 'P'
    image_size: tuple[int, int] = (64, 48)
    extras: tuple[Extra, ...] = ()
    points: str | None = None
    splits: dict[str, list[str]] = field(default_factory=dict)


class Built:
    """The directory and its truth."""

    def __init__(self, root: Path, spec: Spec) -> None:
        self.root = root
        self.spec = spec

    def time(self, side: str, number: int) -> float:
        """Seconds from the start; the roadside clock is 20 ms early, others 10 ms late."""
        skew = {'vehicle': 0.0, 'roadside': -0.02}.get(side, 0.01)
        return 0.1 * number + skew

    def stamp_ns(self, side: str, number: int, sequence: str = '0000') -> int:
        """Frame time, ns."""
        start = START_US + 100_000_000 * self.spec.sequences.index(sequence)
        return (start + round(self.time(side, number) * 1e6)) * 1000

    def frame_id(self, side: str, number: int, sequence: str = '0000') -> str:
        """Sides number their frames differently, as in the real dataset."""
        first = {'vehicle': 100, 'roadside': 700}.get(side, 300)
        return f'{first + 1000 * self.spec.sequences.index(sequence) + number:06d}'

    def body(self, side: str, number: int) -> SE3:
        """True pose of a side's body in the world."""
        t = self.time(side, number)
        if side == 'vehicle':
            return SE3.from_yaw(0.3 + 0.5 * t, ORIGIN + np.array([4.0 * t, 1.0 * t, 0.0]))
        if side == 'roadside':
            return SE3.from_yaw(-2.5, ORIGIN + np.array([40.0, 20.0, 5.0]))
        extra = next(e for e in self.spec.extras if e.agent_id == side)
        speed = 3.0 if extra.role == 'vehicle' else 0.0
        return SE3.from_yaw(1.0, ORIGIN + extra.start + np.array([speed * t, 0.0, 0.0]))

    def pose(self, side: str, number: int) -> SE3:
        """True pose of a side's LiDAR in the world."""
        body = self.body(side, number)
        return body @ EGO_SE3_LIDAR if self.role(side) == 'vehicle' else body

    def role(self, side: str) -> str:
        """Vehicle or roadside."""
        return {e.agent_id: e.role for e in self.spec.extras}.get(side, side)

    def center(self, track_id: int, seconds: float) -> np.ndarray:
        """True centre of an object in the world."""
        thing = next(t for t in self.spec.things if t.track_id == track_id)
        return ORIGIN + thing.start + seconds * np.array([*thing.velocity, 0.0])

    def directory(self, side: str) -> Path:
        """Directory of a side."""
        names = {'vehicle': 'vehicle-side', 'roadside': 'infrastructure-side'}
        return self.root / names.get(side, side)

    def edit(self, path: str | Path, change: Any) -> None:
        """Change a JSON file of the dataset: ``change`` gets its content and alters it."""
        file = self.root / path
        content = json.loads(file.read_text())
        result = change(content)
        file.write_text(json.dumps(content if result is None else result))


def build_v2x_seq(root: Path, spec: Spec | None = None) -> Built:
    """Write a dataset."""
    spec = spec or Spec()
    built = Built(root, spec)
    sides = ['vehicle', 'roadside', *(e.agent_id for e in spec.extras)]
    for side in sides:
        rows = [
            _write_frame(built, side, sequence, number)
            for sequence in spec.sequences
            for number in range(spec.frames)
        ]
        _json(built.directory(side) / 'data_info.json', rows)
    pairs = []
    for sequence in spec.sequences:
        for number in range(spec.frames):
            row: dict[str, Any] = {
                'vehicle_frame': built.frame_id('vehicle', number, sequence),
                'infrastructure_frame': built.frame_id('roadside', number, sequence),
                'vehicle_sequence': sequence,
                'infrastructure_sequence': sequence,
                'system_error_offset': dict(zip(('delta_x', 'delta_y'), spec.offset, strict=True)),
            }
            for e in (e for e in spec.extras if e.listed):
                frame_id = built.frame_id(e.agent_id, number, sequence)
                row.setdefault('frames', {})[e.agent_id] = frame_id
                offset = {'delta_x': e.offset[0], 'delta_y': e.offset[1]}
                row.setdefault('offsets', {})[e.agent_id] = offset
            pairs.append(row)
            labels = _labels(built, 'cooperative', sequence, number)
            _json(root / 'cooperative' / 'label' / f'{row["vehicle_frame"]}.json', labels)
    _json(root / 'cooperative' / 'data_info.json', pairs)
    if spec.extras:
        _json(root / 'agents.json', {'agents': [
            {'agent_id': e.agent_id, 'role': e.role, 'directory': e.agent_id} for e in spec.extras
        ]})  # fmt: skip
    if spec.splits:
        _json(root / 'cooperative-split-data-spd.json', {'batch_split': spec.splits})
    return built


def write_pcd(path: Path, points: np.ndarray, encoding: str) -> None:
    """Write (m, 4) points as PCD, fields as on DAIR-V2X's roadside."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = (
        '# .PCD v0.7\nVERSION 0.7\nFIELDS x y z intensity\nSIZE 4 4 4 4\nTYPE F F F F\n'
        f'COUNT 1 1 1 1\nWIDTH {len(points)}\nHEIGHT 1\nPOINTS {len(points)}\nDATA {encoding}\n'
    )
    values = points.astype('<f4')
    if encoding == 'ascii':
        body = '\n'.join(' '.join(f'{v:.9g}' for v in row) for row in values).encode()
    elif encoding == 'binary':
        body = values.tobytes()
    else:
        raw = values.T.tobytes()
        # Literal runs only: valid LZF that needs no compressor.
        runs = [raw[i : i + 32] for i in range(0, len(raw), 32)]
        packed = b''.join(bytes([len(run) - 1]) + run for run in runs)
        body = len(packed).to_bytes(4, 'little') + len(raw).to_bytes(4, 'little') + packed
    path.write_bytes(header.encode() + body)


def _write_frame(built: Built, side: str, sequence: str, number: int) -> dict[str, Any]:
    spec, directory = built.spec, built.directory(side)
    frame_id = built.frame_id(side, number, sequence)
    vehicle = built.role(side) == 'vehicle'
    stamp = built.stamp_ns(side, number, sequence) // 1000
    lidar = 'lidar' if vehicle else 'virtuallidar'
    width, height = spec.image_size
    image = np.zeros((height, width, 3), dtype=np.uint8)
    image[..., 0] = 200  # red in RGB
    image[:, : width // 2, 1] = 100
    paths = {
        'image_path': f'image/{frame_id}.jpg',
        'pointcloud_path': f'velodyne/{frame_id}.pcd',
        'calib_camera_intrinsic_path': f'calib/camera_intrinsic/{frame_id}.json',
        f'calib_{lidar}_to_camera_path': f'calib/{lidar}_to_camera/{frame_id}.json',
        'label_lidar_std_path': f'label/{lidar}/{frame_id}.json',
    }
    (directory / 'image').mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(directory / paths['image_path']), image[..., ::-1])
    if spec.points:
        points = np.arange(40.0).reshape(10, 4) + number
        write_pcd(directory / paths['pointcloud_path'], points, spec.points)
    k = INTRINSIC
    intrinsic = (
        {'P': np.hstack([k, np.zeros((3, 1))]).ravel().tolist()}
        if spec.layout == 'P'
        else {'cam_K': k.ravel().tolist()}
    )
    _json(directory / paths['calib_camera_intrinsic_path'], intrinsic)
    camera = {'rotation': (CAMERA_R_AGENT @ _skew(spec)).tolist(),
              'translation': [[0.0], [0.1], [0.2]]}  # fmt: skip
    _json(directory / paths[f'calib_{lidar}_to_camera_path'], camera)
    pose = built.body(side, number)
    offset = {e.agent_id: e.offset for e in spec.extras}.get(side, spec.offset)
    if side != 'vehicle':
        # The file is off by what system_error_offset says, in the ego's LiDAR frame.
        shift = built.pose('vehicle', number).rotate_vectors([*offset, 0.0])
        pose = SE3(pose.rotation, pose.translation - shift)
    if vehicle:
        paths['calib_lidar_to_novatel_path'] = f'calib/lidar_to_novatel/{frame_id}.json'
        paths['calib_novatel_to_world_path'] = f'calib/novatel_to_world/{frame_id}.json'
        nested = {'transform': _transform(EGO_SE3_LIDAR, spec)}
        _json(directory / paths['calib_lidar_to_novatel_path'], nested)
        _json(directory / paths['calib_novatel_to_world_path'], _transform(pose, spec))
    else:
        key = 'calib_virtuallidar_to_world_path'
        paths[key] = f'calib/virtuallidar_to_world/{frame_id}.json'
        _json(directory / paths[key], _transform(pose, spec))
    labels = _labels(built, side, sequence, number)
    _json(directory / paths['label_lidar_std_path'], labels)
    return {
        **paths,
        'frame_id': frame_id,
        'sequence_id': sequence,
        'pointcloud_timestamp': str(stamp),
        'image_timestamp': str(stamp + 4000),
        'intersection_loc': 'crossing',
    }


def _labels(built: Built, side: str, sequence: str, number: int) -> list[dict[str, Any]]:
    observer = 'vehicle' if side == 'cooperative' else side
    pose, t = built.pose(observer, number), built.time(observer, number)
    rows = []
    for thing in built.spec.things:
        if (side, thing.track_id, number) in built.spec.hidden:
            continue
        x, y, z = pose.inverse().transform_points(built.center(thing.track_id, t))
        length, width, height = thing.size
        rows.append(
            {
                'token': f'{side}-{sequence}-{number}-{thing.track_id}',
                'type': thing.kind,
                'track_id': f'{thing.track_id:06d}',
                'truncated_state': 0,
                'occluded_state': 1,
                'alpha': 0.0,
                '2d_box': {'xmin': 0.0, 'ymin': 0.0, 'xmax': 1.0, 'ymax': 1.0},
                '3d_dimensions': {'h': height, 'w': width, 'l': length},
                '3d_location': {'x': x, 'y': y, 'z': z},
                'rotation': thing.yaw - pose.yaw,
            }
        )
    return rows


def _skew(spec: Spec) -> np.ndarray:
    # R (I + symmetric) has exactly R as its nearest rotation.
    return np.eye(3) + spec.skew * np.array([[1.0, 0.5, 0.0], [0.5, -1.0, 0.2], [0.0, 0.2, 0.3]])


def _transform(pose: SE3, spec: Spec) -> dict[str, Any]:
    rotation = (pose.rotation @ _skew(spec)).tolist()
    return {'rotation': rotation, 'translation': pose.translation.reshape(3, 1).tolist()}


def _json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def rows_without(rows: list[dict[str, Any]], keys: Collection[str]) -> list[dict[str, Any]]:
    """Drop keys from every row."""
    return [{k: v for k, v in row.items() if k not in keys} for row in rows]
