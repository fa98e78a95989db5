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

"""Writes scenes in the V2X-Seq-SPD layout (reference section 6.1).

Beyond the layout: agents.json, and below cooperative the folders visibility and map.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from cooptrack_core.geometry import SE3
from cooptrack_core.simulation.agents import Agent
from cooptrack_core.simulation.labels import (
    cooperative_labels,
    side_labels,
    sightings,
    visibility,
)
from cooptrack_core.simulation.lidar import Cloud
from cooptrack_core.simulation.roads import road_map
from cooptrack_core.simulation.scene import Capture, SceneSimulation
from cooptrack_core.structures import Role

SPLIT_FILE = 'cooperative-split-data-spd.json'
# Roadside frames are numbered apart, so that nobody mixes up the two numberings unnoticed.
ROADSIDE_FRAMES_FROM = 500_000


@dataclass(frozen=True, eq=False)
class SceneRows:
    """What the index files say about some frames of one scene.

    Attributes:
        index: Number of the scene.
        begin: Number of the first of the frames.
        description: Its row in scenes.json.
        sides: By directory: rows of the side's data_info.json.
        pairs: Rows of cooperative/data_info.json.
        agents: (agent_id, role, directory) of its agents.
    """

    index: int
    begin: int
    description: dict[str, Any]
    sides: dict[str, list[dict[str, Any]]]
    pairs: list[dict[str, Any]]
    agents: list[tuple[str, str, str]]


def _dump(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, separators=(',', ':')), encoding='utf-8')


def make_directories(root: Path, sides: Sequence[tuple[str, Role]]) -> None:
    """Create the folders of all sides."""
    for side, role in sides:
        vehicle = role is Role.VEHICLE
        calib = ['camera_intrinsic']
        if vehicle:
            calib += ['lidar_to_camera', 'lidar_to_novatel', 'novatel_to_world']
        else:
            calib += ['virtuallidar_to_camera', 'virtuallidar_to_world']
        folders = ['image', 'velodyne', 'label/camera']
        folders.append('label/lidar' if vehicle else 'label/virtuallidar')
        for folder in [*folders, *(f'calib/{c}' for c in calib)]:
            (root / side / folder).mkdir(parents=True, exist_ok=True)
    for folder in ('label', 'visibility', 'map'):
        (root / 'cooperative' / folder).mkdir(parents=True, exist_ok=True)


def write_scene(root: Path, scene: SceneSimulation, frames: Sequence[int]) -> SceneRows:
    """Simulate some frames of a scene and write all of them but the index files."""
    preset = scene.preset
    sequence = f'{scene.index:04d}'
    first = scene.index * preset.frames
    if frames[0] == 0:
        _dump(root / 'cooperative' / 'map' / f'{sequence}.json', _roads(scene))
    sides: dict[str, list[dict[str, Any]]] = {a.directory: [] for a in scene.agents}
    pairs = []
    for frame, captures in zip(frames, scene.frames(frames), strict=True):
        names, seen = {}, [sightings(c) for c in captures]
        for capture, sight in zip(captures, seen, strict=True):
            agent = capture.agent
            start = 0 if agent.role is Role.VEHICLE else ROADSIDE_FRAMES_FROM
            name = f'{start + first + frame:06d}'
            names[agent.agent_id] = name
            rows = side_labels(capture, sight, preset.labels, sequence, name)
            _write_capture(root, scene, capture, name, rows)
            row = _side_row(capture, name, sequence, preset.frames, start + first)
            sides[agent.directory].append(row)
        together = cooperative_labels(captures, seen, preset.labels, sequence, names)
        _dump(root / 'cooperative' / 'label' / f'{names["vehicle"]}.json', together)
        visible = {'sequence_id': sequence, 'frames': names, 'objects': visibility(captures, seen)}
        _dump(root / 'cooperative' / 'visibility' / f'{names["vehicle"]}.json', visible)
        pair: dict[str, Any] = {
            'vehicle_frame': names['vehicle'],
            'infrastructure_frame': names['roadside'],
            'vehicle_sequence': sequence,
            'infrastructure_sequence': sequence,
            'system_error_offset': {'delta_x': 0.0, 'delta_y': 0.0},
        }
        extra = {k: v for k, v in names.items() if k not in ('vehicle', 'roadside')}
        if extra:
            pair['frames'] = extra
        pairs.append(pair)
    description = {
        'sequence_id': sequence,
        'seed': scene.seed,
        'index': scene.index,
        'layout': scene.layout.kind,
        'arms': len(scene.layout.arms),
        'signals': scene.layout.signals,
        'weather': scene.light.kind,
        'frames': preset.frames,
        'skew_ms': {a.agent_id: round(a.skew_s * 1000, 2) for a in scene.agents},
    }
    agents = [(a.agent_id, str(a.role), a.directory) for a in scene.agents]
    return SceneRows(scene.index, frames[0], description, sides, pairs, agents)


def _roads(scene: SceneSimulation) -> dict[str, Any]:
    """The roads of a scene in the world; the dataset's own layout knows no such file."""
    roads = road_map(scene.layout).transformed(scene.world_SE3_site)
    return {
        kind: [np.round(points, 3).tolist() for points in shapes]
        for kind, shapes in vars(roads).items()
    }


def write_index(
    root: Path,
    rows: Sequence[SceneRows],
    split: str,
    preset_name: str,
    planned: Sequence[str],
) -> None:
    """Write the index files, data_info last; drop ``planned`` sides that no scene has."""
    rows = sorted(rows, key=lambda r: (r.index, r.begin))
    scenes = [r.description for r in rows if r.begin == 0]
    sequences = [scene['sequence_id'] for scene in scenes]
    _dump(root / 'scenes.json', {'preset': preset_name, 'scenes': scenes})
    empty: dict[str, list[str]] = {'train': [], 'val': [], 'test': []}
    frames: dict[str, list[str]] = {
        'vehicle_split': [p['vehicle_frame'] for r in rows for p in r.pairs],
        'infrastructure_split': [p['infrastructure_frame'] for r in rows for p in r.pairs],
    }
    frames['cooperative_split'] = frames['vehicle_split']
    splits = {'batch_split': {**empty, split: sequences}}
    splits.update({key: {**empty, split: ids} for key, ids in frames.items()})
    _dump(root / SPLIT_FILE, splits)
    sides = sorted({side for r in rows for side in r.sides})
    for side in planned:
        if side not in sides:  # no scene had a vehicle to carry it
            shutil.rmtree(root / side)
    agents = sorted({a for r in rows for a in r.agents if a[0] not in ('vehicle', 'roadside')})
    if agents:
        listed = [{'agent_id': i, 'role': role, 'directory': d} for i, role, d in agents]
        _dump(root / 'agents.json', {'agents': listed})
    for side in sides:
        _dump(root / side / 'data_info.json', [row for r in rows for row in r.sides.get(side, [])])
    _dump(root / 'cooperative' / 'data_info.json', [p for r in rows for p in r.pairs])


def _write_capture(
    root: Path, scene: SceneSimulation, capture: Capture, name: str, labels: list[dict[str, Any]]
) -> None:
    agent, config = capture.agent, scene.preset.camera
    side = root / agent.directory
    bgr = np.ascontiguousarray(capture.picture.image[..., ::-1])
    done, code = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, config.jpeg_quality])
    if not done:
        raise RuntimeError('OpenCV could not encode a JPEG')
    (side / 'image' / f'{name}.jpg').write_bytes(code.tobytes())
    if scene.preset.lidar.write:
        write_pcd(side / 'velodyne' / f'{name}.pcd', capture.cloud, agent.role, capture.stamp_us)
    vehicle = agent.role is Role.VEHICLE
    _dump(side / 'label' / 'camera' / f'{name}.json', labels)
    _dump(side / 'label' / ('lidar' if vehicle else 'virtuallidar') / f'{name}.json', labels)
    for kind, content in _calibration(scene, agent, capture).items():
        _dump(side / 'calib' / kind / f'{name}.json', content)


def _calibration(scene: SceneSimulation, agent: Agent, capture: Capture) -> dict[str, Any]:
    camera = agent.camera
    k = camera.intrinsic
    extrinsic = {
        'rotation': camera.camera_T_agent[:3, :3].tolist(),
        'translation': camera.camera_T_agent[:3, 3:].tolist(),
    }
    intrinsic = {
        'cam_D': [0.0] * 5,
        'cam_K': k.ravel().tolist(),
        'P': np.concatenate([k, np.zeros((3, 1))], 1).tolist(),
        'width': camera.width,
        'height': camera.height,
    }
    world = _transform(scene.world_SE3_site @ capture.site_SE3_body)
    if agent.role is Role.VEHICLE:
        return {
            'camera_intrinsic': intrinsic,
            'lidar_to_camera': extrinsic,
            'lidar_to_novatel': {'transform': _transform(agent.body_SE3_agent)},
            'novatel_to_world': world,
        }
    world['relative_error'] = {'delta_x': 0.0, 'delta_y': 0.0}
    return {
        'camera_intrinsic': intrinsic,
        'virtuallidar_to_camera': extrinsic,
        'virtuallidar_to_world': world,
    }


def _transform(pose: SE3) -> dict[str, Any]:
    return {'rotation': pose.rotation.tolist(), 'translation': pose.translation[:, None].tolist()}


def _side_row(
    capture: Capture, name: str, sequence: str, frames: int, first: int
) -> dict[str, Any]:
    vehicle = capture.agent.role is Role.VEHICLE
    start, end = f'{first:06d}', f'{first + frames - 1:06d}'
    row: dict[str, Any] = {
        'image_path': f'image/{name}.jpg',
        'pointcloud_path': f'velodyne/{name}.pcd',
        'calib_camera_intrinsic_path': f'calib/camera_intrinsic/{name}.json',
        'label_camera_std_path': f'label/camera/{name}.json',
        'intersection_loc': f'simulated{sequence}',
        'image_timestamp': str(capture.stamp_us),
        'pointcloud_timestamp': str(capture.stamp_us),
        'frame_id': name,
        'num_frames': str(frames),
        'sequence_id': sequence,
    }
    if vehicle:
        row['calib_lidar_to_camera_path'] = f'calib/lidar_to_camera/{name}.json'
        row['calib_lidar_to_novatel_path'] = f'calib/lidar_to_novatel/{name}.json'
        row['calib_novatel_to_world_path'] = f'calib/novatel_to_world/{name}.json'
        row['label_lidar_std_path'] = f'label/lidar/{name}.json'
        row['start_frame_id'], row['end_frame_id'] = start, end
    else:
        row['calib_virtuallidar_to_camera_path'] = f'calib/virtuallidar_to_camera/{name}.json'
        row['calib_virtuallidar_to_world_path'] = f'calib/virtuallidar_to_world/{name}.json'
        row['label_lidar_std_path'] = f'label/virtuallidar/{name}.json'
        row['camera_ip'], row['camera_id'], row['lidar_id'] = '0_0_0_0', '0', '0'
        row['valid_frames_splits'] = [{'start_frame_id': start, 'end_frame_id': end}]
    return row


def write_pcd(path: Path, cloud: Cloud, role: Role, stamp_us: int) -> None:
    """Write a binary PCD with the fields of the real files of that side."""
    n = len(cloud.points)
    columns: list[tuple[str, str]] = [('x', '<f4'), ('y', '<f4'), ('z', '<f4')]
    columns += (
        [('intensity', '<u1'), ('timestamp', '<f8')]
        if role is Role.VEHICLE
        else [('intensity', '<f4')]
    )
    data = np.zeros(n, dtype=np.dtype(columns))
    for i, axis in enumerate('xyz'):
        data[axis] = cloud.points[:, i]
    data['intensity'] = cloud.points[:, 3].astype(data.dtype['intensity'])
    if role is Role.VEHICLE:
        data['timestamp'] = stamp_us * 1e-6
    names = ' '.join(c for c, _ in columns)
    sizes = ' '.join(t[2] for _, t in columns)
    types = ' '.join(t[1].upper() for _, t in columns)
    counts = ' '.join('1' for _ in columns)
    header = (
        f'# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS {names}\nSIZE {sizes}\n'
        f'TYPE {types}\nCOUNT {counts}\nWIDTH {n}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\n'
        f'POINTS {n}\nDATA binary\n'
    )
    path.write_bytes(header.encode('ascii') + data.tobytes())
