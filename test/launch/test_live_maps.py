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

"""Maps on a real ROS 2: two agents' nodes, what they publish, and a peer that sends rubbish.

Needs a sourced ROS 2 and the built packages (``colcon build``); skipped with the reason where
there is none.
"""

from __future__ import annotations

import copy
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

NEEDED = 'needs ROS 2: source it, "colcon build", source install/setup.bash'
# Not 'launch': from a clone the bare directory of that name would do.
launch_pytest = pytest.importorskip('launch_pytest', reason=NEEDED)
pytest.importorskip('cooptrack_msgs.msg', reason=NEEDED)

from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from nav_msgs.msg import OccupancyGrid  # noqa: E402
from rclpy.qos import (  # noqa: E402
    DurabilityPolicy,
    QoSProfile,
    ReliabilityPolicy,
    qos_profile_sensor_data,
)
from sensor_msgs.msg import Image  # noqa: E402
from vision_msgs.msg import LabelInfo  # noqa: E402
from visualization_msgs.msg import MarkerArray  # noqa: E402

from cooptrack_msgs.msg import BevFeature, FusionStatus  # noqa: E402
from cooptrack_ros.conversions import stamp_to_ns  # noqa: E402

TEST = Path(__file__).parents[1]
for room in ('core/datasets', 'core/models', 'core/perception', 'launch'):
    sys.path.insert(0, str(TEST / room))
import graphs  # noqa: E402
from builder import Spec, build_v2x_seq  # noqa: E402
from map_frames import weights_file  # noqa: E402
from processes import Client  # noqa: E402

DOMAIN = 160 + os.getpid() % 40
EXITS: dict[str, int] = {}
LATCHED = QoSProfile(
    depth=1,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
    reliability=ReliabilityPolicy.RELIABLE,
)
GRIDS = [f'/cooptrack/bev/{name}' for name in ('vehicle', 'drivable', 'lane')]


@launch_pytest.fixture(scope='module')
def graph():
    directory = Path(tempfile.mkdtemp(prefix='cooptrack_maps_'))
    dataset = build_v2x_seq(directory / 'dataset', Spec(frames=15)).root
    return graphs.cooperative(
        DOMAIN,
        EXITS,
        dataset=dataset,
        map='true',
        tracks='false',
        map_weights=weights_file(directory / 'map.safetensors'),
        rate=0.25,
    )


@pytest.fixture
def client():
    made = Client(DOMAIN)
    yield made
    made.close()


@pytest.mark.launch(fixture=graph)
def test_maps_of_two_agents_are_fused_and_published_in_every_form(client):
    for topic in GRIDS:
        client.listen(topic, OccupancyGrid, LATCHED)
    labels = client.listen('/cooptrack/bev/label_info', LabelInfo, LATCHED)
    semantic = client.listen('/cooptrack/bev/semantic', Image)
    markers = client.listen('/cooptrack/bev/markers', MarkerArray)
    status = client.listen('/cooptrack/bev/fusion_status', FusionStatus)
    sent = client.listen('/v2x/roadside/bev_feature', BevFeature, qos_profile_sensor_data)
    health = client.listen('/diagnostics', DiagnosticArray)

    def fused():
        maps = [s for m in health for s in m.status if s.name == 'bev_map: maps']
        return any(int(v.value) > 3 for s in maps for v in s.values if v.key == 'fused')

    client.until(lambda: all(client.heard.values()) and fused(), 'fused maps')
    assert sent[-1].agent_id == 'roadside'
    for topic in GRIDS:
        grid = client.heard[topic][-1]
        assert (grid.header.frame_id, grid.info.width, grid.info.height) == ('map', 256, 256)
        assert grid.info.resolution == pytest.approx(0.390625)
        assert set(np.unique(grid.data)) <= {-1, *range(101)}
    image = semantic[-1]
    assert (image.encoding, image.height, image.width) == ('mono8', 256, 256)
    known = {c.class_id for c in labels[-1].class_map}
    assert set(np.unique(np.frombuffer(image.data, np.uint8))) <= known
    assert all(m.header.frame_id == 'map' for a in markers for m in a.markers)
    for message in status:
        assert message.received == message.accepted + sum(message.rejected_counts)


@pytest.mark.launch(fixture=graph)
def test_maps_of_a_bad_peer_are_counted_and_stop_nothing(client):
    good = client.listen('/v2x/roadside/bev_feature', BevFeature, qos_profile_sensor_data)
    status = client.listen('/cooptrack/bev/fusion_status', FusionStatus)
    out = client.node.create_publisher(
        BevFeature, '/v2x/rogue/bev_feature', qos_profile_sensor_data
    )
    client.until(lambda: good and status and out.get_subscription_count(), 'a subscriber')

    def rejections():
        for message in (good[-1], BevFeature()):
            out.publish(copy.deepcopy(message))
        peers = {p.agent_id: p for p in status[-1].peers}
        return sum(peers['rogue'].rejected_counts) if 'rogue' in peers else 0

    client.until(lambda: rejections() >= 10, 'rejections')
    grids = client.listen(GRIDS[0], OccupancyGrid, LATCHED)
    client.until(
        lambda: len({stamp_to_ns(m.header.stamp) for m in grids}) >= 3, 'maps after the attack'
    )


@pytest.mark.launch(fixture=graph, shutdown=True)
def test_all_nodes_end_with_0_on_sigint():
    assert EXITS == {'bev_map_node': 0, 'dataset_player_node': 0}
