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

"""The methods that are compared, each fed by the same moments of the ego."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cooptrack_core.errors import InputError
from cooptrack_core.geometry import Boxes3D
from cooptrack_core.perception.agent import AgentPerception
from cooptrack_core.perception.cooperative import (
    Association,
    CooperativePerception,
    Unmatched,
)
from cooptrack_core.perception.loading import ModelSet, PerceptionModel
from cooptrack_core.perception.stream import EgoMoment
from cooptrack_core.structures import AgentFrame, Role, Source, TrackedObjects

METHODS = ('no_fusion', 'roadside_only', 'rule_matching', 'cooptrack')


@dataclass(frozen=True, eq=False)
class MethodOutput:
    """What a method says about one ego frame, in the ego's agent frame.

    The last two belong to CoopTrack; see :class:`CooperativeResult`.
    """

    tracks: TrackedObjects
    detections: TrackedObjects
    associations: tuple[Association, ...] = ()
    unmatched: tuple[Unmatched, ...] = ()


Method = Callable[[EgoMoment], MethodOutput]


def make_methods(names: Sequence[str], models: ModelSet) -> dict[str, Method]:
    """Build methods by name, each with a memory of its own; make new ones for every scene.

    ``no_fusion``: the vehicle's single-agent model, no messages. ``roadside_only``: the tracks of
    the roadside units in the ego's frame at the ego's time. ``rule_matching``: CoopTrack with the
    nearest-within-3.5-m rule in place of GBA. ``cooptrack``: all of it.

    Raises:
        InputError: A name is unknown.
    """
    made: dict[str, Method] = {}
    for name in names:
        if name == 'no_fusion':
            made[name] = _NoFusion(models.vehicle)
        elif name == 'roadside_only':
            made[name] = roadside_only
        elif name == 'rule_matching':
            made[name] = _Cooperative(models.cooperative.with_rule_matching())
        elif name == 'cooptrack':
            made[name] = _Cooperative(models.cooperative)
        else:
            raise InputError(
                f"there is no method '{name}'", field='--methods', remedy=f'known: {METHODS}'
            )
    return made


class _NoFusion:
    """The vehicle alone."""

    def __init__(self, model: PerceptionModel) -> None:
        self._model = model
        self._agent: AgentPerception | None = None

    def __call__(self, moment: EgoMoment) -> MethodOutput:
        if self._agent is None:
            self._agent = AgentPerception(self._model, moment.frame.agent_id, session_id=0)
        result = self._agent.process(moment.frame)
        return MethodOutput(result.tracks, result.detections)


class _Cooperative:
    """CoopTrack."""

    def __init__(self, model: PerceptionModel) -> None:
        self._model = model
        self._ego: CooperativePerception | None = None

    def __call__(self, moment: EgoMoment) -> MethodOutput:
        if self._ego is None:
            self._ego = CooperativePerception(self._model, moment.frame.agent_id)
        result = self._ego.process(moment.frame, moment.messages)
        return MethodOutput(
            result.tracks, result.detections, result.associations, result.unmatched
        )


def roadside_only(moment: EgoMoment) -> MethodOutput:
    """Tracks of the roadside units, at the ego's time; several units are listed together."""
    frames = moment.remote_frames
    units = [name for name in sorted(frames) if frames[name].role is Role.ROADSIDE]
    results = [moment.remote_results[name] for name in units]
    return MethodOutput(
        _join(moment.frame, [seen_by_ego(r.tracks, moment.frame) for r in results]),
        _join(moment.frame, [seen_by_ego(r.detections, moment.frame) for r in results]),
    )


def seen_by_ego(objects: TrackedObjects, ego: AgentFrame) -> TrackedObjects:
    """Objects of another agent in the ego's frame, moved to its time by their velocity."""
    ego_SE3_other = ego.world_SE3_agent.inverse() @ objects.world_SE3_agent
    seconds = (ego.stamp_ns - objects.stamp_ns) / 1e9
    boxes = moved(objects.boxes, seconds).transformed(ego_SE3_other)
    return replace(
        objects,
        sequence_id=ego.sequence_id,
        frame_id=ego.frame_id,
        stamp_ns=ego.stamp_ns,
        world_SE3_agent=ego.world_SE3_agent,
        boxes=boxes,
        sources=np.full(len(objects), int(Source.REMOTE), dtype=np.int64),
    )


def moved(boxes: Boxes3D, seconds: float) -> Boxes3D:
    """Boxes after ``seconds`` of constant velocity; unknown velocities stay put."""
    step = np.nan_to_num(boxes.velocities) * seconds
    centers = boxes.centers + np.concatenate([step, np.zeros((len(boxes), 1))], axis=1)
    return Boxes3D(centers, boxes.sizes, boxes.yaws, boxes.velocities)


def _join(frame: AgentFrame, parts: Sequence[TrackedObjects]) -> TrackedObjects:
    """List the objects of several units; ids of the k-th unit are spread so that none coincide."""
    count = max(len(parts), 1)
    ids = [part.track_ids * count + k for k, part in enumerate(parts)]
    return TrackedObjects(
        frame.sequence_id,
        frame.frame_id,
        frame.stamp_ns,
        frame.world_SE3_agent,
        Boxes3D.concatenate([part.boxes for part in parts]),
        np.concatenate([np.zeros(0), *(part.scores for part in parts)]),
        np.concatenate([np.zeros(0, dtype=np.int64), *(part.labels for part in parts)]),
        np.concatenate([np.zeros(0, dtype=np.int64), *ids]),
        np.concatenate([np.zeros(0, dtype=np.int64), *(part.sources for part in parts)]),
        tuple(agents for part in parts for agents in part.remote_agents),
    )
