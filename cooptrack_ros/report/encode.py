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


"""Frames of a run as the small JSON objects and JPEGs that the report page draws.

Boxes stay in the ego's agent frame of their frame. Every camera gets one 3x4 matrix from that
frame to its (resized) image, so a box costs ten numbers instead of twelve lines per camera.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cooptrack_core.evaluation import Protocol
from cooptrack_core.evaluation.matching import assign
from cooptrack_core.geometry import SE3, Boxes3D, CameraModel
from cooptrack_core.structures import (
    CLASS_NAMES,
    SURE_SCORE,
    CameraImage,
    ObjectLabels,
    Source,
    TrackedObjects,
)
from cooptrack_ros.report.record import ReportAgent, ReportCamera, ReportFrame

Array = NDArray[np.float64]

# The rule of hidden_recall in metrics.json, here for every class.
_PROTOCOL = Protocol()


def json_text(value: Any) -> str:
    """JSON that may stand inside an HTML ``<script>`` element whatever the strings hold."""
    text = json.dumps(_plain(value), ensure_ascii=False, allow_nan=False, separators=(',', ':'))
    for character in '<>&\u2028\u2029':
        text = text.replace(character, f'\\u{ord(character):04x}')
    # Lone surrogates (bytes of a peer that were no UTF-8) could not be written to the file.
    return text.encode('utf-8', 'backslashreplace').decode()


def _plain(value: Any) -> Any:
    """Arrays to lists, NaN and infinity to null, 64-bit ids beyond a double's reach to text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**53 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)


def image_data(image: CameraImage, width: int, quality: int) -> tuple[str, CameraModel]:
    """Base64 JPEG of an image at most ``width`` pixels wide, and the camera model of that size."""
    camera = image.camera
    if camera.width > width:
        camera = camera.resized(width, max(1, round(camera.height * width / camera.width)))
    pixels = cv2.resize(image.image, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    ok, data = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise ValueError(f'the image of camera {camera.name} cannot be encoded as JPEG')
    return base64.b64encode(data.tobytes()).decode('ascii'), camera


def ego_to_image(frame: ReportFrame, camera: ReportCamera, model: CameraModel) -> Array:
    """(3, 4) matrix from the ego's agent frame to homogeneous pixels of ``model``."""
    agent = frame.agent(camera.agent_id)
    agent_SE3_ego = agent.world_SE3_agent.inverse() @ frame.ego.world_SE3_agent
    return np.asarray((model.agent_to_image @ agent_SE3_ego.matrix)[:3])


def match_objects(
    boxes: Boxes3D, labels: NDArray[np.int64], scores: Array, truth: ObjectLabels
) -> NDArray[np.int64]:
    """Pair tracks and ground truth of the same class as the evaluation of hidden cars does.

    Returns:
        (n,) int64 index of the ground-truth object per track, -1 for none: too low a score, or
        no object of the class within 2 m left for it.
    """
    matched = np.full(len(boxes), -1, dtype=np.int64)
    truth_labels = np.array([CLASS_NAMES.index(name) for name in truth.class_names], np.int64)
    for label in range(len(CLASS_NAMES)):
        rows = np.flatnonzero((labels == label) & (scores >= _PROTOCOL.output_score))
        columns = np.flatnonzero(truth_labels == label)
        offset = boxes.centers[rows, None, :2] - truth.boxes.centers[None, columns, :2]
        distance = np.asarray(np.linalg.norm(offset, axis=-1))
        i, j = assign(distance, distance <= _PROTOCOL.hidden_distance)
        matched[rows[i]] = columns[j]
    return matched


def frame_data(
    frame: ReportFrame,
    images: list[dict[str, Any]],
    time: float,
    map_entry: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the JSON object of a frame.

    Args:
        frame: The frame.
        images: What image_entry returned for each of its cameras.
        time: Seconds on the page's time line.
        map_entry: What map_data returned; None where there is no map.
    """
    hidden = _hidden(frame)
    cooperative_rows, found = None, np.zeros(0, dtype=np.int64)
    if frame.cooperative is not None:
        cooperative = _in_ego_frame(frame.cooperative, frame)
        found = _match(frame.cooperative, cooperative, frame.ground_truth)
        if frame.hidden is not None:
            added = np.array([j >= 0 and bool(hidden[j]) for j in found], dtype=bool)
        else:
            # Without labels that tell what is hidden: what only remote agents support.
            added = frame.cooperative.sources == Source.REMOTE
        cooperative_rows = _tracks(frame.cooperative, cooperative, added)
    ego_rows, found_alone = None, np.zeros(0, dtype=np.int64)
    if frame.ego_only is not None:
        alone = _in_ego_frame(frame.ego_only, frame)
        found_alone = _match(frame.ego_only, alone, frame.ground_truth)
        ego_rows = _tracks(frame.ego_only, alone, np.zeros(len(alone), dtype=bool))
    return {
        'time': round(time, 4),
        'stamp': str(frame.stamp_ns),  # nanoseconds do not fit a JavaScript number
        'sequence': frame.sequence_id,
        'frame': frame.frame_id,
        'pose': _pose(frame.ego.world_SE3_agent),
        'agents': [_agent(agent, frame) for agent in frame.agents],
        'cameras': images,
        'truth': None
        if frame.ground_truth is None
        else _truth(frame.ground_truth, hidden, found_alone, found),
        'hidden_known': frame.hidden is not None,
        'ego_only': ego_rows,
        'cooperative': cooperative_rows,
        'map': map_entry,
        'pairs': _pairs(frame),
        'alone': _alone(frame),
        'messages': [
            {
                'agent': message.agent_id,
                'bytes': message.size_bytes,
                'age': message.age_ms,
                'instances': message.instances,
                'outcome': message.outcome,
                'kind': message.kind,
            }
            for message in frame.messages
        ],
    }


def image_entry(
    frame: ReportFrame, camera: ReportCamera, model: CameraModel, image_id: str | None
) -> dict[str, Any]:
    """Return what the page needs to draw on an image; ``image_id`` None: it is left out."""
    return {
        'agent': camera.agent_id,
        'name': model.name,
        'width': model.width,
        'height': model.height,
        # Ten digits: a metre 100 m away stays right to a thousandth of a pixel.
        'matrix': [float(f'{x:.10g}') for x in ego_to_image(frame, camera, model).ravel()],
        'skew_ms': round((camera.image.stamp_ns - frame.stamp_ns) / 1e6, 3),
        'image': image_id,
    }


def _in_ego_frame(tracks: TrackedObjects, frame: ReportFrame) -> Boxes3D:
    """Boxes of tracks in the ego's agent frame of the report frame."""
    if np.array_equal(tracks.world_SE3_agent.matrix, frame.ego.world_SE3_agent.matrix):
        return tracks.boxes
    return tracks.boxes.transformed(frame.ego.world_SE3_agent.inverse() @ tracks.world_SE3_agent)


def _hidden(frame: ReportFrame) -> NDArray[np.bool_]:
    if frame.hidden is not None:
        return np.asarray(frame.hidden, dtype=bool)
    return np.zeros(0 if frame.ground_truth is None else len(frame.ground_truth), dtype=bool)


def _match(
    tracks: TrackedObjects, boxes: Boxes3D, truth: ObjectLabels | None
) -> NDArray[np.int64]:
    if truth is None:
        return np.full(len(boxes), -1, dtype=np.int64)
    return match_objects(boxes, tracks.labels, tracks.scores, truth)


def _pose(world_SE3_ego: SE3) -> list[float]:
    return [float(f'{x:.10g}') for x in world_SE3_ego.matrix[:3].ravel()]


def _rows(boxes: Boxes3D) -> list[list[Any]]:
    columns = [boxes.centers, boxes.sizes, boxes.yaws[:, None], boxes.velocities]
    return np.concatenate(columns, 1).round(3).tolist() if len(boxes) else []


def _truth(
    truth: ObjectLabels,
    hidden: NDArray[np.bool_],
    ego_match: NDArray[np.int64],
    coop_match: NDArray[np.int64],
) -> list[dict[str, Any]]:
    by_ego, by_cooperation = set(ego_match.tolist()), set(coop_match.tolist())
    return [
        {
            'box': row,
            'class': truth.class_names[i],
            'id': int(truth.track_ids[i]),
            'hidden': bool(hidden[i]),
            'by_ego': i in by_ego,
            'by_cooperation': i in by_cooperation,
        }
        for i, row in enumerate(_rows(truth.boxes))
    ]


def _tracks(
    tracks: TrackedObjects, boxes: Boxes3D, added: NDArray[np.bool_]
) -> list[dict[str, Any]]:
    return [
        {
            'box': row,
            'class': CLASS_NAMES[int(tracks.labels[i])],
            'id': int(tracks.track_ids[i]),
            'score': round(float(tracks.scores[i]), 3),
            'unsure': bool(tracks.scores[i] < SURE_SCORE),
            'source': Source(int(tracks.sources[i])).name.lower(),
            'remote': list(tracks.remote_agents[i]),
            'added': bool(added[i]),
        }
        for i, row in enumerate(_rows(boxes))
    ]


def _pairs(frame: ReportFrame) -> list[list[Any]]:
    """[x, y of the ego's instance, x, y of the other, track id] per pair, ego agent frame."""
    return [
        [*_plane(pair.ego_position), *_plane(pair.remote_position), pair.track_id]
        for pair in frame.associations
    ]


def _alone(frame: ReportFrame) -> list[list[Any]]:
    """[x, y, whether it is the ego's own] per instance without a partner."""
    return [[*_plane(one.position), int(one.agent_id == frame.ego_id)] for one in frame.unmatched]


def _plane(point: NDArray[Any]) -> list[float]:
    return [round(float(x), 2) for x in point[:2]]


def _agent(agent: ReportAgent, frame: ReportFrame) -> dict[str, Any]:
    """Position, heading and fields of view in the ego's agent frame."""
    ego_SE3_agent = frame.ego.world_SE3_agent.inverse() @ agent.world_SE3_agent
    return {
        'id': agent.agent_id,
        'role': str(agent.role),
        'ego': agent.agent_id == frame.ego_id,
        'position': ego_SE3_agent.translation.round(3).tolist(),
        'yaw': round(ego_SE3_agent.yaw, 5),
        'views': [view_bearings(camera, ego_SE3_agent) for camera in agent.cameras],
    }


def view_bearings(camera: CameraModel, ego_SE3_agent: SE3) -> list[float]:
    """[x, y, left, right]: optical centre and the bearings of the image's two borders, rad.

    The bearings are those of the border pixels half-way down the image, seen from above.
    """
    pixels = np.array([[0.0, 0.0], [camera.width - 1.0, 0.0]])
    pixels[:, 1] = (camera.height - 1) / 2
    rays = np.linalg.solve(camera.intrinsic, np.c_[pixels, np.ones(2)].T)
    rays = np.linalg.solve(camera.camera_T_agent[:3, :3], rays).T
    rays = ego_SE3_agent.rotate_vectors(rays)
    centre = ego_SE3_agent.transform_points(camera.position)
    bearing = np.arctan2(rays[:, 1], rays[:, 0])
    return [*centre[:2].round(3).tolist(), *bearing.round(4).tolist()]
