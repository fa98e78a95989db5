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

"""Maps of other agents over the simulated radio, beside the instances of ``stream``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cooptrack_core.perception.air import Air, RadioEvent
from cooptrack_core.perception.map_loading import MapModel
from cooptrack_core.perception.mapping import BevMapper
from cooptrack_core.structures import AgentFrame, BevFeature
from cooptrack_core.v2x.bev_codec import encode_bev
from cooptrack_core.v2x.envelope import Dtype
from cooptrack_core.v2x.inbox import InboxSettings
from cooptrack_core.v2x.link import LinkModel
from cooptrack_core.v2x.map_inbox import MapInbox


@dataclass(frozen=True, eq=False)
class MapMoment:
    """What the ego has of the others' maps when it processes a frame.

    Attributes:
        features: The newest map of each agent that is young enough; a map may be handed out in
            several moments.
        events: What the radio brought since the previous moment.
    """

    features: tuple[BevFeature, ...]
    events: tuple[RadioEvent, ...]


class MapRadio:
    """Other agents make and send maps; the ego's inbox hands out the newest ones.

    Args:
        model: The map model of all agents.
        ego_id: The agent that fuses.
        dtype: Form of the maps on the air.
        make_link: Link of a sender, by its agent id.
        settings: What the ego's inbox takes.
        session_id: Of the senders.
        on_message: Called with every map that is sent, and its bytes; also what is lost later.
    """

    def __init__(
        self,
        model: MapModel,
        ego_id: str,
        *,
        dtype: Dtype = 'int8',
        make_link: Callable[[str], LinkModel] | None = None,
        settings: InboxSettings | None = None,
        session_id: int = 1,
        on_message: Callable[[BevFeature, bytes], None] | None = None,
    ) -> None:
        """Start without any sender; see the class."""
        self.model = model
        self.inbox = MapInbox(model.model_id, ego_id, settings, model.limits)
        self.mappers: dict[str, BevMapper] = {}
        self._dtype = dtype
        self._session_id = session_id
        self._on_message = on_message
        self._air = Air(self.inbox, make_link or (lambda name: LinkModel(name=name)), lambda _: 0)

    def sense(self, frame: AgentFrame) -> None:
        """Let another agent map a frame and send the result; nothing is sent by a blind one."""
        mapper = self.mappers.get(frame.agent_id)
        if mapper is None:
            mapper = BevMapper(self.model, frame.agent_id, self._session_id)
            self.mappers[frame.agent_id] = mapper
        feature = mapper.sense(frame)
        if feature is None:
            return
        data = encode_bev(feature, self._dtype)
        if self._on_message is not None:
            self._on_message(feature, data)
        self._air.send(frame.agent_id, data, frame.stamp_ns)

    def moment(self, stamp_ns: int, now_ns: int) -> MapMoment:
        """Receive until now, and hand out the maps for an ego frame of that stamp."""
        events = self._air.receive(now_ns)
        return MapMoment(self.inbox.latest(stamp_ns, new_only=False), events)

    def reset(self) -> None:
        """Forget everything that belongs to the past."""
        for mapper in self.mappers.values():
            mapper.reset()
        self._air.reset()
