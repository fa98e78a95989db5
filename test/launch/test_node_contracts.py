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

"""Each node on a real ROS 2: its default file, its contract, its mistakes and its life.

Needs a sourced ROS 2 and the built packages (``colcon build``); skipped with the reason where
there is none.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

NEEDED = 'needs ROS 2: source it, "colcon build", source install/setup.bash'
pytest.importorskip('rclpy', reason=NEEDED)
pytest.importorskip('cooptrack_msgs.msg', reason=NEEDED)

from ament_index_python.packages import (  # noqa: E402
    PackageNotFoundError,
    get_package_share_directory,
)
from lifecycle_msgs.srv import ChangeState, GetState  # noqa: E402
from rclpy.qos import (  # noqa: E402
    DurabilityPolicy,
    ReliabilityPolicy,
    qos_profile_sensor_data,
)
from std_srvs.srv import SetBool, Trigger  # noqa: E402

from cooptrack_msgs.msg import Latency, TrackedObjects  # noqa: E402
from cooptrack_ros.nodes.generate import NODES  # noqa: E402
from cooptrack_ros.nodes.schema import constraint  # noqa: E402

try:
    SHARE = Path(get_package_share_directory('cooptrack_ros'))
except PackageNotFoundError:
    pytest.skip(NEEDED, allow_module_level=True)

TEST = Path(__file__).parents[1]
sys.path[:0] = [str(TEST / 'launch'), str(TEST / 'core' / 'datasets')]
sys.path.insert(0, str(TEST / 'core' / 'perception'))
from builder import Spec, build_v2x_seq  # noqa: E402
from processes import Client, Process  # noqa: E402
from small_models import save_pair  # noqa: E402

DOMAIN = 10 + os.getpid() % 40
LIFE = {'configure': 1, 'cleanup': 2, 'activate': 3, 'deactivate': 4}
BEST_EFFORT, RELIABLE = ReliabilityPolicy.BEST_EFFORT, ReliabilityPolicy.RELIABLE
LATCHED = DurabilityPolicy.TRANSIENT_LOCAL


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    """A dataset and a pair of weights that are fast."""
    directory = tmp_path_factory.mktemp('small')
    dataset = build_v2x_seq(directory / 'dataset', Spec(frames=15)).root
    return dataset, *save_pair(directory)


@pytest.fixture
def start(tmp_path):
    """Starts nodes; none outlives its test."""
    begun = []

    def process(executable, *arguments, **options):
        made = Process(executable, *arguments, directory=tmp_path, domain=DOMAIN, **options)
        begun.append(made)
        return made

    yield process
    for made in begun:
        made.kill()


@pytest.fixture
def client():
    made = Client(DOMAIN)
    yield made
    made.close()


def default_file(name):
    return ['--params-file', str(SHARE / 'config' / f'{name}.param.yaml')]


def state(client, node):
    return client.call(GetState, f'{node}/get_state').current_state.label


def change(client, node, transition):
    request = ChangeState.Request()
    request.transition.id = LIFE[transition]
    return client.call(ChangeState, f'{node}/change_state', transition=request.transition).success


@pytest.mark.parametrize('name', ['agent', 'cooperative'])
def test_a_perceiving_node_is_active_with_its_default_file_warns_of_nothing_and_ends_with_0(
    start, client, name
):
    node = start(f'{name}_node', *default_file(name)).until('model ')
    assert state(client, f'/{name}') == 'active'
    assert node.interrupt() == 0
    assert node.problems == []


def test_the_radio_runs_with_its_default_file_warns_of_nothing_and_ends_with_0(start, client):
    node = start('v2x_channel_node', *default_file('v2x_channel'))
    assert client.parameters('/v2x_channel', ['loss', 'max_links']) == [0.0, 64]
    assert node.interrupt() == 0
    assert node.problems == []


def test_the_player_says_what_it_needs_and_plays_with_it(start, client, small):
    needs = start('dataset_player_node', *default_file('dataset_player'))
    assert needs.wait() == 2
    assert len(needs.problems) == 1
    assert 'cooptrack simulate' in needs.problems[0]
    node = start(
        'dataset_player_node', *default_file('dataset_player'), '-p', f'dataset:={small[0]}'
    ).until('waiting for subscribers')
    assert node.interrupt() == 0
    assert node.problems == []


@pytest.mark.parametrize('name', sorted(NODES))
def test_parameters_are_those_of_the_schema_with_ranges_and_texts(start, client, small, name):
    kind = NODES[name][0]
    extra = ['-p', f'dataset:={small[0]}'] if name == 'dataset_player' else []
    if hasattr(kind, 'autostart'):
        extra = ['-p', 'autostart:=false']
    start(f'{name}_node', *default_file(name), *extra)
    fields = {f.name: f for f in kind.__dataclass_fields__.values()}
    values = dict(zip(fields, client.parameters(f'/{name}', fields), strict=True))
    for key, described in zip(fields, client.descriptors(f'/{name}', fields), strict=True):
        field = fields[key]
        assert described.description == field.metadata['text']
        assert described.read_only == (not field.metadata['dynamic'])
        assert described.additional_constraints == constraint(field.metadata)
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        if key not in ('autostart', 'dataset'):
            assert values[key] == default, key


MISTAKES = [
    ('cooperative', 'max_age_ms: 0.0', 'max_age_ms'),
    ('cooperative', 'wait_ms: 50', 'wait_ms'),
    ('agent', 'role: bus', "'bus' is unknown"),
    ('agent', 'weights: /no/such.safetensors', '/no/such.safetensors'),
    ('v2x_channel', 'loss: 2.0', 'loss'),
]


@pytest.mark.parametrize(('name', 'line', 'said'), MISTAKES, ids=[m[1] for m in MISTAKES])
def test_a_bad_value_in_a_file_ends_the_node_with_2_and_one_clear_line(
    start, tmp_path, name, line, said
):
    file = tmp_path / 'mine.yaml'
    file.write_text(f'/**:\n  ros__parameters:\n    {line}\n')
    node = start(f'{name}_node', *default_file(name), '--params-file', str(file))
    assert node.wait() == 2
    (problem,) = node.problems
    assert said in problem
    assert 'Remedy: ' in problem


def test_a_name_that_is_no_parameter_is_a_warning_with_the_nearest_one(start, client):
    node = start('v2x_channel_node', *default_file('v2x_channel'), '-p', 'latencyms:=3.0')
    client.parameters('/v2x_channel', ['loss'])
    assert node.interrupt() == 0
    assert len(node.problems) == 1, node.text
    (warning,) = node.problems
    assert "'latencyms'" in warning
    assert "did you mean 'latency_ms'?" in warning


def test_settings_of_the_radio_change_for_all_and_for_one_agent_and_bad_ones_are_refused(
    start, client
):
    start('v2x_channel_node')
    sender = client.node.create_publisher(TrackedObjects, '/v2x_tx/roadside/tracks', 5)
    heard = client.listen('/v2x/roadside/tracks', TrackedObjects, qos_profile_sensor_data)
    client.until(sender.get_subscription_count, 'the radio')
    client.until(lambda: heard or sender.publish(TrackedObjects(agent_id='x')), 'a message')
    assert heard[0].agent_id == 'x'
    assert client.set_parameter('/v2x_channel', 'latency_ms', 100.0).successful
    assert client.set_parameter('/v2x_channel', 'roadside.loss', 1.0).successful
    client.spin(0.5)
    heard.clear()
    for _ in range(5):
        sender.publish(TrackedObjects(agent_id='lost'))
    client.spin(1.0)
    assert heard == []
    refused = client.set_parameter('/v2x_channel', 'roadside.loss', 1.5)
    assert (refused.successful, 'loss must lie in' in refused.reason) == (False, True)
    refused = client.set_parameter('/v2x_channel', 'loss', 1.5)
    assert not refused.successful
    assert not client.set_parameter('/v2x_channel', 'seed', 4).successful
    assert client.set_parameter('/v2x_channel', 'roadside.loss', float('nan')).successful
    client.until(lambda: heard or sender.publish(TrackedObjects(agent_id='y')), 'a message again')


def test_thresholds_change_while_running_and_others_are_refused_with_the_reason(
    start, client, small
):
    start('cooperative_node', '-p', f'weights:={small[2]}').until('model ')
    assert client.set_parameter('/cooperative', 'max_age_ms', 700.0).successful
    assert client.set_parameter('/cooperative', 'peer_rate_hz', 5.0).successful
    assert client.parameters('/cooperative', ['max_age_ms', 'peer_rate_hz']) == [700.0, 5.0]
    refused = client.set_parameter('/cooperative', 'max_age_ms', 0.5)
    assert not refused.successful
    assert client.set_parameter('/cooperative', 'output_time', 'later').successful is False
    refused = client.set_parameter('/cooperative', 'device', 'cuda')
    assert not refused.successful
    assert refused.reason


def test_topics_have_the_quality_of_service_of_the_table(start, client, small):
    dataset, agent, cooperative = small
    start('agent_node', '-p', f'weights:={agent}', '-p', 'agent_id:=roadside', '-p',
          'role:=roadside')  # fmt: skip
    start('cooperative_node', '-p', f'weights:={cooperative}')
    start('dataset_player_node', '-p', f'dataset:={dataset}', '-p', 'loop:=true')
    wanted = {
        '/v2x/roadside/instance_features': (BEST_EFFORT, BEST_EFFORT),
        '/vehicle/front/image_raw/compressed': (RELIABLE, BEST_EFFORT),
        '/vehicle/front/camera_info': (RELIABLE, BEST_EFFORT),
    }
    published = {
        '/cooptrack/tracks': RELIABLE, '/cooptrack/detections': RELIABLE,
        '/cooptrack/markers': RELIABLE, '/cooptrack/links': RELIABLE,
        '/cooptrack/latency': RELIABLE, '/diagnostics': RELIABLE, '/tf': RELIABLE,
    }  # fmt: skip

    def found():
        ends = {
            topic: (
                client.node.get_publishers_info_by_topic(topic),
                client.node.get_subscriptions_info_by_topic(topic),
            )
            for topic in (*wanted, *published, '/tf_static', '/roadside/agent_info')
        }
        ready = all(out for out, _ in ends.values()) and all(ends[t][1] for t in wanted)
        return ends if ready else None

    client.until(found, 'all topics')
    ends = found()
    for topic, (out, into) in wanted.items():
        assert {e.qos_profile.reliability for e in ends[topic][0]} == {out}, topic
        assert {e.qos_profile.reliability for e in ends[topic][1]} == {into}, topic
    for topic, out in published.items():
        assert {e.qos_profile.reliability for e in ends[topic][0]} == {out}, topic
    for topic in ('/tf_static', '/roadside/agent_info'):
        assert {e.qos_profile.durability for e in ends[topic][0]} == {LATCHED}, topic
    (radio,) = ends['/v2x/roadside/instance_features'][0]
    assert radio.qos_profile.lifespan.nanoseconds == 10**9


def test_a_managed_node_perceives_only_while_it_is_active_and_can_go_round(start, client, small):
    dataset, agent, _ = small
    tracks = client.listen('/vehicle/tracks', TrackedObjects)
    latency = client.listen('/vehicle/latency', Latency)
    node = start(
        'agent_node', '-p', f'weights:={agent}', '-p', 'use_sim_time:=true', '-p',
        'autostart:=false', '-p', 'cameras:=[front]',
    ).until('waits for')  # fmt: skip
    start('dataset_player_node', '-p', f'dataset:={dataset}', '-p', 'loop:=true', '-p',
          'rate:=0.5', '-p', 'wait_for_s:=1.0')  # fmt: skip
    assert state(client, '/agent') == 'unconfigured'
    assert not client.call(Trigger, '/agent/reset').success
    for _ in range(2):
        assert change(client, '/agent', 'configure')
        for _ in range(2):
            assert change(client, '/agent', 'activate')
            client.until(lambda: tracks and latency, 'tracks')
            assert change(client, '/agent', 'deactivate')
            client.spin(0.3)
            tracks.clear()
            latency.clear()
            client.spin(1.0)
            assert tracks == []
        assert change(client, '/agent', 'cleanup')
        assert client.node.get_publishers_info_by_topic('/vehicle/tracks') == []
    assert state(client, '/agent') == 'unconfigured'
    assert node.interrupt() == 0
    assert [line for line in node.problems if 'frame was skipped' not in line] == []


def test_weights_that_are_missing_are_told_at_configure_and_the_node_stays(start, client):
    node = start(
        'agent_node', '-p', 'autostart:=false', '-p', 'weights:=/no/such.safetensors'
    ).until('waits for')
    assert not change(client, '/agent', 'configure')
    node.until('configure failed: file /no/such.safetensors')
    assert state(client, '/agent') == 'unconfigured'
    assert node.interrupt() == 0


def test_the_player_stands_still_steps_and_goes_on(start, client, small):
    from rosgraph_msgs.msg import Clock
    from sensor_msgs.msg import CompressedImage

    images = client.listen('/vehicle/front/image_raw/compressed', CompressedImage)
    clock = client.listen('/clock', Clock)
    start(
        'dataset_player_node', '-p', f'dataset:={small[0]}', '-p', 'start_paused:=true', '-p',
        'wait_for_s:=0.5',
    )  # fmt: skip
    client.until(lambda: clock, 'the clock')
    client.spin(1.5)
    assert images == []
    for count in (1, 2):
        assert client.call(Trigger, '/dataset_player/step').success
        client.until(lambda count=count: len(images) == count, 'an image')
        client.spin(1.0)
        assert len(images) == count
    assert client.set_parameter('/dataset_player', 'rate', 3.0).successful
    assert client.call(Trigger, '/dataset_player/resume').success
    client.until(lambda: len(images) >= 4, 'more images')
    assert client.call(Trigger, '/dataset_player/pause').success
    client.spin(0.3)
    count, last = len(images), clock[-1].clock
    client.spin(0.7)
    assert (len(images), clock[-1].clock) == (count, last)


def test_a_snapshot_holds_what_was_seen_and_the_services_answer(start, client, small, tmp_path):
    dataset, _, cooperative = small
    latency = client.listen('/cooptrack/latency', Latency)
    place = tmp_path / 'snapshots'
    start(
        'cooperative_node', '-p', f'weights:={cooperative}', '-p', 'use_sim_time:=true', '-p',
        f'snapshot_directory:={place}', '-p', 'output_time:=now',
    ).until('model ')  # fmt: skip
    assert not client.call(Trigger, '/cooperative/snapshot').success
    tracks = client.listen('/cooptrack/tracks', TrackedObjects)
    start('dataset_player_node', '-p', f'dataset:={dataset}', '-p', 'loop:=true', '-p',
          'rate:=0.5', '-p', 'wait_for_s:=1.0')  # fmt: skip
    client.until(lambda: len(latency) > 3, 'frames')
    answer = client.call(Trigger, '/cooperative/snapshot')
    assert answer.success
    (file,) = place.iterdir()
    assert answer.message.startswith(f'{file}: 3 frames')
    assert 0 < latency[-1].capture_to_start < latency[-1].capture_to_published
    assert all(m.age >= 0 for m in tracks)
    assert any(m.age > 0 for m in tracks)
    assert client.call(SetBool, '/cooperative/set_enabled', data=False).success
    assert client.call(Trigger, '/cooperative/reset').success
