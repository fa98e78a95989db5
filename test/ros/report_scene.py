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


"""A made-up run for the tests of the report page: two cameras, a truck, cars hidden behind it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np

from cooptrack_core.geometry import SE3, Boxes3D, CameraModel, MapGrid
from cooptrack_core.perception import Association, Unmatched
from cooptrack_core.structures import (
    CLASS_NAMES,
    BevMap,
    CameraImage,
    MapLabels,
    ObjectLabels,
    Role,
    Source,
    TrackedObjects,
)
from cooptrack_ros.report import (
    ReportAgent,
    ReportCamera,
    ReportFrame,
    ReportMap,
    ReportMessage,
)

# As large as real map coordinates, so that lost digits would show.
ORIGIN = np.array([448_321.25, 4_415_877.5, 21.0])
START_NS = 1_626_155_123_456_000_000
PERIOD_NS = 100_000_000

# x, y, speed along x, speed along y, length, width, height, class, raw type, RGB
OBJECTS = (
    (14.0, -4.2, 0.0, 0.0, 9.5, 2.6, 3.4, 'car', 'Truck', (150, 150, 158)),
    (34.0, -6.5, -7.0, 0.0, 4.6, 1.9, 1.5, 'car', 'Car', (178, 52, 46)),
    (27.0, -24.0, 0.0, 6.0, 4.3, 1.8, 1.5, 'car', 'Car', (52, 86, 160)),
    (-2.0, 3.6, -9.0, 0.0, 4.8, 1.9, 1.6, 'car', 'Van', (226, 226, 220)),
    (41.0, 3.4, -6.0, 0.0, 4.4, 1.8, 1.5, 'car', 'Car', (46, 46, 52)),
    (24.0, 14.0, 0.0, -1.3, 0.6, 0.6, 1.75, 'pedestrian', 'Pedestrian', (208, 150, 60)),
    (20.5, -12.0, 0.0, 3.4, 1.8, 0.6, 1.7, 'bicycle', 'Cyclist', (70, 150, 90)),
    (48.0, -11.0, 0.0, 0.0, 4.5, 1.8, 1.5, 'car', 'Car', (120, 96, 60)),
)


def look_at(
    name: str,
    position: tuple[float, float, float],
    yaw: float,
    pitch: float,
    *,
    width: int,
    height: int,
    field_of_view: float,
) -> CameraModel:
    """A camera on its agent: yaw to the left, pitch down, horizontal field of view, rad."""
    forward = np.array(
        [math.cos(yaw) * math.cos(pitch), math.sin(yaw) * math.cos(pitch), -math.sin(pitch)]
    )
    right = np.array([math.sin(yaw), -math.cos(yaw), 0.0])
    rotation = np.stack([right, np.cross(forward, right), forward])
    extrinsic = np.eye(4)
    extrinsic[:3, :3] = rotation
    extrinsic[:3, 3] = -rotation @ np.array(position)
    focal = width / 2 / math.tan(field_of_view / 2)
    intrinsic = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]])
    return CameraModel(name, width, height, intrinsic, extrinsic)


def frames(
    count: int,
    *,
    width: int = 960,
    height: int = 540,
    remote_id: str = 'roadside_1',
    seed: int = 3,
) -> Iterator[ReportFrame]:
    """Yield a run at 10 Hz: the ego drives along +x, a roadside unit looks at the junction."""
    random = np.random.default_rng(seed)
    ego_camera = look_at(
        'front', (1.2, 0.0, -0.2), 0.0, 0.05, width=width, height=height, field_of_view=1.4
    )
    road_camera = look_at(
        'pole', (0.0, 0.0, 0.0), 0.0, 0.33, width=width, height=height, field_of_view=1.25
    )
    world_SE3_road = SE3.from_yaw(math.radians(-128), ORIGIN + np.array([34.0, 17.0, 6.5]))
    for k in range(count):
        time = k * 0.1
        yaw = 0.05 * math.sin(time)
        world_SE3_ego = SE3.from_yaw(yaw, ORIGIN + np.array([-16.0 + 3.0 * time, -1.7, 1.8]))
        yield _frame(k, random, world_SE3_ego, world_SE3_road, ego_camera, road_camera, remote_id)


def _frame(
    k: int,
    random: np.random.Generator,
    world_SE3_ego: SE3,
    world_SE3_road: SE3,
    ego_camera: CameraModel,
    road_camera: CameraModel,
    remote_id: str,
) -> ReportFrame:
    stamp = START_NS + k * PERIOD_NS
    world = _objects(k * 0.1)
    truth = _labels(world.transformed(world_SE3_ego.inverse()))
    hidden = _behind_truck(truth.boxes)
    skew = 12_000_000
    return ReportFrame(
        sequence_id='0007',
        frame_id=f'{k:06d}',
        stamp_ns=stamp,
        ego_id='vehicle',
        agents=(
            ReportAgent('vehicle', Role.VEHICLE, world_SE3_ego, (ego_camera,)),
            ReportAgent(remote_id, Role.ROADSIDE, world_SE3_road, (road_camera,)),
        ),
        cameras=(
            ReportCamera('vehicle', _picture(ego_camera, world, world_SE3_ego, stamp)),
            ReportCamera(remote_id, _picture(road_camera, world, world_SE3_road, stamp - skew)),
        ),
        ground_truth=truth,
        hidden=hidden,
        ego_only=_track(truth, ~hidden, random, stamp, world_SE3_ego, Source.EGO, '', hidden),
        cooperative=_track(
            truth,
            np.ones(len(truth), bool) if k >= 5 else ~hidden,
            random,
            stamp,
            world_SE3_ego,
            Source.FUSED,
            remote_id,
            hidden,
        ),
        messages=_messages(k, remote_id),
        associations=tuple(
            Association(remote_id, center + np.array([0.8, -0.4, 0]), center, 0.9, 40 + i)
            for i, center in enumerate(truth.boxes.centers[:4])
        ),
        unmatched=(
            Unmatched('vehicle', truth.boxes.centers[4], 44),
            Unmatched(remote_id, truth.boxes.centers[5], 45),
            Unmatched(remote_id, truth.boxes.centers[6], -1),
        ),
    )


def _messages(k: int, remote_id: str) -> tuple[ReportMessage, ...]:
    outcome = {11: 'lost', 17: 'too_old', 23: 'duplicate', 31: 'too_old'}.get(k % 40, 'accepted')
    age = math.nan if outcome == 'lost' else 640.0 if outcome == 'too_old' else 90 + 7.5 * (k % 9)
    return (ReportMessage(remote_id, 2100 + 37 * (k * 7 % 31), age, 6 + k % 4, outcome),)


def _objects(time: float) -> Boxes3D:
    centers, sizes, yaws, velocities = [], [], [], []
    for x, y, vx, vy, length, width, height, *_ in OBJECTS:
        centers.append(ORIGIN + np.array([x + vx * time, y + vy * time, height / 2]))
        sizes.append([length, width, height])
        yaws.append(math.atan2(vy, vx))
        velocities.append([vx, vy])
    return Boxes3D(np.array(centers), np.array(sizes), np.array(yaws), np.array(velocities))


def _labels(boxes: Boxes3D) -> ObjectLabels:
    n = len(boxes)
    return ObjectLabels(
        boxes,
        tuple(o[7] for o in OBJECTS),
        np.arange(100, 100 + n),
        tuple(o[8] for o in OBJECTS),
        np.zeros(n, np.int64),
        np.zeros(n, bool),
    )


def _behind_truck(boxes: Boxes3D) -> np.ndarray:
    """Whether the sight line from the ego's camera to the middle of an object meets the truck."""
    along = np.linspace(0, 1, 200)[None, :, None]
    lines = boxes.centers[:, None, :] * along
    inside = boxes[[0]].contains(lines.reshape(-1, 3)).reshape(len(boxes), -1).any(1)
    inside[0] = False
    return inside


def _track(
    truth: ObjectLabels,
    keep: np.ndarray,
    random: np.random.Generator,
    stamp: int,
    pose: SE3,
    source: Source,
    remote_id: str,
    hidden: np.ndarray,
) -> TrackedObjects:
    """Truth with noise; objects far from the ego are known from the remote agent too."""
    rows = np.flatnonzero(keep & (np.linalg.norm(truth.boxes.centers[:, :2], axis=1) < 60))
    boxes = truth.boxes[rows]
    noise = 0.35 if source == Source.EGO else 0.18
    n = len(rows)
    boxes = Boxes3D(
        boxes.centers + random.normal(0, noise, (n, 3)) * [1, 1, 0.2],
        boxes.sizes,
        boxes.yaws + random.normal(0, 0.04, n),
        boxes.velocities + random.normal(0, 0.2, (n, 2)),
    )
    fused = source == Source.FUSED
    kinds = [Source.REMOTE if fused and hidden[i] else source for i in rows]
    return TrackedObjects(
        '0007',
        '',
        stamp,
        pose,
        boxes,
        np.clip(random.normal(0.7, 0.08, n), 0.31, 0.98),
        np.array([CLASS_NAMES.index(truth.class_names[i]) for i in rows], np.int64),
        rows + (40 if fused else 10),
        np.array([int(kind) for kind in kinds], np.int64),
        tuple((remote_id,) if fused and i != 3 else () for i in rows),
    )


def _picture(camera: CameraModel, world: Boxes3D, pose: SE3, stamp: int) -> CameraImage:
    """Draw sky, ground with a road, and the boxes from far to near."""
    image = np.empty((camera.height, camera.width, 3), np.uint8)
    image[:] = (168, 196, 222)
    agent_SE3_world = pose.inverse()
    for (x0, x1, y0, y1), colour in (
        ((-120, 160, -120, 120), (128, 142, 108)),
        ((-120, 160, -8, 8), (96, 98, 102)),
        ((18, 32, -120, 120), (96, 98, 102)),
        ((-120, 160, -0.1, 0.1), (230, 226, 205)),
    ):
        grid = np.array([[x, y, 0.0] for x, y in _border(x0, x1, y0, y1)]) + ORIGIN
        _fill(image, camera, agent_SE3_world.transform_points(grid), colour)
    local = world.transformed(agent_SE3_world)
    order = np.argsort(-np.linalg.norm(local.centers - camera.position, axis=1))
    faces = ((0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7), (4, 5, 6, 7))
    for i in order:
        corners = local.corners()[i]
        shades = (0.75, 0.6, 0.8, 0.95, 1.1)
        distance = [np.linalg.norm(corners[list(f)].mean(0) - camera.position) for f in faces]
        for face in np.argsort(distance)[::-1]:
            colour = np.clip(np.array(OBJECTS[i][9]) * shades[face], 0, 255)
            _fill(image, camera, corners[list(faces[face])], tuple(int(c) for c in colour))
    rows = np.random.default_rng(stamp % 1000).integers(-6, 7, image.shape, np.int16)
    return CameraImage(np.clip(image + rows, 0, 255).astype(np.uint8), camera, stamp)


def _border(x0: float, x1: float, y0: float, y1: float) -> list[tuple[float, float]]:
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def _fill(
    image: np.ndarray, camera: CameraModel, points: np.ndarray, colour: tuple[int, ...]
) -> None:
    """Fill a polygon of agent-frame points, cut at a near plane."""
    local = points @ camera.camera_T_agent[:3, :3].T + camera.camera_T_agent[:3, 3]
    kept = []
    for a, b in zip(local, np.roll(local, -1, axis=0), strict=True):
        if a[2] >= 0.2:
            kept.append(a)
        if (a[2] < 0.2) != (b[2] < 0.2):
            kept.append(a + (0.2 - a[2]) / (b[2] - a[2]) * (b - a))
    if len(kept) < 3:
        return
    pixels = np.array(kept) @ camera.intrinsic.T
    pixels = np.clip(pixels[:, :2] / pixels[:, 2:], -20_000, 20_000)
    cv2.fillPoly(image, [np.round(pixels).astype(np.int32)], colour, cv2.LINE_AA)


def metrics() -> dict[str, object]:
    """Numbers made up for the layout only, in the shape of metrics.json."""

    def method(ap: float, amota: float, hidden: float) -> dict[str, object]:
        return {
            'mean_ap': ap,
            'amota': amota,
            'amotp': 0.9 - ap / 2,
            'mota': amota + 0.04,
            'ids': round(10 - 10 * ap),
            'recall': ap + 0.2,
            'hidden_recall': hidden,
            'hidden_precision': 0.8 if hidden else None,
            'ap': {'0.5': ap - 0.2, '1.0': ap - 0.05, '2.0': ap + 0.1, '4.0': ap + 0.15},
        }

    return {
        'protocol': {'class': 'car', 'range': '50 m around the ego', 'hidden': 'no ego pixel'},
        'methods': {
            'no_fusion': method(0.30, 0.25, 0.0),
            'roadside_only': method(0.33, 0.28, 0.5),
            'rule_matching': method(0.40, 0.35, 0.6),
            'cooptrack': method(0.46, 0.41, 0.7),
        },
        'bytes_per_second': {'fp32': 91_000.0, 'fp16': 47_500.0, 'int8': 25_250.5},
    }


def with_maps(frame: ReportFrame) -> ReportFrame:
    """Add a map of 24 m x 16 m: a road ahead; a car on it, which the ego alone does not see.

    The left half is covered by the ego's map, the right half by the roadside unit's too.
    """
    grid = MapGrid(24, 16, 1.0)
    body = frame.ego.world_SE3_agent @ SE3(np.eye(3), np.array([0.0, 0.0, -1.5]))
    fused = np.zeros((3, 24, 16), np.float32)
    fused[1, :, 4:12] = 0.9
    fused[2, :, 8] = 0.8
    alone = fused.copy()
    fused[0, 2:6, 9:11] = 1.0
    source = np.full((24, 16), int(Source.EGO))
    source[:, 8:] = int(Source.FUSED)

    def made(probabilities: np.ndarray, others: tuple[str, ...]) -> BevMap:
        return BevMap(
            frame.sequence_id, frame.frame_id, frame.stamp_ns, grid, body, probabilities,
            ('vehicle', 'drivable', 'lane'), source, others,
        )  # fmt: skip

    car = fused[0] > 0.5
    truth = MapLabels(grid, car, fused[1] > 0.5, fused[2] > 0.5, car, car)
    maps = ReportMap(made(fused, ('roadside_1',)), made(alone, ()), truth)
    return replace(frame, map=maps)
