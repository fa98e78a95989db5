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

"""OPV2V reader: one scenario, its agents and frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.datasets.images import read_image
from cooptrack_core.datasets.opv2v.frame_file import FrameRecord, RingCamera, read_frame
from cooptrack_core.datasets.opv2v.maps import read_map_labels
from cooptrack_core.datasets.pcd import read_pcd, read_points
from cooptrack_core.errors import InputError
from cooptrack_core.geometry import CameraModel, MapGrid
from cooptrack_core.structures import (
    AgentFrame,
    CameraImage,
    CooperativeMapFrame,
    MapLabels,
    ObjectLabels,
    Role,
)

_KEPT = 64  # parsed frame files: what one cooperative frame asks for again


def _say_nothing(text: str) -> None:
    """Where warnings go by default."""


@dataclass(frozen=True)
class ReadOptions:
    """How scenarios are read.

    Attributes:
        max_agents: Agents beyond this many are dropped, in their order, before their distance is
            looked at (reference section 8.1).
        communication_range: Metres between the LiDARs, seen from above; agents farther from the
            ego are left out.
        grid: The cells of the maps.
        tick_s: What a frame's name counts, seconds: OPV2V and V2XSet count steps of 0.05 s and
            record every second one; V2V4Real counts frames of 0.1 s.
        on_image_error: ``drop`` leaves out a camera whose image is missing or damaged.
        on_warning: Called with a line about each camera left out.
    """

    max_agents: int = 5
    communication_range: float = 70.0
    grid: MapGrid = field(default_factory=MapGrid)
    tick_s: float = 0.05
    on_image_error: Literal['raise', 'drop'] = 'raise'
    on_warning: Callable[[str], None] = _say_nothing


class Opv2vScenario:
    """One scenario. Nothing is read before it is asked for.

    Attributes:
        path: Its folder.
        scenario_id: The folder's name.
        agent_ids: Vehicles, then roadside units (negative ids), each sorted as text.
        vehicle_ids: Those that can be the ego.
    """

    def __init__(self, path: Path, frames: Mapping[str, tuple[str, ...]], options: ReadOptions):
        """Keep the index; ``frames`` are the names of the frames of every agent."""
        self.path, self.options = path, options
        self.scenario_id = path.name
        self._frames = dict(frames)
        # Official loaders sort the names as text and put the roadside unit last.
        self.vehicle_ids = tuple(sorted(a for a in frames if int(a) >= 0))
        self.agent_ids = self.vehicle_ids + tuple(sorted(a for a in frames if int(a) < 0))
        self._records: dict[tuple[str, str], FrameRecord] = {}

    def frame_ids(self, agent_id: str) -> tuple[str, ...]:
        """Names of an agent's frames in time order.

        Raises:
            InputError: There is no such agent.
        """
        if agent_id not in self._frames:
            raise InputError(
                f'there is no agent {agent_id!r}', path=self.path, field='agent_id',
                remedy=f'use one of {list(self.agent_ids)}',
            )  # fmt: skip
        return self._frames[agent_id]

    def frame(
        self, agent_id: str, frame_id: str, *, load_images: bool = True, load_points: bool = False
    ) -> AgentFrame:
        """Read what an agent sees: agent frame = LiDAR, body = vehicle pose, right-handed.

        Raises:
            InputError: A file is missing or unusable.
        """
        record, path = self.record(agent_id, frame_id), self._file(agent_id, frame_id)
        stamp_ns = round(int(frame_id) * self.options.tick_s * 1e9)
        images: tuple[CameraImage, ...] = ()
        if load_images:
            images = tuple(self._images(path, record, stamp_ns))
        return AgentFrame(
            agent_id=agent_id,
            role=Role.ROADSIDE if int(agent_id) < 0 else Role.VEHICLE,
            sequence_id=self.scenario_id,
            frame_id=frame_id,
            stamp_ns=stamp_ns,
            images=images,
            world_SE3_agent=record.world_SE3_agent,
            world_SE3_body=record.world_SE3_body,
            points=_read_cloud(path.with_suffix('.pcd')) if load_points else None,
        )

    def labels(self, agent_id: str, frame_id: str) -> ObjectLabels:
        """Vehicles with at least one LiDAR hit of this agent, in its agent frame.

        Raises:
            InputError: The frame file is missing or wrong.
        """
        return self.record(agent_id, frame_id).labels()

    def map_labels(self, agent_id: str, frame_id: str) -> MapLabels:
        """The map around an agent, centred on its body.

        Raises:
            InputError: A map is missing or unusable.
        """
        return read_map_labels(self._file(agent_id, frame_id), self.options.grid)

    def map_frame(
        self,
        frame_id: str,
        ego_id: str | None = None,
        *,
        load_images: bool = True,
        load_points: bool = False,
        load_labels: bool = True,
    ) -> CooperativeMapFrame:
        """Read an instant: the ego, the agents in reach of it, and the map around it.

        Args:
            frame_id: Name of the frame.
            ego_id: Default: the first vehicle, as in the official evaluation.
            load_images: Read the images.
            load_points: Read the clouds.
            load_labels: Read the map.

        Raises:
            InputError: A file is missing or unusable, or ``ego_id`` is a roadside unit.
        """
        ego = self._ego(ego_id)
        ego_at = self.record(ego, frame_id).world_SE3_agent.translation[:2]
        kept = [ego, *(a for a in self.agent_ids if a != ego)][: self.options.max_agents]
        others = []
        for agent_id in kept[1:]:
            if frame_id not in self._frames[agent_id]:
                continue
            at = self.record(agent_id, frame_id).world_SE3_agent.translation[:2]
            if np.hypot(*(at - ego_at)) <= self.options.communication_range:
                others.append(agent_id)

        def read(agent_id: str) -> AgentFrame:
            return self.frame(agent_id, frame_id, load_images=load_images, load_points=load_points)

        labels = self.map_labels(ego, frame_id) if load_labels else None
        return CooperativeMapFrame(read(ego), tuple(read(a) for a in others), labels)

    def frames(
        self,
        ego_id: str | None = None,
        *,
        load_images: bool = True,
        load_points: bool = False,
        load_labels: bool = True,
    ) -> Iterator[CooperativeMapFrame]:
        """All frames of an ego, read one by one; arguments and errors as ``map_frame``."""
        ego = self._ego(ego_id)
        for frame_id in self.frame_ids(ego):
            yield self.map_frame(
                frame_id, ego, load_images=load_images, load_points=load_points,
                load_labels=load_labels,
            )  # fmt: skip

    def record(self, agent_id: str, frame_id: str) -> FrameRecord:
        """What the YAML file of a frame says.

        Raises:
            InputError: There is no such frame, or the file is wrong.
        """
        key = (agent_id, frame_id)
        if key not in self._records:
            record = read_frame(self._file(agent_id, frame_id))
            if len(self._records) >= _KEPT:
                self._records.clear()
            self._records[key] = record
        return self._records[key]

    def _file(self, agent_id: str, frame_id: str) -> Path:
        if frame_id not in self.frame_ids(agent_id):
            raise InputError(
                f'agent {agent_id} has no frame {frame_id!r}', path=self.path / agent_id,
                field='frame_id', remedy='take the names from frame_ids()',
            )  # fmt: skip
        return self.path / agent_id / f'{frame_id}.yaml'

    def _ego(self, ego_id: str | None) -> str:
        if ego_id is None and self.vehicle_ids:
            return self.vehicle_ids[0]
        if ego_id in self.vehicle_ids:
            return str(ego_id)
        raise InputError(
            'the scenario has no vehicle' if ego_id is None else
            f'agent {ego_id!r} cannot be the ego: it is a roadside unit or not there',
            path=self.path, field='ego_id',
            remedy=f'use one of the vehicles {list(self.vehicle_ids)}',
        )  # fmt: skip

    def _images(self, path: Path, record: FrameRecord, stamp_ns: int) -> Iterator[CameraImage]:
        for camera in record.cameras:
            try:
                yield _read_camera(path, camera, stamp_ns)
            except InputError as error:
                if self.options.on_image_error == 'raise':
                    raise
                self.options.on_warning(f'{camera.key} of {path.stem} left out: {error}')


def _read_camera(path: Path, camera: RingCamera, stamp_ns: int) -> CameraImage:
    file = path.with_name(f'{path.stem}_{camera.key}.png')
    if not file.exists() and file.with_suffix('.jpg').exists():  # our own smaller variant
        file = file.with_suffix('.jpg')
    if not file.exists():
        raise InputError(
            'the image is missing', path=file, field=camera.key,
            remedy="copy it anew; OPV2V's scenario 2021_09_09_13_20_58 lacks camera3 and should "
            "be removed; on_image_error='drop' goes on without the camera",
        )  # fmt: skip
    image = read_image(file)
    height, width = image.shape[:2]
    # Stored matrices say nothing of the size; the centre lies about in the middle of the image.
    center = camera.intrinsic[:2, 2]
    if (np.abs(center - np.array([width, height]) / 2) > 0.25 * np.array([width, height])).any():
        raise InputError(
            f'the image has {width} x {height} pixels, which does not fit the principal point '
            f'{center.tolist()} of its calibration', path=file, field=f'{camera.key}.intrinsic',
            remedy='keep images at the size that was calibrated; resize after reading',
        )  # fmt: skip
    model = CameraModel(camera.name, width, height, camera.intrinsic, camera.camera_T_agent)
    return CameraImage(image, model, stamp_ns)


def _read_cloud(path: Path) -> NDArray[np.float32]:
    """(m, 4) x, y, z, intensity, right-handed; OPV2V keeps the intensity as the red of rgb."""
    points = read_points(path)
    points[:, 1] *= -1
    cloud = read_pcd(path)
    names = cloud.dtype.names or ()
    if 'intensity' not in names and 'rgb' in names:
        packed = np.ascontiguousarray(cloud['rgb']).astype('<f4', copy=False).view('<u4')
        finite = np.isfinite([cloud[axis] for axis in 'xyz']).all(0)
        points[:, 3] = (packed[finite] >> 16) & 255
    return points
