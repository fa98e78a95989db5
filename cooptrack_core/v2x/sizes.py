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


"""V2X room: where the bytes of a message go."""

from __future__ import annotations

from dataclasses import dataclass

from cooptrack_core.v2x.checks import Limits
from cooptrack_core.v2x.codec import Section, read_head, read_sections
from cooptrack_core.v2x.compact import COMPACT_MAGIC, compact_size


@dataclass(frozen=True)
class SizeReport:
    """Where the bytes of one message go.

    Attributes:
        total: Bytes on the air.
        overhead: Bytes that do not grow with the instances: head, names, section heads,
            covariance, extensions.
        instances: Number of instances.
        sections: Bytes per section, by name; their heads are in ``overhead``. The compact form
            has none.
    """

    total: int
    overhead: int
    instances: int
    sections: dict[str, int]

    @property
    def header_share(self) -> float:
        """Overhead over total, in [0, 1]."""
        return self.overhead / self.total

    @property
    def bytes_per_instance(self) -> float:
        """Bytes each further instance costs; NaN without instances."""
        if not self.instances:
            return float('nan')
        return (self.total - self.overhead) / self.instances


def message_size_report(data: bytes) -> SizeReport:
    """Tell where the bytes of an encoded message go.

    Raises:
        MessageError: The message is damaged.
    """
    if data[: len(COMPACT_MAGIC)] == COMPACT_MAGIC:
        overhead, instances = compact_size(data)
        return SizeReport(len(data), overhead, instances, {})
    head = read_head(data, Limits(max_bytes=len(data)))
    known, _ = read_sections(data, head, Limits(max_bytes=len(data)))
    sections = {Section(kind).name.lower(): len(body) for kind, (_, body) in known.items()}
    payload = sum(size for kind, size in sections.items() if kind != 'pose_covariance')
    return SizeReport(len(data), len(data) - payload, head.n, sections)
