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

"""Maps of a run: the ego's mapper, the numbers, and what the report page shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cooptrack_core.evaluation.bytes_log import BytesLog, observed_duration
from cooptrack_core.evaluation.map_protocol import MapProtocol, Masks
from cooptrack_core.evaluation.maps import MapScore, map_report
from cooptrack_core.perception import (
    BevMapper,
    EgoMoment,
    MapModel,
    MapRadio,
    MapStats,
    StreamOptions,
    static_ids,
)
from cooptrack_core.structures import BevFeature, BevMap, MapLabels
from cooptrack_core.v2x.envelope import Dtype
from cooptrack_ros.report import ReportMap

# The same weights with and without the maps of others.
METHODS = ('ego_alone', 'cooperative')


@dataclass
class MapRun:
    """Maps of one run, moment by moment.

    Attributes:
        model: The map model of all agents.
        ego_id: The agent that fuses.
        options: Settings of the radio.
        on_message: Called with every map that is sent, and its form on the air.
    """

    model: MapModel
    ego_id: str
    options: StreamOptions
    on_message: Callable[[BevFeature, Dtype], None] | None = None
    _frames: list[tuple[str, int]] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        """Set up mapper, radio and scores."""
        # Maps have no compact form.
        self.dtype: Dtype = 'int8' if self.options.dtype == 'compact' else self.options.dtype
        self.mapper = BevMapper(self.model, self.ego_id)
        self.radio = MapRadio(
            self.model,
            self.ego_id,
            dtype=self.dtype,
            make_link=lambda agent_id: self.options.link(f'{agent_id}/map'),
            settings=self.options.inbox_settings(),
            session_id=self.options.seed + 1,
            on_message=self._sent,
        )
        self.protocol = MapProtocol(grid=self.model.config.map)
        self._scores = {name: MapScore(self.protocol) for name in METHODS}
        self._bytes = BytesLog()

    def step(self, moment: EgoMoment, truth: MapLabels | None) -> ReportMap:
        """Map a moment; with truth it counts in the numbers."""
        frame = moment.frame
        own = self.mapper.sense(frame)
        fused = self.mapper.fuse(frame, own, moment.maps.features if moment.maps else ()).map
        alone = BevMapper(self.model, self.ego_id).fuse(frame, own).map
        self._frames.append((frame.sequence_id, frame.stamp_ns))
        if truth is not None and truth.grid != self.protocol.grid:
            truth = None
        if truth is not None:
            true = self.protocol.truth(truth)
            for name, made in zip(METHODS, (alone, fused), strict=True):
                found = _masks(made, self.protocol)
                known = {key: mask for key, mask in true.items() if key in found}
                self._scores[name].add(found, known)
        return ReportMap(fused, alone, truth)

    def as_dict(self) -> dict[str, Any]:
        """Numbers and what they depend on, valid as JSON."""
        seconds = observed_duration(self._frames)
        scored = {name: s for name, s in self._scores.items() if s.frames}
        stats = self.radio.inbox.stats
        result = map_report(self.protocol, scored)
        result['protocol'] |= {
            'model': self.model.as_dict(),
            'max_agents': self.mapper.max_agents,
            'max_age_ms': self.options.max_age_ms,
        }
        air = self._bytes.summary(seconds).as_dict()
        kept = ('messages', 'duration', 'bytes_per_second', 'bytes_per_message')
        return result | {
            'traffic': {self.dtype: {key: air[key] for key in kept}},
            'inbox': {
                'received': stats.received,
                'accepted': stats.accepted,
                'rejected': stats.rejected,
            },
            'agents': {
                self.ego_id: _counts(self.mapper.stats),
                **{name: _counts(m.stats) for name, m in sorted(self.radio.mappers.items())},
            },
        }

    def _sent(self, feature: BevFeature, data: bytes) -> None:
        self._bytes.add(len(data), 0, 0)
        if self.on_message is not None:
            self.on_message(feature, self.dtype)


def _masks(made: BevMap, protocol: MapProtocol) -> Masks:
    vehicle = None
    if 'vehicle' in made.class_names:
        vehicle = made.probabilities[made.class_names.index('vehicle')] > 0.5
    return protocol.masks(vehicle, static_ids(made) if 'lane' in made.class_names else None)


def _counts(stats: MapStats) -> dict[str, Any]:
    return {
        'frames': stats.frames,
        'blind': stats.blind,
        'unusable': stats.unusable,
        'cameras_missing': dict(sorted(stats.cameras_missing.items())),
        'fused': stats.fused,
        'left_out': dict(sorted(stats.left_out.items())),
    }
