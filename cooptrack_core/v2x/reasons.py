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


"""V2X room: why a message was not used. The keys of all rejection counters."""

from __future__ import annotations

from enum import Enum


class Reason(str, Enum):
    """Reason of a rejection; the value is the key in counters, logs and FusionStatus."""

    TRUNCATED = 'truncated'
    """Shorter than it says."""
    OVERSIZED = 'oversized'
    """Longer than it says, or more than the receiver takes."""
    NOT_A_MESSAGE = 'not_a_message'
    """Does not begin like a message of this kind."""
    VERSION = 'version'
    """Of another major schema version."""
    CHECKSUM = 'checksum'
    """Damaged on the way."""
    MALFORMED = 'malformed'
    """Parts are missing, double, or of the wrong size."""
    NOT_FINITE = 'not_finite'
    """Holds NaN or infinity where a number must be."""
    OUT_OF_BOUNDS = 'out_of_bounds'
    """Holds a number that cannot be, for example a negative size."""
    MODEL = 'model'
    """Features of another model."""
    GRID = 'grid'
    """A BEV map of other cells than the receiver's."""
    CHANNELS = 'channels'
    """A BEV map of another number of channels than the receiver's model takes."""
    OUT_OF_REACH = 'out_of_reach'
    """A BEV map that covers no cell of the receiver's."""
    RATE_LIMITED = 'rate_limited'
    """More than one sender may send; not looked at."""
    OWN_ECHO = 'own_echo'
    """The receiver's own message came back."""
    TOO_OLD = 'too_old'
    """Captured longer ago than the receiver accepts."""
    FROM_FUTURE = 'from_future'
    """Captured in the receiver's future, beyond the tolerated clock error."""
    DUPLICATE = 'duplicate'
    """This message of this session was received before."""
    SUPERSEDED = 'superseded'
    """Overtaken: a later capture of this sender was used already."""
    OLD_SESSION = 'old_session'
    """Straggler of a session that the sender ended by restarting."""
    TOO_MANY_AGENTS = 'too_many_agents'
    """The receiver follows as many senders as it can."""
    WRONG_TOPIC = 'wrong_topic'
    """The agent id inside is not the one of the channel it came on."""

    def __str__(self) -> str:
        """Return the plain word."""
        return self.value
