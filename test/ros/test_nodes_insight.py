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

"""Where time goes, as messages and figures; snapshots; lines from agents to tracks."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cooptrack_core.errors import InputError
from cooptrack_core.geometry import SE3, Boxes3D, CameraModel
from cooptrack_core.perception import Association
from cooptrack_core.structures import AgentFrame, CameraImage, Role, TrackedObjects
from cooptrack_core.v2x import InboxSettings, MessageInbox
from cooptrack_ros import _compat
from cooptrack_ros.bags import bag_types
from cooptrack_ros.conversions import link_markers, message_to_features, tracks_to_message
from cooptrack_ros.nodes import snapshot
from cooptrack_ros.nodes.gate import FusionGate
from cooptrack_ros.nodes.latency import Arrival, Stages, Stopwatch, latency_to_message
from cooptrack_ros.nodes.parameters import AgentParameters
from cooptrack_ros.recordings import OpenRecording

sys.path.insert(0, str(Path(__file__).parents[1] / 'core' / 'perception'))
from fakes import message

MS = 1_000_000
TYPES = bag_types()


def through_cdr(made, name):
    store = TYPES.store
    return store.deserialize_cdr(store.serialize_cdr(made, name), name)


# --- latency -----------------------------------------------------------------------------------


def test_a_frame_tells_the_time_of_each_stage_and_of_each_message():
    watch = Stopwatch(capture_ns=1000 * MS, start_ns=1020 * MS)
    watch.stages_s.update(input=0.005, wait=0.03, perception=0.08, publication=0.002)
    arrivals = [
        Arrival('roadside', 980 * MS, 1010 * MS, 1015 * MS),
        Arrival('b', 990 * MS, None, 1030 * MS),
    ]
    made = latency_to_message(TYPES, 'vehicle', watch, 1140 * MS, arrivals)
    got = through_cdr(made, 'cooptrack_msgs/msg/Latency')
    assert got.agent_id == 'vehicle'
    assert got.capture_to_start == pytest.approx(0.02)
    assert (got.input, got.wait, got.perception, got.publication) == (0.005, 0.03, 0.08, 0.002)
    assert got.capture_to_published == pytest.approx(0.14)
    assert [p.agent_id for p in got.peers] == ['b', 'roadside']
    roadside = got.peers[1]
    parts = (
        roadside.capture_to_sent, roadside.sent_to_received, roadside.received_to_published,
    )  # fmt: skip
    assert parts == pytest.approx((0.03, 0.005, 0.125))
    assert roadside.capture_to_published == pytest.approx(sum(parts))
    assert np.isnan(got.peers[0].capture_to_sent)


def test_the_diagnostics_have_median_and_95th_percentile_of_each_stage():
    stages = Stages()
    assert stages.values() == {}
    for k in range(1, 101):
        watch = Stopwatch(0, 0)
        watch.stages_s['perception'] = k / 1e3
        stages.add(watch, k * MS)
    values = stages.values()
    assert (values['perception_p50_ms'], values['perception_p95_ms']) == ('50.5', '95.0')
    assert values['capture_to_published_p50_ms'] == '50.5'


def test_stages_follow_each_other():
    watch = Stopwatch(0, 0)
    for stage in ('input', 'wait'):
        watch.ended(stage)
    assert list(watch.stages_s) == ['input', 'wait']
    assert all(seconds >= 0 for seconds in watch.stages_s.values())


def test_the_gate_knows_when_the_messages_that_it_hands_out_came():
    gate = FusionGate(MessageInbox('model', 'vehicle', InboxSettings()), 0, 'map')
    for sequence, ms in enumerate((1000, 1050)):
        sent = message_to_features(
            TYPES, message('roadside', ms * MS, sequence), world_frame_id='map',
            publish_stamp_ns=(ms + 20) * MS,
        )  # fmt: skip
        assert gate.receive(sent, 'roadside', (ms + 30) * MS)
    (newest,) = gate.messages(1100 * MS)
    assert gate.arrivals([newest]) == [Arrival('roadside', 1050 * MS, 1070 * MS, 1080 * MS)]
    gate.reset()
    assert gate.arrivals([newest]) == []


# --- prediction --------------------------------------------------------------------------------


def tracks(velocity=(4.0, 0.0), remote=(('roadside',), ())):
    n = len(remote)
    return TrackedObjects(
        '0', '0', 1000 * MS, SE3.from_yaw(np.pi / 2, (10.0, 0.0, 0.0)),
        Boxes3D(np.zeros((n, 3)), np.ones((n, 3)), np.zeros(n), np.tile(velocity, (n, 1))),
        np.ones(n), np.zeros(n, dtype=np.int64), np.arange(n), np.ones(n, dtype=np.int64), remote,
    )  # fmt: skip


def test_tracks_that_were_predicted_say_over_how_much_time():
    later = tracks().predicted(1250 * MS)
    made = tracks_to_message(TYPES, later, SE3.identity(), age_s=0.25)
    got = through_cdr(made, 'cooptrack_msgs/msg/TrackedObjects')
    assert got.age == 0.25
    assert got.header.stamp.nanosec == 250 * MS
    # 4 m/s along the agent's x axis, which is y of the world.
    assert got.objects[0].pose.position.y == pytest.approx(1.0)
    assert tracks_to_message(TYPES, tracks(), SE3.identity()).age == 0.0


# --- links -------------------------------------------------------------------------------------

AGENTS = {
    'vehicle': (Role.VEHICLE, SE3.from_yaw(0.0, (10.0, 0.0, 0.0))),
    'roadside': (Role.ROADSIDE, SE3.from_yaw(0.0, (0.0, 30.0, 5.0))),
}


def test_a_line_goes_from_each_agent_to_each_track_that_rests_on_it():
    pair = Association('roadside', np.array([5.0, 0.0, 0.0]), np.array([6.0, 0.0, 0.0]), 0.9)
    made = link_markers(TYPES, AGENTS, tracks(), [pair], 'vehicle', lifetime_ns=10**9)
    link, association = through_cdr(made, 'visualization_msgs/msg/MarkerArray').markers
    assert (link.ns, link.action, association.ns) == ('link', 0, 'association')
    assert [(p.x, p.y, p.z) for p in link.points] == [(0.0, 30.0, 5.0), (10.0, 0.0, 0.0)]
    ends = [(p.x, p.y) for p in association.points]
    assert ends == [pytest.approx((10.0, 5.0)), pytest.approx((10.0, 6.0))]
    assert min(link.color.a, association.color.a) > 0


def test_what_an_agent_does_not_contribute_any_more_is_deleted_under_its_own_id():
    first = link_markers(TYPES, AGENTS, tracks(), [], 'vehicle').markers
    more = AGENTS | {'a': AGENTS['roadside']}
    alone = link_markers(TYPES, more, tracks(remote=((),)), [], 'vehicle').markers
    assert {m.action for m in alone} == {2}
    assert (first[0].ns, first[0].id) in {(m.ns, m.id) for m in alone}
    assert len({(m.ns, m.id) for m in alone}) == len(alone) == 4


# --- snapshots ---------------------------------------------------------------------------------


def moment(stamp_ns):
    rng = np.random.default_rng(stamp_ns)
    camera = CameraModel('front', 64, 48, np.array([[50.0, 0, 32], [0, 50.0, 24], [0, 0, 1]]),
                         SE3.identity().matrix)  # fmt: skip
    image = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
    pose = SE3.from_yaw(0.3, (5.0, 2.0, 0.0))
    frame = AgentFrame('vehicle', Role.VEHICLE, 'live_0', str(stamp_ns), stamp_ns,
                       (CameraImage(image, camera, stamp_ns),), pose, pose)  # fmt: skip
    return snapshot.Moment(frame, [message('roadside', stamp_ns, 0)], tracks())


def parameters(directory, frames=2):
    return AgentParameters(snapshot_directory=str(directory), snapshot_frames=frames)


def test_the_last_frames_are_written_without_loss_and_can_be_run_again(tmp_path):
    snapshots = snapshot.Snapshots('cooperative', parameters(tmp_path / 'new'))
    moments = [moment(10**9 + k * 100 * MS) for k in range(4)]
    for one in moments:
        snapshots.keep(one)
    said = snapshots.write()
    (path,) = (tmp_path / 'new').iterdir()
    assert said.startswith(f'{path}: 2 frames, 2 messages of roadside, ')
    with OpenRecording(path, scene='', ego_id='vehicle', on_warning=pytest.fail) as recording:
        got = list(recording.frames())
    assert [f.stamp_ns for f in got] == [m.frame.stamp_ns for m in moments[2:]]
    for one, again in zip(moments[2:], got, strict=True):
        np.testing.assert_array_equal(again.images[0].image, one.frame.images[0].image)
        np.testing.assert_allclose(
            again.world_SE3_agent.matrix, one.frame.world_SE3_agent.matrix, atol=1e-9
        )


def test_nothing_to_write_and_too_many_files_are_told(tmp_path, monkeypatch):
    snapshots = snapshot.Snapshots('cooperative', parameters(tmp_path))
    with pytest.raises(InputError, match='no frame is kept'):
        snapshots.write()
    monkeypatch.setattr(snapshot, 'MAX_FILES', 2)
    for k in range(2):
        snapshots.keep(moment(10**9 + k * 100 * MS))
        snapshots.write()
    with pytest.raises(InputError, match='remove some'):
        snapshots.write()
    snapshots.change(parameters(tmp_path / 'other', frames=0))
    with pytest.raises(InputError, match='no frame is kept'):
        snapshots.write()


def test_snapshots_go_beside_the_logs_unless_a_place_is_given(monkeypatch, tmp_path):
    monkeypatch.setenv('ROS_HOME', str(tmp_path))
    assert snapshot.snapshot_directory('') == tmp_path / 'cooptrack_snapshots'
    assert snapshot.snapshot_directory('/x') == Path('/x')


# --- reports -----------------------------------------------------------------------------------


def test_what_a_peer_sent_cannot_write_a_second_line_into_the_log():
    lines = []
    node = SimpleNamespace(get_logger=lambda: SimpleNamespace(warning=lines.append))
    _compat.Reporter(node).warn('x', 'model evil\n[FATAL] \x1b[31mbrakes\u2028failed ü')
    (line,) = lines
    assert len(line.splitlines()) == 1
    assert '\x1b' not in line
    assert line.endswith(r'evil\n[FATAL] \x1b[31mbrakes\u2028failed ü')
    _compat.Reporter(node).warn('x', 'a' * 100_000)
    assert len(lines[1]) < 600
