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

"""Maps, frame by frame: what an agent sends of its own, and what the ego makes of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cooptrack_core.geometry import SE3, MapGrid
from cooptrack_core.models.cobevt.config import Target
from cooptrack_core.models.cobevt.preprocess import map_pose, prepare_ring, relative_pose
from cooptrack_core.models.cobevt.quirks import CobevtQuirks
from cooptrack_core.models.cobevt.warp import covered, source_cells
from cooptrack_core.perception.map_loading import MapModel
from cooptrack_core.structures import AgentFrame, BevFeature, BevMap, Source
from cooptrack_core.v2x.reasons import Reason

# Ids of ``semantic_ids``, and what they mean; the order is that of painting.
SEMANTIC_CLASSES = ('background', 'drivable', 'lane', 'vehicle')
UNKNOWN_CELL = 255
# Beyond float16 no form of the message can hold a feature.
_LARGEST = float(np.finfo(np.float16).max)
# A map is a picture from above: of a body that leans more than this it means nothing.
_LEAST_UPRIGHT = 0.5


@dataclass(frozen=True)
class LeftOut:
    """A map of another agent that took no part, and why."""

    agent_id: str
    reason: Reason
    detail: str


@dataclass(frozen=True, eq=False)
class MapResult:
    """What the ego makes of one frame and the maps at hand.

    Attributes:
        map: The map around the ego's body.
        left_out: Maps of others that took no part.
    """

    map: BevMap
    left_out: tuple[LeftOut, ...]


@dataclass
class MapStats:
    """Counts so far.

    Attributes:
        frames: Frames looked at.
        blind: Of them, those without any image; nothing is sent of them.
        unusable: Of them, those whose features were not finite or beyond float16.
        cameras_missing: By camera, frames in which a camera seen before in the scene had no image.
        fused: Maps of others that took part.
        left_out: Maps of others that did not, by reason.
    """

    frames: int = 0
    blind: int = 0
    unusable: int = 0
    cameras_missing: Counter[str] = field(default_factory=Counter)
    fused: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


class BevMapper:
    """Streaming maps of one agent, which may send (``sense``) and fuse (``fuse``).

    A map is made anew in every cycle; nothing but counts and the names of the ring's cameras is
    remembered. The ego's map goes through the compression of the radio like all others, as in
    training.

    Args:
        model: The map model.
        agent_id: The agent; goes into its messages.
        session_id: Random per start, so that receivers notice a restart.
        max_agents: Most agents fused, this one included; the nearest are taken.
    """

    def __init__(
        self, model: MapModel, agent_id: str, session_id: int = 0, *, max_agents: int = 5
    ) -> None:
        """Start; see the class."""
        if max_agents < 1:
            raise ValueError(f'max_agents {max_agents}')
        self.model = model
        self.agent_id = agent_id
        self.session_id = session_id
        self.max_agents = max_agents
        self.sequence = 0
        self.stats = MapStats()
        self._scene = ''
        self._ring: set[str] = set()

    def reset(self) -> None:
        """Forget which cameras there were; the message sequence goes on."""
        self._ring.clear()

    @torch.inference_mode()
    def sense(self, frame: AgentFrame) -> BevFeature | None:
        """What this agent sends of a frame; None, and counted, when it sees nothing.

        Cameras without an image are left out and counted.

        Raises:
            ValueError: The frame is of another agent.
        """
        self._check(frame)
        self.stats.frames += 1
        self._watch_ring(frame)
        if not frame.images:
            self.stats.blind += 1
            return None
        network = self.model.network
        ring = prepare_ring(frame, self.model.config).to(self.model.device)
        seen = network.encode(
            ring.images, ring.intrinsics, ring.agent_T_camera, ring.cameras_valid
        )
        features = network.compress(seen)[0].float().cpu().numpy()
        if not (np.abs(features) <= _LARGEST).all():
            self.stats.unusable += 1
            return None
        self.sequence += 1
        return BevFeature(
            agent_id=self.agent_id,
            role=frame.role,
            model_id=self.model.model_id,
            session_id=self.session_id,
            sequence=self.sequence - 1,
            stamp_ns=frame.stamp_ns,
            world_SE3_agent=map_pose(frame, self.model.config),
            pose_covariance=frame.pose_covariance,
            grid=self.model.config.features,
            features=features,
        )

    @torch.inference_mode()
    def fuse(
        self, frame: AgentFrame, own: BevFeature | None, others: Sequence[BevFeature] = ()
    ) -> MapResult:
        """Make the map around this agent's body at the time of a frame.

        Maps of others are moved from where their senders were at capture to where the ego is now;
        what moves by itself is not moved. The order of ``others`` does not matter. A map that
        cannot take part is left out with its reason, and the rest go on. Without any map the
        result knows nothing: probabilities 0, source UNKNOWN.

        Args:
            frame: The ego's frame; its images are not looked at.
            own: What ``sense`` gave of it; None when the ego sees nothing.
            others: Newest maps of other agents, usually of ``v2x.map_inbox``.

        Raises:
            ValueError: The frame, or ``own``, is of another agent or another time.
        """
        self._check(frame)
        if own is not None and (own.agent_id, own.stamp_ns) != (self.agent_id, frame.stamp_ns):
            raise ValueError(f'own map of {own.agent_id}, {own.stamp_ns} ns, is not of the frame')
        here = map_pose(frame, self.model.config)
        taken, left_out = self._choose(here, others)
        self.stats.fused += len(taken)
        self.stats.left_out.update(str(one.reason) for one in left_out)
        config = self.model.config
        poses = [np.eye(4), *(relative_pose(here, one.world_SE3_agent) for one in taken)]
        ego_T_agent = torch.from_numpy(np.stack(poses).astype(np.float32))
        present = torch.tensor([own is not None, *(True for _ in taken)])
        names, probabilities = self._decoded(own, taken, ego_T_agent, present)
        valid = np.stack([_covers(pose, config.map) for pose in poses])
        valid &= present.numpy()[:, None, None]
        source = valid[0] * int(Source.EGO) + valid[1:].any(0) * int(Source.REMOTE)
        made = BevMap(
            sequence_id=frame.sequence_id,
            frame_id=frame.frame_id,
            stamp_ns=frame.stamp_ns,
            grid=config.map,
            world_SE3_agent=frame.world_SE3_body,
            probabilities=probabilities,
            class_names=names,
            source=source.astype(np.int64),
            remote_agents=tuple(one.agent_id for one in taken),
        )
        return MapResult(made, tuple(left_out))

    def _check(self, frame: AgentFrame) -> None:
        if frame.agent_id != self.agent_id:
            raise ValueError(f'a frame of {frame.agent_id} was given to {self.agent_id}')

    def _watch_ring(self, frame: AgentFrame) -> None:
        if frame.sequence_id != self._scene:
            self._scene = frame.sequence_id
            self._ring.clear()
        there = {image.camera.name for image in frame.images}
        self.stats.cameras_missing.update(sorted(self._ring - there))
        self._ring |= there

    def _choose(
        self, here: SE3, others: Sequence[BevFeature]
    ) -> tuple[list[BevFeature], list[LeftOut]]:
        """Maps that can be fused, by agent id, and those that cannot."""
        left_out: list[LeftOut] = []
        newest: dict[str, BevFeature] = {}
        for one in sorted(others, key=lambda f: (f.agent_id, -f.stamp_ns, -f.sequence)):
            problem = self._problem(here, one)
            if problem is None and one.agent_id in newest:
                problem = (Reason.SUPERSEDED, 'there is a later map of this agent')
            if problem is None:
                newest[one.agent_id] = one
            else:
                left_out.append(LeftOut(one.agent_id, *problem))

        def apart(one: BevFeature) -> float:
            offset = one.world_SE3_agent.translation - here.translation
            return float(np.hypot(*offset[:2]))

        near = sorted(newest.values(), key=lambda one: (apart(one), one.agent_id))
        most = self.max_agents - 1
        left_out += [
            LeftOut(one.agent_id, Reason.TOO_MANY_AGENTS, f'{most} others are nearer')
            for one in near[most:]
        ]
        return sorted(near[:most], key=lambda one: one.agent_id), left_out

    def _problem(self, here: SE3, one: BevFeature) -> tuple[Reason, str] | None:
        config = self.model.config
        wanted = config.features
        if one.agent_id == self.agent_id:
            return Reason.OWN_ECHO, ''
        if self.model.network.fusion is None:
            return Reason.MODEL, 'these weights fuse nothing'
        if one.model_id != self.model.model_id:
            return Reason.MODEL, f'model {one.model_id}, here {self.model.model_id}'
        if not _same_cells(one.grid, wanted):
            return Reason.GRID, f'{one.grid}, here {wanted}'
        if one.features.shape[0] != config.sent_channels:
            return Reason.CHANNELS, f'{one.features.shape[0]}, here {config.sent_channels}'
        if not np.isfinite(one.features).all():
            return Reason.NOT_FINITE, 'features'
        if np.abs(one.features).max() > _LARGEST:
            return Reason.OUT_OF_BOUNDS, f'features up to {np.abs(one.features).max():.3g}'
        pose = relative_pose(here, one.world_SE3_agent)
        if pose[2, 2] < _LEAST_UPRIGHT:
            return Reason.OUT_OF_BOUNDS, 'the body leans too far for a map'
        if not _covers(pose, config.map).any():
            return Reason.OUT_OF_REACH, f'{np.hypot(pose[0, 3], pose[1, 3]):.0f} m away'
        return None

    def _decoded(
        self,
        own: BevFeature | None,
        taken: Sequence[BevFeature],
        ego_T_agent: Tensor,
        present: Tensor,
    ) -> tuple[tuple[str, ...], NDArray[np.float32]]:
        """Class names and probabilities (K, rows, columns)."""
        network, device, grid = self.model.network, self.model.device, self.model.config.map
        size = (self.model.config.sent_channels, *_shape(self.model.config.features))
        blank = np.zeros(size, np.float32)
        sent = np.stack([blank if own is None else own.features, *(o.features for o in taken)])
        maps = network.decompress(torch.from_numpy(sent).to(device))
        fused = network.fuse(maps, ego_T_agent.to(device), present.to(device))
        names, found = _probabilities(network.decode(fused))
        if not bool(present.any()):
            return names, np.zeros((len(names), *_shape(grid)), np.float32)
        return names, found


def semantic_ids(made: BevMap) -> NDArray[np.uint8]:
    """One class per cell: vehicle over lane over drivable, else background.

    Returns:
        (rows, columns) index into ``SEMANTIC_CLASSES``; ``UNKNOWN_CELL`` where nobody's map is.
    """
    ids = static_ids(made)
    if 'vehicle' in made.class_names:
        vehicle = made.probabilities[made.class_names.index('vehicle')] > 0.5
        ids = np.where(vehicle, np.uint8(SEMANTIC_CLASSES.index('vehicle')), ids)
    return np.where(made.source == Source.UNKNOWN, np.uint8(UNKNOWN_CELL), ids)


def static_ids(made: BevMap) -> NDArray[np.uint8]:
    """(rows, columns) the likeliest of 0 nothing, 1 drivable without lane line, 2 lane line."""
    if 'lane' not in made.class_names:
        return np.zeros(_shape(made.grid), np.uint8)
    drivable, lane = (made.probabilities[made.class_names.index(n)] for n in ('drivable', 'lane'))
    # Lane lines lie on drivable ground, so their probability is part of its.
    road = drivable - lane
    return np.asarray(np.stack([1 - drivable, road, lane]).argmax(0), np.uint8)


def _probabilities(logits: Mapping[Target, Tensor]) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    names: list[str] = []
    maps: list[Tensor] = []
    for target, values in logits.items():
        values = values.float()
        if target == 'dynamic':
            names.append('vehicle')
            maps.append(values.softmax(0)[1])
        elif target == 'vehicle_center':
            names.append('vehicle')
            maps.append(values[0].sigmoid())
        else:
            _, road, lane = values.softmax(0)
            names += ['drivable', 'lane']
            maps += [(road + lane).clamp(max=1.0), lane]
    return tuple(names), torch.stack(maps).cpu().numpy()


def _covers(ego_T_agent: NDArray[np.float64], grid: MapGrid) -> NDArray[np.bool_]:
    """(rows, columns) whether the map of another agent covers the cells of the ego's."""
    quirks = CobevtQuirks()  # what is true, whatever mask the model wants
    cells = source_cells(torch.from_numpy(ego_T_agent), grid, quirks)
    return np.asarray(covered(cells, quirks).numpy())


def _same_cells(a: MapGrid, b: MapGrid) -> bool:
    return _shape(a) == _shape(b) and bool(np.isclose(a.cell, b.cell, rtol=1e-6, atol=0))


def _shape(grid: MapGrid) -> tuple[int, int]:
    return grid.rows, grid.columns
