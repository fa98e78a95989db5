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


"""V2X: message codec (bytes on the air), the receiver's inbox, and a link model."""

from cooptrack_core.v2x.bev_codec import BevLimits, decode_bev, encode_bev
from cooptrack_core.v2x.checks import Limits
from cooptrack_core.v2x.codec import Wire, decode_message, encode_message
from cooptrack_core.v2x.envelope import Dtype
from cooptrack_core.v2x.inbox import Accepted, InboxSettings, MessageInbox, Rejected
from cooptrack_core.v2x.link import Delivery, LinkModel, LinkStats
from cooptrack_core.v2x.map_inbox import MapInbox
from cooptrack_core.v2x.reasons import Reason
from cooptrack_core.v2x.sizes import SizeReport, message_size_report
from cooptrack_core.v2x.stats import InboxStats, PeerStats

__all__ = [
    'Accepted',
    'BevLimits',
    'Delivery',
    'Dtype',
    'InboxSettings',
    'InboxStats',
    'Limits',
    'LinkModel',
    'LinkStats',
    'MapInbox',
    'MessageInbox',
    'PeerStats',
    'Reason',
    'Rejected',
    'SizeReport',
    'Wire',
    'decode_bev',
    'decode_message',
    'encode_bev',
    'encode_message',
    'message_size_report',
]
