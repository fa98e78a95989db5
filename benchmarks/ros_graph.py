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

"""The live graph measured on a real ROS 2: ``python -m benchmarks.ros_graph WHAT ...``.

Needs a sourced ROS 2 and the built packages. Each part prints one JSON object and ends with 1
when its floor is not reached:

- ``same``: tracks of the graph beside those of ``cooptrack run`` on the same data, played slowly
- ``overhead``: what the node adds to the streaming API, per frame
- ``restart``: an agent is killed for 3 s: the ego goes on, cooperation comes back
- ``channel``: minutes of a bad radio: nothing raised, flat memory, every message counted
- ``agents``: cost of each further agent
- ``mutate``: damaged messages at the live node
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from rclpy.serialization import serialize_message
from rosgraph_msgs.msg import Clock

from benchmarks.mutated_messages import HEAD, good_message, mutated
from benchmarks.ros_processes import Graph, cpu_s, megabytes
from cooptrack_core.datasets.v2x_seq import V2XSeqDataset
from cooptrack_core.perception import ModelSet, StreamOptions, load_model
from cooptrack_core.resources import weights_path
from cooptrack_msgs.msg import (
    FusionStatus,
    InstanceFeatures,
    Latency,
    TrackedObjects,
)
from cooptrack_ros.bags import write_dataset_bag
from cooptrack_ros.conversions import RosTypes, message_to_features, stamp_to_ns
from cooptrack_ros.recordings import OpenRecording
from cooptrack_ros.runner import run_recording

TOLERANCE = 1e-4
SHARE = 0.99
OVERHEAD_MS = 5.0


def show(result: dict[str, Any], good: bool) -> int:
    """Print a result; return the exit status."""
    json.dump(result | {'floor reached': good}, sys.stdout, indent=2)
    sys.stdout.write('\n')
    return 0 if good else 1


def same(options: argparse.Namespace) -> int:
    """Compare the graph with ``cooptrack run`` on the same data."""
    graph = Graph(options.dataset, options.domain)
    bag, out = graph.directory / 'data.mcap', graph.directory / 'run'
    dataset = V2XSeqDataset(options.dataset, remove_ego_from_cooperative=True)
    write_dataset_bag(dataset.scenes[0], bag)
    agent = load_model(weights_path('tiny_agent.safetensors'), 'cpu')
    ego = load_model(weights_path('tiny_cooperative.safetensors'), 'cpu')
    with OpenRecording(bag, scene='', ego_id='vehicle', on_warning=print) as recording:
        # As the command does, without the methods of comparison.
        run_recording(recording, ModelSet(agent, agent, ego), out, StreamOptions(), methods=())
    del agent, ego
    expected = tracks_of_bag(out / 'run.mcap')
    heard = graph.client.listen('/cooptrack/tracks', TrackedObjects, 100)
    for agent_id in set(graph.agents) - {'vehicle'}:
        graph.agent(agent_id)
    graph.ego()
    graph.ready()
    player = graph.play(f'rate:={options.rate}')
    graph.client.until(lambda: player.process.poll() is not None, 'the end', patience_s=3600.0)
    graph.client.spin(2.0)
    got = {stamp_to_ns(m.header.stamp): boxes_of(m) for m in heard}
    alike = [same_tracks(expected[s], got[s]) for s in expected if s in got]
    share = sum(alike) / len(expected)
    result = {
        'frames of cooptrack run': len(expected),
        'frames of the graph': len(got),
        'tracks': sum(len(t) for t in expected.values()),
        'frames with the same ids and boxes': sum(alike),
        'share': round(share, 4),
        'complaints': graph.close(),
    }
    return show(result, share >= SHARE)


def tracks_of_bag(path: Path) -> dict[int, dict[int, np.ndarray]]:
    """Boxes by id by stamp."""
    from rosbags.highlevel import AnyReader

    from cooptrack_ros.bags import typestore

    with AnyReader([path], default_typestore=typestore()) as reader:
        wanted = [c for c in reader.connections if c.topic == '/cooptrack/tracks']
        read = [reader.deserialize(raw, c.msgtype) for c, _, raw in reader.messages(wanted)]
    return {stamp_to_ns(m.header.stamp): boxes_of(m) for m in read}


def boxes_of(message: Any) -> dict[int, np.ndarray]:
    """Boxes as rows by id."""
    return {
        int(o.track_id): np.array(
            [
                *(getattr(o.pose.position, axis) for axis in 'xyz'),
                *(getattr(o.pose.orientation, axis) for axis in 'zw'),
                *(getattr(o.size, axis) for axis in 'xyz'),
            ]
        )
        for o in message.objects
    }


def same_tracks(a: dict[int, np.ndarray], b: dict[int, np.ndarray]) -> bool:
    """Whether ids are the same and boxes within the tolerance."""
    return a.keys() == b.keys() and all(np.abs(a[k] - b[k]).max() <= TOLERANCE for k in a)


def overhead(options: argparse.Namespace) -> int:
    """Time of a frame outside of the streaming API."""
    graph = Graph(options.dataset, options.domain)
    heard = graph.client.listen('/cooptrack/latency', Latency, 100)
    graph.client.listen('/cooptrack/tracks', TrackedObjects, 100)
    for agent_id in set(graph.agents) - {'vehicle'}:
        graph.agent(agent_id)
    graph.ego()
    graph.ready()
    graph.play(f'rate:={options.rate}', 'loop:=true')
    graph.client.until(lambda: len(heard) >= options.frames + 5, 'frames', patience_s=3600.0)
    frames = heard[5:]
    stages = {
        name: [getattr(m, name) * 1e3 for m in frames]
        for name in ('input', 'wait', 'perception', 'publication')
    }
    complaints = graph.close()
    decode_ms = time_of_decoding(options.dataset)
    added = [
        i + p - decode_ms for i, p in zip(stages['input'], stages['publication'], strict=True)
    ]
    p50 = statistics.median(added)
    result = {
        'frames': len(frames),
        **{f'{name}_p50_ms': round(statistics.median(v), 2) for name, v in stages.items()},
        'decoding of the JPEG alone, ms': round(decode_ms, 2),
        'input + publication - decoding, p50_ms': round(p50, 2),
        'load of the machine': os.getloadavg()[0],
        'complaints': complaints,
    }
    return show(result, p50 <= OVERHEAD_MS)


def time_of_decoding(dataset: str) -> float:
    """Median time to decode an image of the ego, ms; ``cooptrack run`` does that, too."""
    import cv2

    scene = V2XSeqDataset(dataset).scenes[0]
    frame = scene.frame_ids('vehicle')[0]
    path = scene.dataset.root / scene.agent('vehicle').directory
    data = np.frombuffer((path / scene.record('vehicle', frame).image).read_bytes(), np.uint8)
    times = []
    for _ in range(30):
        began = time.perf_counter()
        cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        times.append((time.perf_counter() - began) * 1e3)
    return statistics.median(times)


def restart(options: argparse.Namespace) -> int:
    """Kill the roadside agent, start it again, and look at the ego."""
    graph = Graph(options.dataset, options.domain)
    client = graph.client
    tracks: list[float] = []
    fused: list[float] = []
    messages: list[float] = []
    clock: list[tuple[float, float]] = []
    client.on('/cooptrack/tracks', TrackedObjects, lambda m: tracks.append(time.monotonic()))
    client.on('/cooptrack/latency', Latency, lambda m: m.peers and fused.append(time.monotonic()))
    client.on(
        '/clock',
        Clock,
        lambda m: clock.append((time.monotonic(), m.clock.sec + m.clock.nanosec / 1e9)),
    )
    client.on(
        '/v2x/roadside/instance_features', InstanceFeatures,
        lambda m: messages.append(time.monotonic()), qos_profile_sensor_data,
    )  # fmt: skip
    roadside = graph.agent('roadside')
    graph.ego()
    graph.ready()
    graph.play(f'rate:={options.rate}', 'loop:=true')
    client.until(lambda: len(fused) > 10, 'cooperation', patience_s=600.0)
    roadside.process.send_signal(signal.SIGKILL)
    roadside.process.wait()
    killed_s = time.monotonic()
    client.spin(3.0)
    graph.processes.remove(roadside)
    again = graph.agent('roadside', suffix='_again')
    client.until(lambda: fused[-1] > again_since(messages, killed_s), 'cooperation again')
    first_s = again_since(messages, killed_s)
    back_s = next(t for t in fused if t > first_s)
    client.spin(3.0)
    walls, scene = np.array(clock).T
    resumed_s = float(np.interp(back_s, walls, scene) - np.interp(first_s, walls, scene))
    during = [t for t in tracks if killed_s <= t <= first_s]
    gaps = np.diff([killed_s, *during, first_s])
    again.until('model ')
    result = {
        'without the agent, s': round(first_s - killed_s, 2),
        'ego tracks meanwhile': len(during),
        'longest time without ego tracks, s': round(float(gaps.max()), 2),
        'first fused tracks after its first message, s': round(back_s - first_s, 3),
        'the same in the time of the recording, s': round(resumed_s, 3),
        'rate': options.rate,
        'complaints': graph.close(),
    }
    return show(result, resumed_s <= 1.0 and len(during) > 3)


def again_since(messages: list[float], killed_s: float) -> float:
    """When the first message of the new process came; a little after the kill are old ones."""
    return next((t for t in messages if t > killed_s + 1.0), float('inf'))


def channel(options: argparse.Namespace) -> int:
    """Minutes of a bad radio."""
    graph = Graph(options.dataset, options.domain)
    statuses = graph.client.listen('/cooptrack/fusion_status', FusionStatus, 10)
    graph.agent('roadside', '/v2x/roadside/instance_features->/v2x_tx/roadside/instance_features')
    ego = graph.ego('max_age_ms:=2000.0')
    radio = graph.start(
        'v2x_channel_node', 'use_sim_time:=true', 'latency_ms:=300.0', 'jitter_ms:=100.0',
        'loss:=0.2', 'reordering:=1.0',
    )  # fmt: skip
    for process in graph.processes[:2]:
        process.until('model ')
    graph.play(f'rate:={options.rate}', 'loop:=true')
    begun_s = time.monotonic()
    memory: list[tuple[float, float, float]] = []
    while (passed_s := time.monotonic() - begun_s) < options.minutes * 60:
        graph.client.spin(10.0)
        del statuses[:-1]
        memory.append((passed_s, megabytes(ego), megabytes(radio)))
    last = statuses[-1]
    rejected = dict(zip(last.rejected_reasons, map(int, last.rejected_counts), strict=True))
    (peer,) = last.peers
    # The first minute fills caches.
    later = [m for m in memory if m[0] >= min(60.0, options.minutes * 20)]
    growth = {
        name: round(later[-1][column] - later[0][column], 1)
        for column, name in ((1, 'cooperative'), (2, 'v2x_channel'))
    }
    complaints = graph.close()
    result = {
        'minutes': options.minutes,
        'rate': options.rate,
        'received': int(last.received),
        'accepted': int(last.accepted),
        'rejected': rejected,
        'used': int(peer.used),
        'memory, MB (after s, ego, radio)': [tuple(round(v) for v in m) for m in later[::6]],
        'growth, MB': growth,
        'complaints': complaints,
    }
    counted = last.accepted + sum(rejected.values()) == last.received > 0
    return show(result, counted and max(growth.values()) < 20.0 and not complaints)


def agents(options: argparse.Namespace) -> int:
    """Cost of the ego per further agent; all agents run and send all the time."""
    graph = Graph(options.dataset, options.domain)
    heard = graph.client.listen('/cooptrack/latency', Latency, 100)
    statuses = graph.client.listen('/cooptrack/fusion_status', FusionStatus, 100)
    remote = sorted(set(graph.agents) - {'vehicle'})
    for agent_id in remote:
        graph.agent(agent_id)
    graph.ready()
    graph.play(f'rate:={options.rate}', 'loop:=true')
    rows = []
    for count in range(len(remote) + 1):
        listened = remote[:count] or ['nobody']
        ego = graph.start(
            'cooperative_node', 'use_sim_time:=true', f'agents:=[{",".join(listened)}]',
            name=f'cooperative_{count}',
        ).until('model ')  # fmt: skip
        heard.clear()
        graph.client.until(lambda: len(heard) > 5, 'frames', patience_s=600.0)
        before_s = cpu_s(ego)
        heard.clear()
        graph.client.until(lambda: len(heard) >= options.frames, 'frames', patience_s=3600.0)
        frames = list(heard)
        used = statistics.mean(len(m.peers) for m in frames)
        size = sum(p.bytes_received for p in statuses[-1].peers) / max(
            1, sum(p.received for p in statuses[-1].peers)
        )
        rows.append(
            {
                'remote agents': count,
                'messages fused per frame': round(used, 2),
                'perception_p50_ms': round(
                    statistics.median(m.perception for m in frames) * 1e3, 1
                ),
                'cpu per frame, ms': round((cpu_s(ego) - before_s) / len(frames) * 1e3, 1),
                'bytes per message': round(size),
            }
        )
        ego.interrupt()
        graph.processes.remove(ego)
    extra = [b['cpu per frame, ms'] - a['cpu per frame, ms'] for a, b in itertools.pairwise(rows)]
    result = {
        'rows': rows,
        'cost per further agent, cpu ms per frame': round(statistics.mean(extra), 1),
        'complaints': graph.close(),
    }
    return show(result, rows[-1]['messages fused per frame'] > len(remote) * 0.5)


def mutate(options: argparse.Namespace) -> int:
    """Send damaged messages to the live node, reliably, and compare the counts."""
    graph = Graph(options.dataset, options.domain)
    client, topic = graph.client, '/v2x/rogue/instance_features'
    override = f'qos_overrides.{topic}.subscription'
    now: list[int] = []
    client.on('/clock', Clock, lambda m: now.append(stamp_to_ns(m.clock)) or now[:-1].clear())
    reports: list[dict[str, str]] = []

    def on_diagnostics(message: Any) -> None:
        for status in message.status:
            if status.name == 'cooperative: v2x rogue':
                reports.append({v.key: v.value for v in status.values})

    client.on('/diagnostics', DiagnosticArray, on_diagnostics)
    ego = graph.ego(
        'v2x_reliability:=reliable', 'peer_rate_hz:=10000.0', 'peer_megabytes_per_s:=10000.0',
        f'{override}.depth:={options.count + 10}', 'max_age_ms:=60000.0',
        'future_tolerance_ms:=10000.0',
    ).until('model ')  # fmt: skip
    graph.play(f'rate:={options.rate}', 'loop:=true')
    model = load_model(weights_path('tiny_cooperative.safetensors'), 'cpu')
    good = good_message('rogue', model.sender_id or '', model.network.config.embed_dims)
    out = client.node.create_publisher(
        InstanceFeatures, topic, QoSProfile(depth=options.count + 10)
    )
    client.until(lambda: out.get_subscription_count() and now, 'the ego')
    rng, types = np.random.default_rng(options.seed), RosTypes()
    template = message_to_features(types, good, 'int8', world_frame_id='map')
    for k in range(options.count):
        stamp = now[-1]
        template.header.stamp.sec, template.header.stamp.nanosec = divmod(stamp, 10**9)
        template.publish_stamp = template.header.stamp
        template.sequence = k
        out.publish(mutated(serialize_message(template), rng, HEAD))
        if k % 10 == 9:
            client.spin(0.01)
    client.until(
        lambda: reports and int(reports[-1]['received']) >= options.count, 'all of them counted',
        patience_s=300.0,
    )  # fmt: skip
    alive = ego.process.poll() is None
    last = reports[-1]
    rejected = {k[9:]: int(v) for k, v in last.items() if k.startswith('rejected_')}
    accepted, received = int(last['accepted']), int(last['received'])
    result = {
        'sent': options.count,
        'received': received,
        'accepted': accepted,
        'used': int(last['used']),
        'rejected': rejected,
        'node is alive': alive,
        'complaints': graph.close(),
    }
    return show(result, alive and accepted + sum(rejected.values()) == received == options.count)


def main() -> int:
    """Measure one part."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parts = {f.__name__: f for f in (same, overhead, restart, channel, agents, mutate)}
    parser.add_argument('what', choices=parts)
    parser.add_argument('dataset', help='V2X-Seq directory to play')
    parser.add_argument('--rate', type=float, default=0.2, help='speed of playing')
    parser.add_argument('--frames', type=int, default=60, help='overhead, agents: ego frames')
    parser.add_argument('--minutes', type=float, default=10.0, help='channel: how long')
    parser.add_argument('--count', type=int, default=10_000, help='mutate: messages')
    parser.add_argument('--seed', type=int, default=0, help='mutate')
    parser.add_argument('--domain', type=int, default=91, help='ROS domain')
    options = parser.parse_args()
    return parts[options.what](options)


if __name__ == '__main__':
    sys.exit(main())
