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

"""The launch file on a real ROS 2: nodes start, track, survive a loop and a bad peer, and end.

Needs a sourced ROS 2 and the built packages (``colcon build``); skipped with the reason where
there is none.
"""

from __future__ import annotations

import copy
import itertools
import os
import sys
import tempfile
from pathlib import Path

import pytest

NEEDED = 'needs ROS 2: source it, "colcon build", source install/setup.bash'
# Not 'launch': from a clone the bare directory of that name would do.
launch_pytest = pytest.importorskip('launch_pytest', reason=NEEDED)
pytest.importorskip('cooptrack_msgs.msg', reason=NEEDED)

from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from rclpy.qos import qos_profile_sensor_data  # noqa: E402
from vision_msgs.msg import Detection3DArray  # noqa: E402
from visualization_msgs.msg import MarkerArray  # noqa: E402

from cooptrack_msgs.msg import FusionStatus, InstanceFeatures, TrackedObjects  # noqa: E402
from cooptrack_ros.conversions import stamp_to_ns  # noqa: E402

TEST = Path(__file__).parents[1]
for room in ('core/datasets', 'core/perception', 'launch'):
    sys.path.insert(0, str(TEST / room))
import graphs  # noqa: E402
from builder import Spec, build_v2x_seq  # noqa: E402
from processes import Client  # noqa: E402
from small_models import save_pair  # noqa: E402

DOMAIN = 60 + os.getpid() % 40
EXITS: dict[str, int] = {}


@launch_pytest.fixture(scope='module')
def graph():
    directory = Path(tempfile.mkdtemp(prefix='cooptrack_launch_'))
    dataset = build_v2x_seq(directory / 'dataset', Spec(frames=15)).root
    agent, cooperative = save_pair(directory)
    return graphs.cooperative(
        DOMAIN,
        EXITS,
        dataset=dataset,
        agent_weights=agent,
        cooperative_weights=cooperative,
        rate=0.25,
    )


@pytest.fixture
def listener():
    made = Client(DOMAIN)
    yield made
    made.close()


@pytest.mark.launch(fixture=graph)
def test_tracks_detections_and_markers_appear_and_go_on_when_the_recording_loops(listener):
    kinds = {
        '/cooptrack/tracks': TrackedObjects,
        '/cooptrack/detections': Detection3DArray,
        '/cooptrack/markers': MarkerArray,
        '/gt/markers': MarkerArray,
        '/diagnostics': DiagnosticArray,
    }
    for topic, kind in kinds.items():
        listener.listen(topic, kind)
    tracks = listener.heard['/cooptrack/tracks']
    listener.until(
        lambda: (
            all(listener.heard.values())
            and len({m.sequence_id for m in tracks if m.objects}) >= 2
            and len([m for m in tracks if m.sequence_id == tracks[-1].sequence_id]) > 3
        ),
        'tracks in two laps',
    )
    # Inside a lap stamps grow; a new lap is another sequence.
    for first, second in itertools.pairwise(tracks):
        assert second.sequence_id != first.sequence_id or stamp_to_ns(
            second.header.stamp
        ) > stamp_to_ns(first.header.stamp)
    assert all(m.header.frame_id == 'map' and m.agent_id == 'vehicle' for m in tracks)
    # Detections are the same tracks; the two subscriptions may begin one frame apart.
    said = {(stamp_to_ns(m.header.stamp), *(str(o.track_id) for o in m.objects)) for m in tracks}
    detections = listener.heard['/cooptrack/detections']
    also = {(stamp_to_ns(m.header.stamp), *(d.id for d in m.detections)) for m in detections}
    assert len(also - said) <= 2
    assert len(also) > 3
    box = [m for a in listener.heard['/cooptrack/markers'] for m in a.markers if m.action == 0]
    assert box
    assert all(m.color.a > 0 and m.header.frame_id == 'map' for m in box)
    names = {s.name for m in listener.heard['/diagnostics'] for s in m.status}
    wanted = {'cooperative: perception', 'cooperative: camera front', 'agent: camera front'}
    assert wanted <= names
    assert {s.hardware_id for m in listener.heard['/diagnostics'] for s in m.status} == {
        'vehicle',
        'roadside',
    }


@pytest.mark.launch(fixture=graph)
def test_a_bad_peer_is_counted_and_stops_nothing(listener):
    listener.listen('/v2x/roadside/instance_features', InstanceFeatures, qos_profile_sensor_data)
    listener.listen('/cooptrack/fusion_status', FusionStatus)
    out = listener.node.create_publisher(
        InstanceFeatures, '/v2x/rogue/instance_features', qos_profile_sensor_data
    )
    good = listener.heard['/v2x/roadside/instance_features']
    status = listener.heard['/cooptrack/fusion_status']
    listener.until(lambda: good and status and out.get_subscription_count(), 'a subscriber')

    def rogue_rejections():
        for message in (good[-1], InstanceFeatures()):
            bad = copy.deepcopy(message)
            bad.boxes = [float('nan')] * len(bad.boxes)
            out.publish(bad)
        peers = {p.agent_id: p for p in status[-1].peers}
        return sum(peers['rogue'].rejected_counts) if 'rogue' in peers else 0

    listener.until(lambda: rogue_rejections() >= 20, 'rejections')
    used = next(p.used for p in status[-1].peers if p.agent_id == 'roadside')
    listener.until(
        lambda: next(p.used for p in status[-1].peers if p.agent_id == 'roadside') > used,
        'messages of the good peer used after the attack',
    )
    for message in status:
        assert message.received == message.accepted + sum(message.rejected_counts)


@pytest.mark.launch(fixture=graph)
def test_topics_have_their_types(listener):
    wanted = {
        '/clock': 'rosgraph_msgs/msg/Clock',
        '/cooptrack/tracks': 'cooptrack_msgs/msg/TrackedObjects',
        '/cooptrack/detections': 'vision_msgs/msg/Detection3DArray',
        '/cooptrack/markers': 'visualization_msgs/msg/MarkerArray',
        '/cooptrack/agents': 'visualization_msgs/msg/MarkerArray',
        '/cooptrack/links': 'visualization_msgs/msg/MarkerArray',
        '/cooptrack/latency': 'cooptrack_msgs/msg/Latency',
        '/roadside/latency': 'cooptrack_msgs/msg/Latency',
        '/cooptrack/fusion_status': 'cooptrack_msgs/msg/FusionStatus',
        '/roadside/tracks': 'cooptrack_msgs/msg/TrackedObjects',
        '/v2x/roadside/instance_features': 'cooptrack_msgs/msg/InstanceFeatures',
        '/vehicle/front/image_raw/compressed': 'sensor_msgs/msg/CompressedImage',
        '/vehicle/front/camera_info': 'sensor_msgs/msg/CameraInfo',
        '/tf_static': 'tf2_msgs/msg/TFMessage',
        '/gt/tracks': 'cooptrack_msgs/msg/TrackedObjects',
    }

    def known():
        found = dict(listener.node.get_topic_names_and_types())
        return {topic: found.get(topic, [''])[0] for topic in wanted}

    listener.until(lambda: known() == wanted, f'{wanted}')


@pytest.mark.launch(fixture=graph, shutdown=True)
def test_all_nodes_end_with_0_on_sigint():
    assert EXITS == {'agent_node': 0, 'cooperative_node': 0, 'dataset_player_node': 0}
