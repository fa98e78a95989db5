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
from dataclasses import dataclass

import numpy as np

from cooptrack_core.errors import InputError
from cooptrack_core.geometry import Boxes3D
from cooptrack_core.models.cooptrack.variants import VARIANTS
from cooptrack_core.perception.agent import AgentPerception, AgentResult
from cooptrack_core.perception.bev_fusion import BevFusion
from cooptrack_core.perception.cooperative import (
    Association,
    CooperativePerception,
    Unmatched,
)
from cooptrack_core.perception.late_fusion import LateFusion
from cooptrack_core.perception.loading import ModelSet, PerceptionModel
from cooptrack_core.perception.stream import EgoMoment
from cooptrack_core.perception.viewpoint import EGO_FOOTPRINT, seen_by_ego, without_ego
from cooptrack_core.structures import AgentFrame, Role, TrackedObjects

METHODS = ('no_fusion', 'roadside_only', 'late_fusion', 'rule_matching', 'cooptrack')
# They need weights of their own.
LEARNT_BASELINES = ('query_fusion', 'bev_fusion')
# Methods that can have several training runs, and the field of ModelSet they come from; variants
# have runs of their own.
_TRAINED = {
    'cooptrack': 'cooperative',
    'rule_matching': 'cooperative',
    'query_fusion': 'query_fusion',
    'bev_fusion': 'bev_fusion',
}


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


def runs_of(name: str, models: ModelSet) -> tuple[str, ...]:
    """Names under which ``make_methods`` makes every training run of a method.

    The first is that of the method itself; ``cooptrack#2`` is its second training run.
    """
    others = models.seeds.get(_TRAINED.get(name, name), ())
    return (name, *(f'{name}#{run}' for run in range(2, len(others) + 2)))


def make_methods(names: Sequence[str], models: ModelSet) -> dict[str, Method]:
    """Build methods by name, each with a memory of its own; make new ones for every scene.

    ``no_fusion``: the vehicle's single-agent model, no messages. ``roadside_only``: the tracks of
    the roadside units, but for the ego itself, in the ego's frame at the ego's time.
    ``late_fusion``: the boxes of the vehicle alone and of the messages merged, then AB3DMOT.
    ``rule_matching``: CoopTrack with the nearest-within-3.5-m rule in place of GBA.
    ``cooptrack``: all of it. ``query_fusion``: queries of others join the ego's before its
    decoder. ``bev_fusion``: BEV maps of others, fused with the ego's, then AB3DMOT; messages must
    carry maps. Any other name is one of ``models.variants`` (``models/cooptrack/variants.py``).
    Names of ``runs_of`` take the models of that training run.

    Raises:
        InputError: A name is unknown, or a method has no weights.
    """
    made: dict[str, Method] = {}
    vehicle = _VehicleAlone(models.vehicle)
    for name in names:
        method, _, run = name.partition('#')
        if run:
            made[name] = make_methods(
                [method], models.of_run(_TRAINED.get(method, method), int(run))
            )[method]
        elif name == 'no_fusion':
            made[name] = _NoFusion(vehicle)
        elif name == 'roadside_only':
            made[name] = roadside_only
        elif name == 'late_fusion':
            made[name] = _LateFusion(vehicle)
        elif name == 'rule_matching':
            made[name] = _Cooperative(models.cooperative.with_rule_matching())
        elif name == 'cooptrack':
            made[name] = _Cooperative(models.cooperative)
        elif name == 'query_fusion':
            made[name] = _Cooperative(_given(models.query_fusion, name))
        elif name == 'bev_fusion':
            made[name] = _BevFusion(_given(models.bev_fusion, name))
        elif name in models.variants:
            made[name] = _Cooperative(models.variants[name])
        else:
            known = METHODS + LEARNT_BASELINES + VARIANTS
            raise InputError(
                f"there is no method '{name}'", field='--methods', remedy=f'known: {known}'
            )
    return made


def _given(model: PerceptionModel | None, name: str) -> PerceptionModel:
    if model is None:
        option = f'--{name.replace("_", "-")}-weights'
        raise InputError(
            f'{name} needs weights of its own, none are shipped',
            field=option,
            remedy=f'train them with --config training/tiny_{name}.yaml, give them with {option}',
        )
    return model


class _VehicleAlone:
    """The vehicle's single-agent model; it sees each frame once, whoever asks."""

    def __init__(self, model: PerceptionModel) -> None:
        self._model = model
        self._agent: AgentPerception | None = None
        self._latest: tuple[AgentFrame, AgentResult] | None = None

    def process(self, frame: AgentFrame) -> AgentResult:
        if self._latest is None or self._latest[0] is not frame:
            if self._agent is None:
                self._agent = AgentPerception(self._model, frame.agent_id, session_id=0)
            self._latest = frame, self._agent.process(frame)
        return self._latest[1]


class _NoFusion:
    """The vehicle alone."""

    def __init__(self, vehicle: _VehicleAlone) -> None:
        self._vehicle = vehicle

    def __call__(self, moment: EgoMoment) -> MethodOutput:
        result = self._vehicle.process(moment.frame)
        return MethodOutput(result.tracks, result.detections)


class _LateFusion:
    """Boxes merged, then AB3DMOT."""

    def __init__(self, vehicle: _VehicleAlone) -> None:
        self._vehicle = vehicle
        self._fusion = LateFusion()

    def __call__(self, moment: EgoMoment) -> MethodOutput:
        alone = self._vehicle.process(moment.frame)
        result = self._fusion.process(moment.frame, alone, moment.messages)
        return MethodOutput(result.tracks, result.detections, result.associations)


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


class _BevFusion:
    """BEV maps fused, then AB3DMOT."""

    def __init__(self, model: PerceptionModel) -> None:
        self._model = model
        self._ego: BevFusion | None = None

    def __call__(self, moment: EgoMoment) -> MethodOutput:
        if self._ego is None:
            self._ego = BevFusion(self._model, moment.frame.agent_id)
        result = self._ego.process(moment.frame, moment.messages)
        return MethodOutput(result.tracks, result.detections)


def roadside_only(moment: EgoMoment) -> MethodOutput:
    """Tracks of the roadside units, at the ego's time; several units are listed together.

    The ego is not among them: it is no object to itself, and its labels do not count it.
    """

    def there(objects: TrackedObjects) -> TrackedObjects:
        return without_ego(seen_by_ego(objects, moment.frame), EGO_FOOTPRINT)

    frames = moment.remote_frames
    units = [name for name in sorted(frames) if frames[name].role is Role.ROADSIDE]
    results = [moment.remote_results[name] for name in units]
    return MethodOutput(
        _join(moment.frame, [there(r.tracks) for r in results]),
        _join(moment.frame, [there(r.detections) for r in results]),
    )


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
