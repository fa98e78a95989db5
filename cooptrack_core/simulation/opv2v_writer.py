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

"""Writes scenes in the OPV2V layout with maps around every agent (reference cobevt.md, section 8).

Only what a file of OPV2V holds is left-handed; everything here is turned over right before it is
written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from cooptrack_core.geometry import SE3, MapGrid
from cooptrack_core.geometry.road_map import RoadMap, draw_boxes, draw_roads
from cooptrack_core.geometry.ue4 import camera_pose_to_ue4, pose_of, to_ue4
from cooptrack_core.simulation.lidar import Cloud
from cooptrack_core.simulation.map_statistics import MapRows
from cooptrack_core.simulation.presets import Preset
from cooptrack_core.simulation.roads import road_map
from cooptrack_core.simulation.scene import Capture, RoadUser, SceneSimulation, boxes_of
from cooptrack_core.structures import Role

GRID = MapGrid()
SPLIT_FOLDERS = {'train': 'train', 'val': 'validate', 'test': 'test'}
WALKER = 'Pedestrian'  # the only road user that CARLA does not call a vehicle
_NEAR = 70.7  # metres from the agent to the middle of a vehicle

Grey = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class MapImages:
    """Grey levels (rows, columns) of the five files of one agent and frame."""

    dynamic: Grey
    static: Grey
    lane: Grey
    visibility: Grey
    visibility_corp: Grey


def scenario_folder(preset: Preset, index: int) -> str:
    """Folder of a scene below the root of the dataset."""
    return f'{SPLIT_FOLDERS[preset.split]}/simulated_{index:04d}'


def write_opv2v_scene(root: Path, scene: SceneSimulation, frames: Sequence[int]) -> MapRows:
    """Simulate some frames of a scene and write them."""
    preset = scene.preset
    folder = root / scenario_folder(preset, scene.index)
    for agent in scene.agents:
        (folder / agent.directory).mkdir(parents=True, exist_ok=True)
    if frames[0] == 0:
        (folder / 'data_protocol.yaml').write_text(_protocol(scene), encoding='utf-8')
    roads = road_map(scene.layout)
    maps = []
    for frame, captures in zip(frames, scene.frames(frames), strict=True):
        name = f'{frame * round(preset.ticks):06d}'
        for capture in captures:
            path = folder / capture.agent.directory / name
            images = map_images(capture, captures, roads)
            _write_capture(path, scene, capture)
            for kind, image in vars(images).items():
                _write_image(path.with_name(f'{name}_bev_{kind}.png'), image)
            maps.append(_cells(images))
    return MapRows(
        index=scene.index,
        frames=len(frames),
        agents=len(scene.agents),
        roadsides=sum(a.role is Role.ROADSIDE for a in scene.agents),
        weather=scene.light.kind,
        layout=scene.layout.kind,
        cells=np.sum(maps, axis=0),
    )


def map_images(capture: Capture, captures: Iterable[Capture], roads: RoadMap) -> MapImages:
    """Draw the map around one agent.

    Args:
        capture: The agent's.
        captures: Those of all agents of the scene at this instant.
        roads: In the site frame.
    """
    body_SE3_site = capture.site_SE3_body.inverse()
    static, lane = draw_roads(GRID, roads.transformed(body_SE3_site))
    near = [
        user
        for user in capture.road_users
        if user.type != WALKER
        and np.hypot(*(user.center - capture.site_SE3_body.translation)[:2]) < _NEAR
    ]
    together: frozenset[int] = frozenset().union(*(c.visible for c in captures))

    def drawn(users: list[RoadUser]) -> Grey:
        return draw_boxes(GRID, boxes_of(users).transformed(body_SE3_site))

    dynamic = drawn(near)
    dynamic[static == 0] = 0
    return MapImages(
        dynamic,
        static,
        lane,
        drawn([u for u in near if u.track_id in capture.visible]),
        drawn([u for u in near if u.track_id in together]),
    )


def _cells(images: MapImages) -> NDArray[np.int64]:
    """(5,) covered cells, and of those with a vehicle: seen by the agent, seen by all."""
    vehicle = images.dynamic > 0
    masks = (
        vehicle,
        images.static > 0,
        images.lane > 0,
        vehicle & (images.visibility > 0),
        vehicle & (images.visibility_corp > 0),
    )
    return np.array([mask.sum() for mask in masks], np.int64)


def _write_capture(path: Path, scene: SceneSimulation, capture: Capture) -> None:
    config = scene.preset
    for k, picture in enumerate(capture.pictures):
        file = path.with_name(f'{path.name}_camera{k}.{config.ring.image_format}')
        bgr = np.ascontiguousarray(picture.image[..., ::-1])
        _write_image(file, bgr, config.camera.jpeg_quality)
    if config.lidar.write:
        write_opv2v_pcd(path.with_suffix('.pcd'), capture.cloud)
    path.with_suffix('.yaml').write_text(_frame_yaml(scene, capture), encoding='utf-8')


def _write_image(path: Path, image: NDArray[np.uint8], quality: int = 95) -> None:
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if path.suffix == '.jpg' else []
    done, code = cv2.imencode(path.suffix, image, options)
    if not done:
        raise RuntimeError(f'OpenCV could not encode {path.name}')
    path.write_bytes(code.tobytes())


def _number(value: float) -> str:
    return f'{value + 0.0:.6f}'  # YAML 1.1 wants a dot; + 0.0 drops the sign of zero


def _listed(values: ArrayLike) -> str:
    array = np.round(np.asarray(values, np.float64), 6)
    if array.ndim == 1:
        return f'[{", ".join(_number(v) for v in array.tolist())}]'
    return f'[{", ".join(_listed(row) for row in array)}]'


def _frame_yaml(scene: SceneSimulation, capture: Capture) -> str:
    """The file of one agent and frame (reference section 8.2)."""
    agent, world_SE3_site = capture.agent, scene.world_SE3_site
    world_SE3_agent = world_SE3_site @ capture.site_SE3_agent
    site_SE3_body = capture.site_SE3_body
    if agent.role is Role.ROADSIDE:
        # The foot of the mast: bodies stand on the ground, also that of a roadside unit.
        foot = site_SE3_body.translation * [1.0, 1.0, 0.0]
        site_SE3_body = SE3(site_SE3_body.rotation, foot)
    lidar, body = to_ue4(world_SE3_agent), to_ue4(world_SE3_site @ site_SE3_body)
    speed = capture.own.speed * 3.6 if capture.own is not None else 0.0
    lines = [
        f'RSU: {str(agent.role is Role.ROADSIDE).lower()}',
        f'ego_speed: {_number(speed)}',
        f'lidar_pose: {_listed(pose_of(lidar))}',
        f'true_ego_pos: {_listed(pose_of(body))}',
        f'predicted_ego_pos: {_listed(pose_of(body))}',
    ]
    cameras = zip(agent.cameras, agent.agent_SE3_cameras, strict=True)
    for k, (camera, mount) in enumerate(cameras):
        pose = camera_pose_to_ue4(world_SE3_agent @ mount)
        lines += [
            f'camera{k}:',
            f'  cords: {_listed(pose_of(pose))}',
            f'  extrinsic: {_listed(np.linalg.solve(pose, lidar))}',
            f'  intrinsic: {_listed(camera.intrinsic)}',
        ]
    hit = set(capture.cloud.objects.tolist())
    users = [u for u in capture.road_users if u.track_id in hit and u.type != WALKER]
    lines.append('vehicles:' if users else 'vehicles: {}')
    for user in users:
        place = SE3.from_yaw(user.yaw, [*user.center[:2], 0.0])
        pose6 = pose_of(to_ue4(world_SE3_site @ place))
        lines += [
            f'  {user.track_id}:',
            f'    angle: {_listed(pose6[3:])}',
            f'    bp_id: vehicle.simulated.{user.type.lower()}',
            f'    center: {_listed([0.0, 0.0, user.center[2]])}',
            f'    extent: {_listed(user.size / 2)}',
            f'    location: {_listed(pose6[:3])}',
            f'    speed: {_number(user.speed * 3.6)}',
        ]
    return '\n'.join(lines) + '\n'


def _protocol(scene: SceneSimulation) -> str:
    """``data_protocol.yaml`` of a scenario: where it comes from."""
    preset = scene.preset
    return (
        '# Simulated by cooptrack_ros; the frames count steps of 0.05 s.\n'
        f'preset: {preset.name}\nseed: {scene.seed}\nindex: {scene.index}\n'
        f'frames: {preset.frames}\nrate_hz: {preset.rate_hz}\n'
        f'junction: {scene.layout.kind}\narms: {len(scene.layout.arms)}\n'
        f'signals: {str(scene.layout.signals).lower()}\nweather: {scene.light.kind}\n'
    )


def write_opv2v_pcd(path: Path, cloud: Cloud) -> None:
    """Write a binary PCD as OPV2V has them: y to the right, the intensity as red of ``rgb``."""
    n = len(cloud.points)
    data = np.zeros(n, np.dtype([('x', '<f4'), ('y', '<f4'), ('z', '<f4'), ('rgb', '<u4')]))
    data['x'], data['y'], data['z'] = cloud.points[:, 0], -cloud.points[:, 1], cloud.points[:, 2]
    data['rgb'] = cloud.points[:, 3].astype(np.uint32) << 16
    header = (
        '# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS x y z rgb\n'
        f'SIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\nWIDTH {n}\nHEIGHT 1\n'
        f'VIEWPOINT 0 0 0 1 0 0 0\nPOINTS {n}\nDATA binary\n'
    )
    path.write_bytes(header.encode('ascii') + data.tobytes())
