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


"""V2X room: the counters of an inbox. Received = accepted + rejected by reason, always."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from cooptrack_core.v2x.reasons import Reason


@dataclass
class PeerStats:
    """Counts of one sender.

    Attributes:
        received: Messages that arrived.
        bytes_received: Their bytes.
        accepted: Of these, taken.
        rejected: Of these, dropped, by reason.
        used: Accepted messages that were handed out.
        overtaken: Accepted messages that a later capture replaced before they were used.
        expired: Accepted messages nobody asked for while they were young.
        lost: Gaps in the sequence of accepted messages: never arrived, or rejected.
        restarts: New sessions of a sender known before.
        last_stamp_ns: Capture time of the last accepted message, sender's clock; -1: none.
        last_age_ns: Its age at arrival: delay plus clock offset.
        total_age_ns: Sum of the ages of the accepted, for the mean.
    """

    received: int = 0
    bytes_received: int = 0
    accepted: int = 0
    rejected: dict[Reason, int] = field(default_factory=dict)
    used: int = 0
    overtaken: int = 0
    expired: int = 0
    lost: int = 0
    restarts: int = 0
    last_stamp_ns: int = -1
    last_age_ns: int = 0
    total_age_ns: int = 0

    def copy(self) -> PeerStats:
        """Return a copy that later messages do not change."""
        return replace(self, rejected=dict(self.rejected))

    @property
    def mean_age_s(self) -> float:
        """Mean age of accepted messages at arrival, s; NaN without any."""
        return self.total_age_ns / self.accepted / 1e9 if self.accepted else float('nan')


@dataclass(frozen=True)
class InboxStats:
    """Counts of all senders.

    Attributes:
        peers: By agent id; messages that tell no sender are under ``(unknown)``.
    """

    peers: Mapping[str, PeerStats]

    @property
    def received(self) -> int:
        """Messages that arrived."""
        return sum(p.received for p in self.peers.values())

    @property
    def accepted(self) -> int:
        """Messages taken."""
        return sum(p.accepted for p in self.peers.values())

    @property
    def bytes_received(self) -> int:
        """Bytes that arrived."""
        return sum(p.bytes_received for p in self.peers.values())

    @property
    def rejected(self) -> dict[str, int]:
        """Messages dropped, by reason; reasons never met are absent."""
        total = {r: sum(p.rejected.get(r, 0) for p in self.peers.values()) for r in Reason}
        return {reason.value: count for reason, count in total.items() if count}

    def __str__(self) -> str:
        """Return a table in words, one line per sender."""
        lines = [_line('all', self.received, self.accepted, self.rejected)]
        for name, p in self.peers.items():
            reasons = {reason.value: n for reason, n in p.rejected.items()}
            extra = f', used {p.used}, lost {p.lost}, restarts {p.restarts}'
            if p.accepted:
                extra += f', mean age {p.mean_age_s * 1e3:.0f} ms'
            lines.append(_line(name, p.received, p.accepted, reasons) + extra)
        return '\n'.join(lines)


def _line(name: str, received: int, accepted: int, rejected: Mapping[str, int]) -> str:
    why = ', '.join(f'{reason} {n}' for reason, n in rejected.items())
    dropped = sum(rejected.values())
    return f'{name}: received {received}, accepted {accepted}, rejected {dropped}' + (
        f' ({why})' if why else ''
    )
