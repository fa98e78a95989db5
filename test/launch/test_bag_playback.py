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

"""A bag, played twice round by rosbag2 through the simulated radio, on a real ROS 2.

Needs a sourced ROS 2 with ``ros2 bag`` and the built packages; skipped with the reason where
there is none.
"""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
from pathlib import Path

import pytest

NEEDED = 'needs ROS 2 with rosbag2: source it, "colcon build", source install/setup.bash'
# Not 'launch': from a clone the bare directory of that name would do.
launch_pytest = pytest.importorskip('launch_pytest', reason=NEEDED)
pytest.importorskip('cooptrack_msgs.msg', reason=NEEDED)
pytest.importorskip('rosbag2_py', reason=NEEDED)

from rclpy.qos import qos_profile_sensor_data  # noqa: E402

from cooptrack_core.datasets.v2x_seq import V2XSeqDataset  # noqa: E402
from cooptrack_msgs.msg import ChannelStatus, InstanceFeatures, Latency, TrackedObjects  # noqa: E402
from cooptrack_ros.bags import write_dataset_bag  # noqa: E402

TEST = Path(__file__).parents[1]
for room in ('core/datasets', 'core/perception', 'launch'):
    sys.path.insert(0, str(TEST / room))
import graphs  # noqa: E402
from builder import Spec, build_v2x_seq  # noqa: E402
from processes import Client  # noqa: E402
from small_models import save_pair  # noqa: E402

DOMAIN = 110 + os.getpid() % 40
EXITS: dict[str, int] = {}


@launch_pytest.fixture(scope='module')
def graph():
    directory = Path(tempfile.mkdtemp(prefix='cooptrack_bag_'))
    dataset = V2XSeqDataset(build_v2x_seq(directory / 'dataset', Spec(frames=15)).root)
    write_dataset_bag(dataset.scenes[0], directory / 'bag')
    agent, cooperative = save_pair(directory)
    # Values for one node alone, by its name.
    file = directory / 'mine.yaml'
    file.write_text(
        '/roadside/agent:\n  ros__parameters:\n    dtype: fp32\n'
        '    most_instances: 2\n    message_hz: 5.0\n'
    )
    return graphs.cooperative(
        DOMAIN,
        EXITS,
        bag=directory / 'bag',
        agent_weights=agent,
        cooperative_weights=cooperative,
        params_file=file,
        channel='true',
        latency_ms=20,
        rate=0.25,
        start_delay=5.0,
    )


@pytest.fixture
def client():
    made = Client(DOMAIN)
    yield made
    made.close()


@pytest.mark.launch(fixture=graph)
def test_a_bag_is_tracked_twice_round_with_messages_through_the_radio(client):
    tracks = client.listen('/cooptrack/tracks', TrackedObjects)
    latency = client.listen('/cooptrack/latency', Latency)
    radio = client.listen('/cooptrack/channel_status', ChannelStatus)
    sent = client.listen(
        '/v2x/roadside/instance_features', InstanceFeatures, qos_profile_sensor_data
    )

    def frames_with_messages_in_each_lap():
        laps = {m.sequence_id for m in tracks}
        fused = [m for m in latency if m.peers]
        return len(laps) >= 2 and len(fused) >= 6 and radio and radio[-1].links

    client.until(frames_with_messages_in_each_lap, 'two laps', patience_s=240.0)
    (link,) = radio[-1].links
    assert (link.agent_id, link.topic) == ('roadside', 'instance_features')
    assert link.sent + link.duplicated == link.delivered + link.lost + link.in_flight
    assert link.latency == pytest.approx(0.02)
    # The link takes its 20 ms; ROS time moves in steps of the clock.
    waits = [p.sent_to_received for m in latency for p in m.peers]
    assert min(waits) > 0.005
    assert client.parameters('/roadside/agent', ['dtype']) == ['fp32']
    # What the sender left out: every other frame, all but two instances, and no number.
    assert max(len(m.track_ids) for m in sent) == 2
    stamps = [m.header.stamp.sec + m.header.stamp.nanosec * 1e-9 for m in sent]
    steps = [b - a for a, b in itertools.pairwise(stamps) if b > a]
    assert min(steps) > 0.15
    # The radio loses what is under way when the bag begins again, at most the last of a lap.
    numbers = [m.sequence for m in sent]
    for (a, before), (b, after) in itertools.pairwise(zip(numbers, stamps, strict=True)):
        assert b == a + 1 or (after < before and b == a + 2)


@pytest.mark.launch(fixture=graph, shutdown=True)
def test_all_processes_end_with_0_on_sigint():
    assert EXITS == {'agent_node': 0, 'cooperative_node': 0, 'v2x_channel_node': 0, 'bag': 0}
