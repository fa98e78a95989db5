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

"""Nodes room: maps. A ring of cameras in; map features for the others, and the fused map, out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nav_msgs.msg import OccupancyGrid
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image
from vision_msgs.msg import LabelInfo
from visualization_msgs.msg import MarkerArray

from cooptrack_core.geometry import SE3
from cooptrack_core.perception import BevMapper, load_map_model
from cooptrack_core.structures import MAP_CLASSES, AgentFrame, BevMap
from cooptrack_core.v2x import BevLimits, MapInbox
from cooptrack_msgs.msg import BevFeature as BevFeatureMessage
from cooptrack_msgs.msg import FusionStatus
from cooptrack_ros import _compat
from cooptrack_ros.bags import names, typestore
from cooptrack_ros.conversions import (
    MapMarkers,
    bev_to_message,
    label_info,
    map_to_occupancy,
    map_to_semantic,
    status_to_message,
)
from cooptrack_ros.conversions.bev import TYPE
from cooptrack_ros.conversions.cdr import CdrChecker
from cooptrack_ros.nodes import base, peers, qos
from cooptrack_ros.nodes.gate import MapGate
from cooptrack_ros.nodes.health import OK, WARN, Health, PerSecond, peer_health
from cooptrack_ros.nodes.latency import Stopwatch
from cooptrack_ros.nodes.parameters import BevMapParameters, declare, watch
from cooptrack_ros.nodes.snapshot import Moment

_SHIPPED = 'cobevt_tiny.safetensors'


class BevMapNode:
    """Wires BevMapper to ROS; see docs/nodes.md.

    Attributes:
        autostart: Whether the node configures and activates itself.
    """

    def __init__(self, node: Any) -> None:
        """Read the parameters.

        Raises:
            InputError: A parameter cannot be used.
        """
        self._node = node
        self._p = p = declare(node, BevMapParameters)
        self.autostart = p.autostart
        self._frame_id = p.body_frame.format(agent=p.agent_id)
        self._mapper: BevMapper | None = None
        self._gate: MapGate | None = None
        self._base = base.Perceiver(
            node,
            p,
            shipped_weights=_SHIPPED,
            perceive=self._perceive,
            forget=self._forget,
            on_jump=self._jumped,
            health=self._health,
            latency_topic=names.BEV_LATENCY if p.fuse else names.bev_latency_topic(p.agent_id),
            load=load_map_model,
        )
        self._rates = PerSecond()
        self._peers = peers.Peers(
            node, p, self._base.report, BevFeatureMessage, names.bev_feature_topic
        )
        self._markers: MapMarkers | None = None
        watch(node, p, self._change)

    def configure(self) -> None:
        """Load the model and advertise.

        Raises:
            InputError: The weights or the device cannot be used.
        """
        p = self._p
        self._base.configure()
        self._mapper = BevMapper(
            self._base.model, p.agent_id, self._base.session_id, max_agents=p.max_fused
        )
        if p.send:
            self._feature_out = self._base.advertise(
                BevFeatureMessage,
                names.bev_feature_topic(p.agent_id),
                qos.radio(p.v2x_reliability),
                lifespan_ms=1000.0,
            )
        if p.fuse:
            self._open_gate()
            self._advertise()

    def activate(self) -> None:
        """Subscribe and begin."""
        self._base.activate()
        if self._gate is not None:
            self._peers.open(self._gate)
            labels = label_info(self._base.types, _compat.now_ns(self._node), self._frame_id)
            self._labels_out.publish(labels)

    def deactivate(self) -> None:
        """Hear and publish nothing any more."""
        self._peers.close()
        self._base.deactivate()
        self._jumped()

    def cleanup(self) -> None:
        """Free the model."""
        self._mapper = self._gate = self._markers = None
        self._base.cleanup()

    def close(self) -> None:
        """End the thread."""
        self._base.close()

    def _change(self, parameters: BevMapParameters, others: dict[str, Any]) -> None:
        """Take over what may change while running."""
        p = parameters
        if self._gate is not None:
            peers.change(self._gate, p)
        if self._markers is not None:
            self._markers.lifetime_ns = peers.lifetime_ns(p)
        self._base.change(p)
        self._p = p

    def _open_gate(self) -> None:
        p, model = self._p, self._base.model
        most = p.max_message_kilobytes * 1024
        own = model.limits
        limits = BevLimits(max_bytes=most, grid=own.grid, channels=own.channels)
        self._gate = MapGate(
            MapInbox(model.model_id, p.agent_id, peers.inbox_settings(p), limits),
            peers.wait_ns(p),
            p.world_frame,
            limits=peers.rate_limits(p),
            # Typed fields take a little more room than the same bytes on the air.
            checker=CdrChecker(typestore(), TYPE, most + 4096, limits.max_sections),
            deserialize=lambda data: deserialize_message(data, BevFeatureMessage),
        )

    def _advertise(self) -> None:
        out, p = self._base.advertise, self._p
        self._markers = MapMarkers(
            self._base.types, frame_id=p.world_frame, lifetime_ns=peers.lifetime_ns(p)
        )
        self._grids_out = {
            name: out(OccupancyGrid, names.bev_topic(name), 'latched') for name in MAP_CLASSES
        }
        self._semantic_out = out(Image, names.BEV_SEMANTIC, 'result')
        self._labels_out = out(LabelInfo, names.BEV_LABEL_INFO, 'latched')
        self._markers_out = out(MarkerArray, names.BEV_MARKERS, 'result')
        self._status_out = out(FusionStatus, names.BEV_STATUS, 'result')

    def _perceive(self, frame: AgentFrame, current: base.Current, times: Stopwatch) -> None:
        mapper, gate = self._mapper, self._gate
        if mapper is None:
            return
        own = mapper.sense(frame)
        times.ended('perception')
        if not current():
            return
        if own is not None and self._p.send:
            # Before the wait for the others, who wait for this one.
            self._feature_out.publish(
                bev_to_message(
                    self._base.types,
                    own,
                    self._p.dtype,  # type: ignore[arg-type]
                    world_frame_id=self._p.world_frame,
                    frame_id=self._frame_id,
                    publish_stamp_ns=_compat.now_ns(self._node),
                )
            )
        if gate is None:
            self._base.published(times, Moment(frame, () if own is None else (own,)))
            return
        gate.wait(frame.stamp_ns, lambda: _compat.now_ns(self._node), lambda: not current())
        times.ended('wait')
        if not current():
            return
        others = gate.messages(frame.stamp_ns)
        result = mapper.fuse(frame, own, others)
        times.ended('perception')
        if not current():
            return
        for one in result.left_out:
            self._base.report.warn(
                f'{one.agent_id}/{one.reason}',
                f'a map of {one.agent_id} took no part: {one.reason} {one.detail}',
            )
        self._publish(result.map, gate)
        moment = Moment(frame, others, map=result.map)
        self._base.published(times, moment, gate.arrivals(others))

    def _publish(self, made: BevMap, gate: MapGate) -> None:
        types, world, here = self._base.types, self._p.world_frame, SE3.identity()
        for name in made.class_names:
            # Latched: also for those who come later.
            self._grids_out[name].publish(map_to_occupancy(types, made, name, here, world))
        if self._semantic_out.get_subscription_count():
            self._semantic_out.publish(map_to_semantic(types, made, self._frame_id))
        if self._markers is not None and self._markers_out.get_subscription_count():
            self._markers_out.publish(self._markers.update(made, here))
        now_ns = _compat.now_ns(self._node)
        model_id = self._base.model.model_id
        self._status_out.publish(
            status_to_message(
                types, gate.stats, now_ns, self._p.agent_id, model_id, gate.clocks(now_ns)
            )
        )

    def _health(self, now_ns: int, seconds: float) -> Sequence[Health]:
        lines: list[Health] = []
        if self._mapper is not None:
            lines.append(map_health(self._mapper, self._rates, seconds))
        if self._gate is not None:
            clocks = self._gate.clocks(now_ns)
            lines += peer_health(self._gate.stats, now_ns, self._rates, seconds, clocks)
        return lines

    def _jumped(self) -> None:
        if self._gate is not None:
            self._gate.reset()

    def _forget(self) -> None:
        if self._mapper is not None:
            self._mapper.reset()
        if self._markers is not None:
            self._markers_out.publish(self._markers.reset(_compat.now_ns(self._node)))


def map_health(mapper: BevMapper, rates: PerSecond, seconds: float) -> Health:
    """What became of the maps: own ones that were not made, others' that took no part."""
    stats = mapper.stats
    level, message = OK, 'maps are made'
    missing, left_out = sum(stats.cameras_missing.values()), sum(stats.left_out.values())
    if rates.rate('left_out', left_out, seconds) > 0:
        why = max(stats.left_out, key=lambda reason: stats.left_out[reason])
        level, message = WARN, f'maps of others take no part, mostly: {why}'
    if rates.rate('missing', missing, seconds) > 0:
        camera = max(stats.cameras_missing, key=lambda name: stats.cameras_missing[name])
        level, message = WARN, f'maps are made without a camera, mostly: {camera}'
    if rates.rate('blind', stats.blind + stats.unusable, seconds) > 0:
        level, message = WARN, 'frames without a map of their own: check cameras and weights'
    return Health(
        'maps',
        level,
        message,
        {
            'frames': stats.frames,
            'blind': stats.blind,
            'unusable': stats.unusable,
            'fused': stats.fused,
            **{f'missing_{camera}': n for camera, n in sorted(stats.cameras_missing.items())},
            **{f'left_out_{reason}': n for reason, n in sorted(stats.left_out.items())},
        },
    )
