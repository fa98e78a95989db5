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


"""Bags room: one scene of a dataset as a rosbag2, with each agent's own stamps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from cooptrack_core import __version__
from cooptrack_core.datasets.v2x_seq import FramePair, Scene
from cooptrack_core.datasets.v2x_seq.layout import EGO_ID
from cooptrack_core.errors import InputError
from cooptrack_core.geometry import SE3
from cooptrack_core.structures import (
    CLASS_NAMES,
    AgentFrame,
    ObjectLabels,
    Source,
    TrackedObjects,
)
from cooptrack_ros.bags import names
from cooptrack_ros.bags.places import AgentPlaces, MessageSink, map_near
from cooptrack_ros.bags.writer import BagWriter, Storage
from cooptrack_ros.conversions import (
    MarkerBuilder,
    agent_info_to_message,
    compressed_to_message,
    tracks_to_detections,
    tracks_to_message,
)

_GREY = (0.85, 0.85, 0.85)


class Progress(Protocol):
    """Something that shows how far the work is: called with (done, total)."""

    def __call__(self, done: int, total: int) -> object:
        """Take the news."""
        ...


@dataclass(frozen=True)
class BagSummary:
    """What a bag holds.

    Attributes:
        path: Where it is.
        messages: Messages by topic.
        duration_s: Time from the first to the last frame.
        map_origin: Where the origin of ``map`` lies in the dataset's world, metres.
        largest_residual: How far the least orthogonal camera rotation was from a rotation
            (largest entry of R R^T - I); TF holds the nearest rotation.
    """

    path: str
    messages: dict[str, int]
    duration_s: float
    map_origin: tuple[float, float, float]
    largest_residual: float


def write_dataset_bag(
    scene: Scene,
    path: str | Path,
    *,
    storage: Storage = 'mcap',
    overwrite: bool = False,
    progress: Progress | None = None,
) -> BagSummary:
    """Write a scene as a bag that ``cooptrack run`` and ``ros2 bag play`` take.

    Images are copied as they are stored, at their own capture time. Poses and ground truth are
    at LiDAR time, as the dataset has them. The pose of a remote agent that is paired with the
    ego carries the dataset's registration (``system_error_offset``). Ground truth of all agents
    together is under ``/gt``, that of one agent under ``/gt/<agent>``.

    Args:
        scene: The scene.
        path: A file ``*.mcap`` or ``*.db3``, or a bag directory.
        storage: Format of a directory bag.
        overwrite: Replace what is there.
        progress: Called after each frame.

    Raises:
        InputError: A file of the scene is unusable, or the bag cannot be written.
    """
    with BagWriter(path, storage, overwrite=overwrite) as bag:
        events = SceneEvents(scene, bag)
        events.announce()
        for done, event in enumerate(events.order):
            events.write(event)
            if progress is not None:
                progress(done + 1, len(events.order))
        origin = events.map_SE3_world.inverse().translation
        bag.note('map_origin_in_world', ' '.join(f'{v:.3f}' for v in origin))
        bag.note('sequence_id', scene.sequence_id)
        bag.note('camera_rotation_residual', f'{events.places.largest_residual:.3e}')
    return BagSummary(
        path=str(path),
        messages=dict(sorted(bag.counts.items())),
        duration_s=(events.order[-1][0] - events.order[0][0]) / 1e9,
        map_origin=(float(origin[0]), float(origin[1]), float(origin[2])),
        largest_residual=events.places.largest_residual,
    )


Event = tuple[int, str, str, str]  # stamp, 'pose' or 'image', agent, frame


class SceneEvents:
    """A scene as the messages of its agents, in order of time; for bags and for live playing.

    Attributes:
        order: All events; each is written at its stamp.
        map_SE3_world: Place of the dataset's world in ``map``.
        places: Writes TF and calibrations.
    """

    def __init__(self, scene: Scene, bag: MessageSink) -> None:
        """Read the poses of the scene; images are read when they are written.

        Args:
            scene: The scene.
            bag: Takes the messages.

        Raises:
            InputError: The scene is empty, or a file of it is unusable.
        """
        order = list(scene.stream())
        if not order:
            raise InputError(
                'the scene has no frames', path=scene.dataset.root, field=scene.sequence_id
            )
        self._scene = scene
        self._bag = bag
        self._frames = _poses(scene)
        agents = _by_agent(self._frames)
        self._still = {agent_id: _stands(agent) for agent_id, agent in agents.items()}
        self.order = _events(scene, order)
        self.map_SE3_world = map_near(self._frames[order[0][:2]].world_SE3_agent)
        self._start()

    def _start(self) -> None:
        self.places = AgentPlaces(self._bag, self.map_SE3_world)
        self._truth = _GroundTruth(self._bag, self._scene, self.map_SE3_world)

    def announce(self) -> None:
        """Write who there is and what does not move; again at the start of each lap."""
        self._start()
        _announce(self._scene, self._bag, self.places, self._frames, self._still)

    def write(self, event: Event) -> None:
        """Write the messages of one event.

        Raises:
            InputError: A file of the scene is missing or unusable.
        """
        stamp_ns, kind, agent_id, frame_id = event
        if kind == 'pose':
            frame = self._frames[agent_id, frame_id]
            self.places.write_frame(frame, still=self._still[agent_id])
            self._truth.write(frame)
        else:
            _write_image(self._scene, self._bag, self.places, agent_id, frame_id, stamp_ns)


def _events(scene: Scene, order: list[tuple[str, str, int]]) -> list[Event]:
    """Poses at LiDAR time and images at camera time, all agents, in order of time."""
    events: list[Event] = []
    for agent_id, frame_id, stamp_ns in order:
        record = scene.record(agent_id, frame_id)
        events.append((stamp_ns, 'pose', agent_id, frame_id))
        events.append((record.image_stamp_ns, 'image', agent_id, frame_id))
    return sorted(events, key=lambda e: (e[0], e[1] != 'pose', e[2], e[3]))


def _poses(scene: Scene) -> dict[tuple[str, str], AgentFrame]:
    """Every frame without its images; remote ones registered to the ego where they are paired."""
    pair_of: dict[tuple[str, str], FramePair] = {}
    for pair in scene.pairs:
        for agent_id, frame_id in pair.remote_frame_ids.items():
            pair_of.setdefault((agent_id, frame_id), pair)
    out = {}
    for agent_id, frame_id, _ in scene.stream():
        registered = pair_of.get((agent_id, frame_id))
        if registered is None:
            out[agent_id, frame_id] = scene.frame(agent_id, frame_id, load_images=False)
        else:
            out[agent_id, frame_id] = scene.remote_frame(registered, agent_id, load_images=False)
    return out


def _by_agent(frames: dict[tuple[str, str], AgentFrame]) -> dict[str, list[AgentFrame]]:
    out: dict[str, list[AgentFrame]] = {}
    for frame in frames.values():
        out.setdefault(frame.agent_id, []).append(frame)
    return out


def _stands(frames: list[AgentFrame]) -> bool:
    """Whether an agent keeps its pose to a tenth of a millimetre."""
    first = frames[0].world_SE3_body.matrix
    return all(np.abs(f.world_SE3_body.matrix - first).max() < 1e-4 for f in frames)


def _announce(
    scene: Scene,
    bag: MessageSink,
    places: AgentPlaces,
    frames: dict[tuple[str, str], AgentFrame],
    still: dict[str, bool],
) -> None:
    """Say who there is and what does not move, before anything else."""
    firsts = {agent_id: agent[0] for agent_id, agent in _by_agent(frames).items()}
    start_ns = min(frame.stamp_ns for frame in firsts.values())
    cameras = {a: scene.camera(a, frame.frame_id) for a, frame in sorted(firsts.items())}
    places.announce(firsts.values(), cameras.items(), still, start_ns)
    for agent_id, frame in sorted(firsts.items()):
        info = agent_info_to_message(
            bag.types,
            stamp_ns=start_ns,
            frame_id=names.agent_frame(agent_id),
            agent_id=agent_id,
            role=frame.role,
            cameras=[cameras[agent_id].name],
            software_version=__version__,
        )
        topic = names.agent_info_topic(agent_id)
        bag.write(topic, 'cooptrack_msgs/msg/AgentInfo', info, start_ns)


def _write_image(
    scene: Scene,
    bag: MessageSink,
    places: AgentPlaces,
    agent_id: str,
    frame_id: str,
    stamp_ns: int,
) -> None:
    record = scene.record(agent_id, frame_id)
    path = scene.dataset.root / scene.agent(agent_id).directory / record.image
    camera = scene.camera(agent_id, frame_id)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            f'cannot read the image ({error.strerror})', path=path, remedy='complete the dataset'
        ) from error
    places.write_camera(agent_id, camera, stamp_ns)
    optical = names.optical_frame(agent_id, camera.name)
    message = compressed_to_message(bag.types, data, stamp_ns, optical)
    topic = names.image_topic(agent_id, camera.name)
    bag.write(topic, 'sensor_msgs/msg/CompressedImage', message, stamp_ns)


class _GroundTruth:
    """Writes the labels of a scene."""

    def __init__(self, bag: MessageSink, scene: Scene, map_SE3_world: SE3) -> None:
        self._bag = bag
        self._scene = scene
        self._map = map_SE3_world
        self._markers = MarkerBuilder(
            bag.types, prefix='gt', colour=_GREY, trail_length=0, labels=False
        )
        self._paired = {pair.ego_frame_id for pair in scene.pairs}

    def write(self, frame: AgentFrame) -> None:
        """Write the agent's own labels and, for a paired ego frame, those of all together."""
        types, stamp_ns = self._bag.types, frame.stamp_ns
        own = labels_as_tracks(self._scene.labels(frame.agent_id, frame.frame_id), frame)
        message = tracks_to_message(types, own, self._map, agent_id=frame.agent_id)
        kind = 'cooptrack_msgs/msg/TrackedObjects'
        self._bag.write(f'/gt/{frame.agent_id}/tracks', kind, message, stamp_ns)
        if frame.agent_id != EGO_ID or frame.frame_id not in self._paired:
            return
        everything = labels_as_tracks(self._scene.cooperative_labels(frame.frame_id), frame)
        message = tracks_to_message(types, everything, self._map)
        self._bag.write(names.GROUND_TRUTH, kind, message, stamp_ns)
        detections: Any = tracks_to_detections(types, everything, self._map)
        self._bag.write(
            names.GROUND_TRUTH_DETECTIONS,
            'vision_msgs/msg/Detection3DArray',
            detections,
            stamp_ns,
        )
        markers = self._markers.update(everything, self._map)
        self._bag.write(
            names.GROUND_TRUTH_MARKERS, 'visualization_msgs/msg/MarkerArray', markers, stamp_ns
        )


def labels_as_tracks(labels: ObjectLabels, frame: AgentFrame) -> TrackedObjects:
    """Present labels in the agent frame of ``frame`` as tracks with score 1."""
    n = len(labels)
    return TrackedObjects(
        sequence_id=frame.sequence_id,
        frame_id=frame.frame_id,
        stamp_ns=frame.stamp_ns,
        world_SE3_agent=frame.world_SE3_agent,
        boxes=labels.boxes,
        scores=np.ones(n),
        labels=np.array([CLASS_NAMES.index(c) for c in labels.class_names], dtype=np.int64),
        track_ids=labels.track_ids,
        sources=np.full(n, int(Source.UNKNOWN), dtype=np.int64),
        remote_agents=((),) * n,
    )
