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

"""V2X-Seq reader: one sequence, its frames, labels and registrations."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cooptrack_core.datasets.images import image_size, read_image
from cooptrack_core.datasets.pcd import read_points
from cooptrack_core.datasets.v2x_seq.calibration import RawCalibration, read_camera, read_pose
from cooptrack_core.datasets.v2x_seq.labels import LabelledFrame, is_ego_box, sequence_labels
from cooptrack_core.datasets.v2x_seq.layout import EGO_ID, AgentInfo, FramePair, FrameRecord
from cooptrack_core.datasets.v2x_seq.objects import read_objects
from cooptrack_core.datasets.v2x_seq.visibility import ObjectVisibility, read_visibility
from cooptrack_core.errors import InputError
from cooptrack_core.geometry import SE3, CameraModel
from cooptrack_core.structures import AgentFrame, CameraImage, ObjectLabels

if TYPE_CHECKING:
    from cooptrack_core.datasets.v2x_seq.dataset import V2XSeqDataset

COOPERATIVE = 'cooperative'


class Scene:
    """One sequence. Frames are read when asked for; labels of a sequence are kept once read.

    Attributes:
        sequence_id: Its name.
        pairs: Frame pairs in the ego's time order.
    """

    def __init__(
        self,
        dataset: V2XSeqDataset,
        sequence_id: str,
        records: Mapping[str, list[FrameRecord]],
        pairs: tuple[FramePair, ...],
    ) -> None:
        """Keep the index of the sequence; V2XSeqDataset makes scenes."""
        self.dataset = dataset
        self.sequence_id = sequence_id
        self.pairs = pairs
        self._records = {
            agent.agent_id: {f.frame_id: f for f in records.get(agent.agent_id, ())}
            for agent in dataset.agents
        }
        self._agents = {agent.agent_id: agent for agent in dataset.agents}
        self._raw: dict[tuple[str, str], RawCalibration] = {}
        self._poses: dict[tuple[str, str], tuple[SE3, SE3]] = {}
        self._labels: dict[str, dict[str, ObjectLabels]] = {}

    def frame_ids(self, agent_id: str) -> tuple[str, ...]:
        """Frames of an agent in time order."""
        self.agent(agent_id)
        return tuple(self._records[agent_id])

    def agent(self, agent_id: str) -> AgentInfo:
        """Find an agent by its id."""
        if agent_id not in self._agents:
            raise InputError(
                f'there is no agent {agent_id!r}',
                path=self.dataset.root,
                field='agent_id',
                remedy=f'use one of {list(self._agents)}',
            )
        return self._agents[agent_id]

    def record(self, agent_id: str, frame_id: str) -> FrameRecord:
        """Index row of a frame."""
        self.agent(agent_id)
        if frame_id not in self._records[agent_id]:
            raise InputError(
                f'sequence {self.sequence_id} has no frame {frame_id!r} of agent {agent_id}',
                path=self.dataset.root,
                field='frame_id',
                remedy='take the ids from frame_ids()',
            )
        return self._records[agent_id][frame_id]

    def frame(
        self, agent_id: str, frame_id: str, *, load_images: bool = True, load_points: bool = False
    ) -> AgentFrame:
        """Read a frame with the agent's own pose.

        Raises:
            InputError: A file is missing or unusable.
        """
        record, agent = self.record(agent_id, frame_id), self.agent(agent_id)
        world_SE3_agent, world_SE3_body = self._pose(agent_id, frame_id)
        directory = self.dataset.root / agent.directory
        return AgentFrame(
            agent_id=agent_id,
            role=agent.role,
            sequence_id=self.sequence_id,
            frame_id=frame_id,
            stamp_ns=record.stamp_ns,
            images=self._images(agent, record) if load_images else (),
            world_SE3_agent=world_SE3_agent,
            world_SE3_body=world_SE3_body,
            points=read_points(directory / record.points) if load_points else None,
        )

    def remote_frame(
        self,
        pair: FramePair,
        agent_id: str,
        *,
        load_images: bool = True,
        load_points: bool = False,
    ) -> AgentFrame:
        """Read a remote agent's frame of a pair, registered to the ego.

        ``system_error_offset`` is an error of the registration between the two agents: with
        d = (delta_x, delta_y, 0) in the ego's LiDAR frame, p_ego = ego_T_remote(p_remote) + d
        (reference section 6.2). So it moves the remote pose; ego poses stay as they are.

        Raises:
            InputError: The agent has no frame in this pair, or as ``frame``.
        """
        if agent_id not in pair.remote_frame_ids:
            raise InputError(
                f'agent {agent_id!r} has no frame for ego frame {pair.ego_frame_id}',
                path=self.dataset.root / COOPERATIVE / 'data_info.json',
                field='agent_id',
                remedy=f'this pair has {list(pair.remote_frame_ids)}',
            )
        frame = self.frame(
            agent_id,
            pair.remote_frame_ids[agent_id],
            load_images=load_images,
            load_points=load_points,
        )
        world_SE3_ego, _ = self._pose(EGO_ID, pair.ego_frame_id)
        shift = world_SE3_ego.rotate_vectors([*pair.offsets[agent_id], 0.0])
        correction = SE3(np.eye(3), shift)
        return replace(
            frame,
            world_SE3_agent=correction @ frame.world_SE3_agent,
            world_SE3_body=correction @ frame.world_SE3_body,
        )

    def camera(self, agent_id: str, frame_id: str) -> CameraModel:
        """Camera of a frame; of the image file only the header is read."""
        record, agent = self.record(agent_id, frame_id), self.agent(agent_id)
        root = self.dataset.root
        return read_camera(root, agent, record, image_size(root / agent.directory / record.image))

    def raw_calibration(self, agent_id: str, frame_id: str) -> RawCalibration:
        """Matrices of the pose chain as the files hold them."""
        key = (agent_id, frame_id)
        if key not in self._raw:
            record = self.record(agent_id, frame_id)
            self._raw[key] = read_pose(self.dataset.root, self.agent(agent_id), record)
        return self._raw[key]

    def labels(self, agent_id: str, frame_id: str) -> ObjectLabels:
        """Labels of a side, in that agent's frame.

        Raises:
            InputError: A label or calibration file of the sequence is missing or wrong.
        """
        self.record(agent_id, frame_id)
        if agent_id not in self._labels:
            agent = self.agent(agent_id)
            paths = {
                f.frame_id: self.dataset.root / agent.directory / f.labels
                for f in self._records[agent_id].values()
            }
            changes = self.dataset.corrections[str(agent.role)]
            self._labels[agent_id] = self._read_labels(agent_id, paths, changes)
        return self._labels[agent_id][frame_id]

    def cooperative_labels(self, ego_frame_id: str) -> ObjectLabels:
        """Labels of everything any side sees, in the ego's LiDAR frame, at its LiDAR time.

        Raises:
            InputError: The frame is in no pair, or a file of the sequence is missing or wrong.
        """
        self.record(EGO_ID, ego_frame_id)
        if COOPERATIVE not in self._labels:
            directory = self.dataset.root / COOPERATIVE / 'label'
            paths = {p.ego_frame_id: directory / f'{p.ego_frame_id}.json' for p in self.pairs}
            changes = self.dataset.corrections[COOPERATIVE]
            labels = self._read_labels(EGO_ID, paths, changes)
            if self.dataset.remove_ego_from_cooperative:
                for frame_id, frame_labels in labels.items():
                    own = is_ego_box(frame_labels.boxes)
                    self.dataset.counts["dropped: ego's own box"] += int(own.sum())
                    labels[frame_id] = frame_labels.select(~own)
            self._labels[COOPERATIVE] = labels
        if ego_frame_id not in self._labels[COOPERATIVE]:
            raise InputError(
                f'ego frame {ego_frame_id} is in no pair, so it has no cooperative labels',
                path=self.dataset.root / COOPERATIVE / 'data_info.json',
                field='vehicle_frame',
                remedy='ask for frames of scene.pairs',
            )
        return self._labels[COOPERATIVE][ego_frame_id]

    def visibility(self, ego_frame_id: str) -> ObjectVisibility | None:
        """What each agent sees of each object (simulated data), or None."""
        self.record(EGO_ID, ego_frame_id)
        directory = self.dataset.root / COOPERATIVE / 'visibility'
        return read_visibility(directory / f'{ego_frame_id}.json', list(self._agents))

    def stream(self) -> Iterator[tuple[str, str, int]]:
        """All agents' frames in time order: (agent_id, frame_id, stamp_ns); ties: ego first."""
        rows = (
            [(f.stamp_ns, order, agent_id, f.frame_id) for f in records.values()]
            for order, (agent_id, records) in enumerate(self._records.items())
        )
        for stamp_ns, _, agent_id, frame_id in heapq.merge(*rows):
            yield agent_id, frame_id, stamp_ns

    def _pose(self, agent_id: str, frame_id: str) -> tuple[SE3, SE3]:
        key = (agent_id, frame_id)
        if key not in self._poses:
            raw = self.raw_calibration(agent_id, frame_id)
            self._poses[key] = (raw.world_SE3_agent, raw.world_SE3_body)
        return self._poses[key]

    def _images(self, agent: AgentInfo, record: FrameRecord) -> tuple[CameraImage, ...]:
        root = self.dataset.root
        try:
            image = read_image(root / agent.directory / record.image)
            camera = read_camera(root, agent, record, (image.shape[1], image.shape[0]))
        except InputError as error:
            if self.dataset.on_image_error == 'raise':
                raise
            self.dataset.warn(
                f'image of {agent.agent_id} frame {record.frame_id} left out: {error}'
            )
            return ()
        return (CameraImage(image, camera, record.image_stamp_ns),)

    def _read_labels(
        self,
        agent_id: str,
        paths: Mapping[str, Path],
        corrections: Mapping[str, tuple[str, int] | None],
    ) -> dict[str, ObjectLabels]:
        frames = [
            LabelledFrame(
                self.record(agent_id, frame_id).stamp_ns,
                self._pose(agent_id, frame_id)[0],
                read_objects(
                    path,
                    class_map=self.dataset.class_map,
                    corrections=corrections,
                    counts=self.dataset.counts,
                ),
            )
            for frame_id, path in paths.items()
        ]
        labels = sequence_labels(
            frames, interpolate=self.dataset.interpolate, velocity=self.dataset.velocity
        )
        return dict(zip(paths, labels, strict=True))
