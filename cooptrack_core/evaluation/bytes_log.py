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

"""Room of evaluation: what the radio carried."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class BytesSummary:
    """What crossed the radio per second.

    Attributes:
        messages: Number of messages.
        duration: Observed time, s.
        bytes_per_second: All bytes of all senders / duration; NaN without duration.
        mean_instances: Instances per message; NaN without message.
        header_share: Bytes that are not instance data / all bytes; NaN without bytes.
        bytes_per_message: Mean; NaN without message.
    """

    messages: int
    duration: float
    bytes_per_second: float
    mean_instances: float
    header_share: float
    bytes_per_message: float

    def as_dict(self) -> dict[str, Any]:
        """Return the values, valid as JSON (NaN as None)."""
        return {k: None if v != v else v for k, v in vars(self).items()}


@dataclass
class BytesLog:
    """Adds up encoded messages as they are sent, lost ones included: they used the air too."""

    messages: int = field(default=0, init=False)
    total_bytes: int = field(default=0, init=False)
    header_bytes: int = field(default=0, init=False)
    instances: int = field(default=0, init=False)

    def add(self, total_bytes: int, header_bytes: int, instances: int) -> None:
        """Count one encoded message.

        Args:
            total_bytes: Its whole length on the air.
            header_bytes: Those of them that it would have without instances.
            instances: Number of instances in it.

        Raises:
            ValueError: A number is negative or the header is longer than the message.
        """
        if not 0 <= header_bytes <= total_bytes or instances < 0:
            raise ValueError(
                f'impossible message: {total_bytes} bytes, {header_bytes} of them header, '
                f'{instances} instances'
            )
        self.messages += 1
        self.total_bytes += total_bytes
        self.header_bytes += header_bytes
        self.instances += instances

    def extend(self, other: BytesLog) -> None:
        """Count all messages of another log."""
        self.messages += other.messages
        self.total_bytes += other.total_bytes
        self.header_bytes += other.header_bytes
        self.instances += other.instances

    def summary(self, duration: float) -> BytesSummary:
        """Divide by the observed time.

        Args:
            duration: Seconds, see ``observed_duration``.
        """
        return BytesSummary(
            self.messages,
            duration,
            _ratio(self.total_bytes, duration),
            _ratio(self.instances, self.messages),
            _ratio(self.header_bytes, self.total_bytes),
            _ratio(self.total_bytes, self.messages),
        )


def observed_duration(frames: Iterable[tuple[str, int]]) -> float:
    """Seconds that the frames of all scenes stand for.

    n frames from first to last stamp stand for n periods, not n - 1: a scene of ten frames at
    10 Hz is one second long. A scene of a single frame has no known period and adds nothing.

    Args:
        frames: Scene and stamp (ns) of every evaluated frame, in any order.
    """
    stamps: dict[str, set[int]] = {}
    for sequence_id, stamp_ns in frames:
        stamps.setdefault(sequence_id, set()).add(stamp_ns)
    return sum(
        (max(group) - min(group)) * 1e-9 * len(group) / (len(group) - 1)
        for group in stamps.values()
        if len(group) > 1
    )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else float('nan')
