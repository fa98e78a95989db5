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

"""V2X-Seq reader: the dataset and its scenes; opening reads index files only."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cooptrack_core.datasets.images import image_size, read_image
from cooptrack_core.datasets.pcd import read_points
from cooptrack_core.datasets.v2x_seq.calibration import RawCalibration, read_camera, read_pose
from cooptrack_core.datasets.v2x_seq.labels import (
    LabelledFrame,
    VelocityMode,
    is_ego_box,
    sequence_labels,
)
from cooptrack_core.datasets.v2x_seq.layout import (
    EGO_ID,
    SPLIT_FILE,
    AgentInfo,
    FramePair,
    FrameRecord,
    read_agents,
    read_frames,
    read_pairs,
    read_split,
)
from cooptrack_core.datasets.v2x_seq.objects import CLASS_MAP, LabelCorrections, read_objects
from cooptrack_core.datasets.v2x_seq.visibility import ObjectVisibility, read_visibility
from cooptrack_core.errors import InputError
from cooptrack_core.geometry import SE3, CameraModel
from cooptrack_core.structures import (
    CLASS_NAMES,
    AgentFrame,
    CameraImage,
    ObjectLabels,
    Role,
)

_COOPERATIVE = 'cooperative'


class V2XSeqDataset:
    """A directory in the layout of V2X-Seq-SPD (reference section 6).

    Attributes:
        root: The directory.
        agents: The ego first, then the roadside unit, then the sides of ``agents.json``.
        scenes: One per sequence of the split, ordered by sequence id.
        counts: What label reading dropped or changed so far, by reason. Sequences are read when
            their labels are first asked for, and counted once.
        warnings: What was dropped while reading frames (``on_image_error='drop'``).
    """

    def __init__(
        self,
        root: str | Path,
        *,
        split: str | None = None,
        split_file: str | Path | None = None,
        label_corrections: str | Path | LabelCorrections | None = None,
        cooperative_deletions: bool = False,
        remove_ego_from_cooperative: bool = False,
        interpolate: bool = True,
        velocity: VelocityMode = 'repaired',
        class_map: Mapping[str, str | None] | None = None,
        on_image_error: Literal['raise', 'drop'] = 'raise',
        on_warning: Callable[[str], None] | None = None,
    ) -> None:
        """Read the index files.

        Args:
            root: Directory with vehicle-side, infrastructure-side and cooperative.
            split: ``train``, ``val`` or ``test``; None takes every sequence.
            split_file: File with ``batch_split``; default: V2X-Seq's own name, inside root.
            label_corrections: Published ``update_label_info.json``, applied to the labels of the
                sides.
            cooperative_deletions: Apply its cooperative list too (UniV2X does, CoopTrack not).
            remove_ego_from_cooperative: Drop the ego's own box from cooperative labels.
            interpolate: Bridge gaps of tracks.
            velocity: ``official`` gives the last sighting of a track velocity 0.
            class_map: Further raw types to class, or to None to drop them.
            on_image_error: ``drop`` gives a frame without images and a warning.
            on_warning: Called with each warning.

        Raises:
            InputError: An index file is missing or wrong.
        """
        self.root = Path(root)
        self.agents = read_agents(self.root)
        self.counts: Counter[str] = Counter()
        self.warnings: list[str] = []
        self.interpolate = interpolate
        self.velocity = velocity
        self.remove_ego_from_cooperative = remove_ego_from_cooperative
        self.on_image_error = on_image_error
        self._on_warning = on_warning
        self._split = split
        self.class_map = _merged_class_map(class_map or {})
        self._corrections_from = label_corrections
        if isinstance(label_corrections, (str, Path)):
            label_corrections = LabelCorrections.read(label_corrections)
        none: Mapping[str, tuple[str, int] | None] = {}
        listed = label_corrections
        self.corrections = {
            str(Role.VEHICLE): listed.vehicle if listed else none,
            str(Role.ROADSIDE): listed.roadside if listed else none,
            _COOPERATIVE: listed.cooperative if listed and cooperative_deletions else none,
        }
        self.records: dict[str, dict[str, FrameRecord]] = {
            agent.agent_id: {f.frame_id: f for f in read_frames(self.root, agent)}
            for agent in self.agents
        }
        pairs = read_pairs(self.root, self.records)
        sequences = {f.sequence_id for f in self.records[EGO_ID].values()}
        if split is not None:
            path = Path(split_file) if split_file is not None else self.root / SPLIT_FILE
            sequences &= read_split(path, split)
            if not sequences:
                raise InputError(
                    f'no sequence of this dataset is in split {split!r}',
                    path=path,
                    field=f'batch_split.{split}',
                    remedy='use another split, or split=None for every sequence',
                )
        by_sequence: dict[str, dict[str, list[FrameRecord]]] = {s: {} for s in sequences}
        for agent_id, records in self.records.items():
            for record in records.values():
                if record.sequence_id in by_sequence:
                    by_sequence[record.sequence_id].setdefault(agent_id, []).append(record)
        self.scenes = tuple(
            Scene(self, sequence_id, by_sequence[sequence_id], pairs.get(sequence_id, ()))
            for sequence_id in sorted(sequences)
        )

    @property
    def protocol(self) -> dict[str, Any]:
        """How the data are read; printed with every number that is measured on them."""
        corrections: str | dict[str, Any] = 'none'
        if self._corrections_from is not None:
            given = self._corrections_from
            corrections = {
                'file': Path(given).name if isinstance(given, (str, Path)) else 'given in code',
                **{side: len(changes) for side, changes in self.corrections.items()},
            }
        return {
            'layout': 'V2X-Seq-SPD',
            'split': self._split or 'all sequences',
            'sequences': len(self.scenes),
            'pairs': sum(len(scene.pairs) for scene in self.scenes),
            'agents': [agent.agent_id for agent in self.agents],
            'frequency_hz': self._frequency(),
            'label_corrections': corrections,
            'ego_box_in_cooperative_labels': 'removed'
            if self.remove_ego_from_cooperative
            else 'kept',
            'gaps': 'interpolated in the world frame' if self.interpolate else 'left open',
            'velocity': 'forward difference; last sighting: '
            + ('0' if self.velocity == 'official' else 'backward difference'),
            'classes': {key: value or 'dropped' for key, value in self.class_map.items()},
        }

    def scene(self, sequence_id: str) -> Scene:
        """Find a scene by its id.

        Raises:
            InputError: There is none.
        """
        for scene in self.scenes:
            if scene.sequence_id == sequence_id:
                return scene
        raise InputError(
            f'there is no sequence {sequence_id!r} in this split',
            path=self.root,
            field='sequence_id',
            remedy=f'use one of {[s.sequence_id for s in self.scenes]}',
        )

    def warn(self, text: str) -> None:
        """Keep a warning and pass it on."""
        self.warnings.append(text)
        if self._on_warning is not None:
            self._on_warning(text)

    def _frequency(self) -> float | None:
        steps = [
            np.diff([self.records[EGO_ID][p.ego_frame_id].stamp_ns for p in scene.pairs])
            for scene in self.scenes
            if len(scene.pairs) > 1
        ]
        if not steps:
            return None
        return round(1e9 / float(np.median(np.concatenate(steps))), 2)


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
                path=self.dataset.root / _COOPERATIVE / 'data_info.json',
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
        return replace(
            frame,
            world_SE3_agent=_shifted(frame.world_SE3_agent, shift),
            world_SE3_body=_shifted(frame.world_SE3_body, shift),
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
        if _COOPERATIVE not in self._labels:
            directory = self.dataset.root / _COOPERATIVE / 'label'
            paths = {p.ego_frame_id: directory / f'{p.ego_frame_id}.json' for p in self.pairs}
            changes = self.dataset.corrections[_COOPERATIVE]
            labels = self._read_labels(EGO_ID, paths, changes)
            if self.dataset.remove_ego_from_cooperative:
                for frame_id, frame_labels in labels.items():
                    own = is_ego_box(frame_labels.boxes)
                    self.dataset.counts["dropped: ego's own box"] += int(own.sum())
                    labels[frame_id] = frame_labels.select(~own)
            self._labels[_COOPERATIVE] = labels
        if ego_frame_id not in self._labels[_COOPERATIVE]:
            raise InputError(
                f'ego frame {ego_frame_id} is in no pair, so it has no cooperative labels',
                path=self.dataset.root / _COOPERATIVE / 'data_info.json',
                field='vehicle_frame',
                remedy='ask for frames of scene.pairs',
            )
        return self._labels[_COOPERATIVE][ego_frame_id]

    def visibility(self, ego_frame_id: str) -> ObjectVisibility | None:
        """What each agent sees of each object (simulated data), or None."""
        self.record(EGO_ID, ego_frame_id)
        directory = self.dataset.root / _COOPERATIVE / 'visibility'
        return read_visibility(directory / f'{ego_frame_id}.json')

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


def _shifted(pose: SE3, shift: np.ndarray[Any, np.dtype[np.float64]]) -> SE3:
    return SE3(pose.rotation, pose.translation + shift)


def _merged_class_map(extra: Mapping[str, str | None]) -> dict[str, str | None]:
    for key, value in extra.items():
        if value is not None and value not in CLASS_NAMES:
            raise InputError(
                f'{value!r} is no class',
                field=f'class_map.{key}',
                remedy=f'use one of {list(CLASS_NAMES)}, or None to drop the type',
            )
    return {**CLASS_MAP, **{key.lower(): value for key, value in extra.items()}}
