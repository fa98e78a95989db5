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

"""Damaged messages at the receiver: nothing may crash it, and each one must be counted.

``python -m benchmarks.mutated_messages --count 1000000`` without ROS: half of the messages are
the bytes on the air (decoder and inbox), half are serialised ROS messages (walk through the
lengths, reader, decoder, inbox), as ``cooperative_node`` takes them. The same seed gives the
same messages.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from dataclasses import replace

import numpy as np

from cooptrack_core.geometry import SE3, Boxes3D, PerceptionRange
from cooptrack_core.structures import InstanceMessage, Role
from cooptrack_core.v2x import InboxSettings, MessageInbox, encode_message
from cooptrack_core.v2x.budget import RateLimits
from cooptrack_ros.bags import bag_types, typestore
from cooptrack_ros.conversions import message_to_features
from cooptrack_ros.conversions.cdr import CdrChecker
from cooptrack_ros.conversions.instances import TYPE
from cooptrack_ros.nodes.gate import FusionGate

NOW_NS = 1_700_000_000_000_000_000
UNLIMITED = RateLimits(1e12, 1e12, 1e15, 1e15)
HEAD = 4  # of a serialised message; without it no middleware hands it over
# Numbers that lengths and counts are replaced with.
EVIL = (0, 1, 2, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def good_message(
    agent_id: str, model_id: str, size: int, instances: int = 5, classes: int = 3
) -> InstanceMessage:
    """A message that a receiver of that model takes; contents are random, seed 0."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(3, instances, size)).astype(np.float32)
    boxes = Boxes3D(
        rng.uniform(-20, 20, (instances, 3)) * (1.0, 1.0, 0.05),
        np.tile((4.2, 1.8, 1.6), (instances, 1)),
        rng.uniform(-3, 3, instances),
        rng.uniform(-5, 5, (instances, 2)),
    )
    return InstanceMessage(
        agent_id=agent_id,
        role=Role.ROADSIDE,
        model_id=model_id,
        session_id=1,
        sequence=0,
        stamp_ns=NOW_NS,
        world_SE3_agent=SE3.from_yaw(0.4, (3.0, 4.0, 5.0)),
        pose_covariance=np.eye(6) * 0.01,
        range=PerceptionRange(-51.2, -51.2, -5.0, 51.2, 51.2, 3.0),
        query_features=features[0],
        query_embeddings=features[1],
        motion_features=features[2],
        reference_points=rng.uniform(0, 1, (instances, 3)).astype(np.float32),
        boxes=boxes,
        class_scores=rng.uniform(0, 1, (instances, classes)).astype(np.float32),
        track_ids=np.arange(instances),
    )


def mutated(data: bytes, rng: np.random.Generator, keep: int = 0) -> bytes:
    """Damage a message in one of six ways; the first ``keep`` bytes and that many stay."""
    out = bytearray(data)
    span = len(out) - keep
    where = keep + int(rng.integers(span))
    kind = int(rng.integers(6))
    if kind == 0:  # a bit falls
        out[where] ^= 1 << int(rng.integers(8))
    elif kind == 1:  # bytes are overwritten
        for at in keep + rng.integers(span, size=int(rng.integers(1, 33))):
            out[int(at)] = int(rng.integers(256))
    elif kind == 2:  # it is cut off
        del out[where:]
    elif kind == 3:  # something is behind it
        out += rng.bytes(int(rng.integers(1, 4096)))
    elif kind == 4:  # a length or a count lies
        at = where - (where - keep) % 4
        out[at : at + 4] = EVIL[int(rng.integers(len(EVIL)))].to_bytes(4, 'little')
    else:  # a piece is missing or comes twice
        piece = out[where : where + int(rng.integers(1, 256))]
        if rng.random() < 0.5:
            del out[where : where + len(piece)]
        else:
            out[where:where] = piece
    return bytes(out)


def decode_all(count: int, seed: int) -> dict[str, object]:
    """Give mutated messages to a receiver; return what became of them.

    Raises:
        Exception: What the receiver raised: it must not.
    """
    rng, store = np.random.default_rng(seed), typestore()
    settings = InboxSettings()
    gate = FusionGate(
        MessageInbox('model', 'vehicle', settings),
        0,
        'map',
        limits=UNLIMITED,
        checker=CdrChecker(
            store, TYPE, settings.limits.max_bytes + 4096, settings.limits.max_sections
        ),
        deserialize=lambda data: store.deserialize_cdr(data, TYPE),
    )
    on_the_air = MessageInbox('model', 'vehicle', settings)
    message = good_message('rogue', 'model', 32)
    as_bytes = {dtype: encode_message(message, dtype) for dtype in ('int8', 'fp16', 'fp32')}
    as_ros = {
        dtype: bytes(
            store.serialize_cdr(
                message_to_features(bag_types(), message, dtype, publish_stamp_ns=NOW_NS), TYPE
            )
        )
        for dtype in ('int8', 'fp16', 'fp32')
    }
    fresh = encode_message(replace(message, sequence=1), 'int8')
    outcomes: Counter[str] = Counter()
    began = time.perf_counter()
    for k in range(count):
        dtype = ('int8', 'fp16', 'fp32')[k % 3]
        if k % 2:
            verdict = on_the_air.receive(mutated(as_bytes[dtype], rng), NOW_NS)
        else:
            data = mutated(as_ros[dtype], rng, HEAD)
            verdict = gate.receive_serialized(data, 'rogue', NOW_NS, 0.0)
        outcomes['accepted' if verdict else str(verdict.reason)] += 1
        if k % 20 == 19:  # otherwise nearly all would be duplicates
            on_the_air.reset()
            gate.reset()
    seconds = time.perf_counter() - began
    taken = bool(on_the_air.receive(fresh, NOW_NS))
    stats = [gate.stats, on_the_air.stats]
    return {
        'sent': count,
        'received': sum(s.received for s in stats) - 1,
        'accepted': sum(s.accepted for s in stats) - taken,
        'rejected': sum(sum(s.rejected.values()) for s in stats),
        'a good one afterwards': taken,
        'seconds': round(seconds, 1),
        'outcomes': dict(outcomes.most_common()),
    }


def main() -> int:
    """Print what became of them; 1 when one was not counted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--count', type=int, default=100_000)
    parser.add_argument('--seed', type=int, default=0)
    options = parser.parse_args()
    result = decode_all(options.count, options.seed)
    json.dump(result, sys.stdout, indent=2)
    sys.stdout.write('\n')
    counted = result['accepted'] + result['rejected']  # type: ignore[operator]
    return 0 if counted == result['sent'] == result['received'] else 1


if __name__ == '__main__':
    sys.exit(main())
