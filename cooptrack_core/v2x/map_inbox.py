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

"""V2X room: the receiver's gate for BEV features; the rules are those of ``inbox``."""

from __future__ import annotations

from cooptrack_core.structures import BevFeature
from cooptrack_core.v2x.bev_codec import BevLimits, decode_bev
from cooptrack_core.v2x.inbox import Inbox, InboxSettings


class MapInbox(Inbox[BevFeature]):
    """Checks, counts and orders the BEV features of all peers of one receiver.

    A map is made anew in every cycle, it remembers nothing. So, unlike instances, a peer's map
    may take part in several cycles while it is young: ``latest(now_ns, new_only=False)``.
    """

    def __init__(
        self,
        expected_model_id: str | None,
        own_agent_id: str,
        settings: InboxSettings | None = None,
        limits: BevLimits | None = None,
    ) -> None:
        """Open an empty inbox.

        Args:
            expected_model_id: As ``Inbox``.
            own_agent_id: As ``Inbox``.
            settings: What is taken; its ``limits`` are those of instance messages and not used.
            limits: Sizes of a message, and the grid and channels that can be fused.
        """
        self.limits = limits or BevLimits()
        super().__init__(
            expected_model_id, own_agent_id, settings, lambda data: decode_bev(data, self.limits)
        )
