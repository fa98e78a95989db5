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

"""V2X room: how much of each sender is looked at at all. Asked before anything is decoded.

A sender that floods costs a receiver two comparisons per message, and the other senders nothing:
each has buckets of its own, of messages and of bytes, that fill at a rate and empty as messages
come (token buckets, as in RFC 2697). Time is that of a steady clock of the receiver, for what is
protected is the processor of now, whatever the stamps say.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RateLimits:
    """What one sender may send.

    Attributes:
        messages_per_second: Rate that may last.
        burst_messages: Messages that may come at once after a silence.
        bytes_per_second: Rate that may last.
        burst_bytes: Bytes that may come at once; a larger message is never taken.
    """

    messages_per_second: float = 50.0
    burst_messages: float = 50.0
    bytes_per_second: float = 20e6
    burst_bytes: float = 20e6

    def __post_init__(self) -> None:
        """Check that something can pass."""
        if not (self.messages_per_second > 0 and self.bytes_per_second > 0):
            raise ValueError('rates must be positive')
        if not (self.burst_messages >= 1 and self.burst_bytes >= 1):
            raise ValueError('bursts must be at least 1')


class TokenBucket:
    """Lets a rate pass that may last, and bursts up to the bucket's size."""

    def __init__(self, rate: float, size: float) -> None:
        """Start full.

        Args:
            rate: Tokens per second.
            size: Most tokens kept.
        """
        self.rate, self.size = rate, size
        self._tokens = size
        self._at_s: float | None = None

    def available(self, now_s: float) -> float:
        """Tokens there are; a clock that steps back fills nothing."""
        if self._at_s is not None and now_s > self._at_s:
            self._tokens = min(self.size, self._tokens + (now_s - self._at_s) * self.rate)
        self._at_s = now_s
        return self._tokens

    def take(self, tokens: float) -> None:
        """Take tokens that ``available`` said there are."""
        self._tokens -= tokens


class SenderBudget:
    """The buckets of all senders."""

    def __init__(self, limits: RateLimits | None = None, max_agents: int = 64) -> None:
        """Start without senders.

        Args:
            limits: What each sender may send.
            max_agents: Most senders remembered; the longest silent one makes room.
        """
        self.limits = limits or RateLimits()
        self._max_agents = max_agents
        self._buckets: dict[str, tuple[TokenBucket, TokenBucket]] = {}  # longest silent first

    def change(self, limits: RateLimits) -> None:
        """Take other limits from now on; all buckets begin full again."""
        self.limits = limits
        self._buckets.clear()

    def refusal(self, agent_id: str, size: int, now_s: float) -> str | None:
        """Take a message off the budget of its sender.

        Args:
            agent_id: Whose channel it came on.
            size: Its bytes.
            now_s: Time of a steady clock, s.

        Returns:
            None when it may be looked at, otherwise why not; a message that is refused takes
            nothing off the budget.
        """
        limits = self.limits
        pair = self._buckets.pop(agent_id, None)
        if pair is None:
            pair = (
                TokenBucket(limits.messages_per_second, limits.burst_messages),
                TokenBucket(limits.bytes_per_second, limits.burst_bytes),
            )
            while len(self._buckets) >= self._max_agents:
                del self._buckets[next(iter(self._buckets))]
        self._buckets[agent_id] = pair
        messages, data = pair
        if messages.available(now_s) < 1:
            return f'more than {limits.messages_per_second:g} messages per second'
        if data.available(now_s) < size:
            return f'more than {limits.bytes_per_second:g} bytes per second'
        messages.take(1)
        data.take(size)
        return None
