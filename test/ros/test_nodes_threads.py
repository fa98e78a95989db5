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

"""What the nodes do between callbacks and model, without rclpy: slot, worker, aligner, gate."""

from __future__ import annotations

import itertools
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cooptrack_core.perception.stream import RadioStream, StreamOptions
from cooptrack_core.v2x import InboxSettings, MessageInbox
from cooptrack_core.v2x.budget import RateLimits
from cooptrack_ros.bags import bag_types, typestore
from cooptrack_ros.conversions import message_to_features
from cooptrack_ros.conversions.cdr import CdrChecker
from cooptrack_ros.conversions.instances import TYPE
from cooptrack_ros.nodes.gate import FusionGate
from cooptrack_ros.nodes.playback import PAUSE_NS, Playback
from cooptrack_ros.nodes.worker import LatestSlot, Worker

sys.path.insert(0, str(Path(__file__).parents[1] / 'core' / 'perception'))
from fakes import frame, message

MS = 1_000_000


# --- slot and worker ---------------------------------------------------------------------------


def test_a_newer_item_replaces_an_older_one_and_is_counted():
    slot = LatestSlot()
    for item in (1, 2, 3):
        slot.put(item)
    assert slot.take(0.0) == 3
    assert slot.take(0.0) is None
    assert (slot.received, slot.dropped) == (3, 2)


def test_the_worker_skips_to_the_newest_item_while_it_is_busy():
    begun, go_on, seen = threading.Event(), threading.Event(), []

    def work(item, current):
        seen.append(item)
        begun.set()
        assert go_on.wait(10)

    worker = Worker(work, lambda: None, lambda error: None)
    worker.start()
    worker.offer(1)
    assert begun.wait(10)
    for item in (2, 3, 4):
        worker.offer(item)
    go_on.set()
    wait_until(lambda: worker.done == 2)
    assert worker.stop()
    assert seen == [1, 4]
    assert worker.slot.dropped == 2


def test_an_error_is_told_and_the_thread_goes_on():
    errors = []

    def work(item, current):
        if item == 'bad':
            raise ValueError('bad item')

    worker = Worker(work, lambda: None, errors.append)
    worker.start()
    worker.offer('bad')
    wait_until(lambda: worker.failed == 1)
    worker.offer('good')
    wait_until(lambda: worker.done == 1)
    assert worker.stop()
    assert [str(e) for e in errors] == ['bad item']


def test_after_a_reset_memory_is_dropped_in_the_thread_before_the_next_item():
    log, begun, go_on = [], threading.Event(), threading.Event()

    def work(item, current):
        begun.set()
        assert go_on.wait(10)
        log.append((item, current(), threading.current_thread().name))

    worker = Worker(
        work, lambda: log.append(('forget', threading.current_thread().name)), lambda error: None
    )
    worker.start()
    worker.offer('old')
    assert begun.wait(10)
    worker.offer('waiting')
    worker.reset()  # while 'old' is in work and 'waiting' waits
    go_on.set()
    wait_until(lambda: worker.done == 1)
    worker.offer('new')
    wait_until(lambda: worker.done == 2)
    assert worker.stop()
    # What belonged to the past is not current any more, and 'waiting' was never begun.
    assert log == [
        ('old', False, 'perception'),
        ('forget', 'perception'),
        ('new', True, 'perception'),
    ]


def wait_until(condition):
    pause = threading.Event()
    for _ in range(1000):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError('did not happen within 10 s')


# --- gate --------------------------------------------------------------------------------------


def make_gate(wait_ms=50, model='model'):
    return FusionGate(MessageInbox(model, 'vehicle'), wait_ms * MS, 'map')


def features(agent_id, ms, sequence, world='map'):
    core = message(agent_id, round(ms * MS), sequence)
    return message_to_features(bag_types(), core, 'int8', world_frame_id=world)


def test_a_message_captured_after_the_wait_is_kept_for_the_next_frame():
    gate = make_gate()
    assert gate.receive(features('roadside', 1000, 0), 'roadside', 1010 * MS)
    assert gate.receive(features('roadside', 1080, 1), 'roadside', 1085 * MS)
    assert [m.stamp_ns // MS for m in gate.messages(1000 * MS)] == [1000]
    assert [m.stamp_ns // MS for m in gate.messages(1100 * MS)] == [1080]


def test_a_message_is_handed_out_again_until_it_is_too_old_or_a_newer_one_comes():
    gate = make_gate()
    gate.receive(features('roadside', 1000, 0), 'roadside', 1010 * MS)

    def found(ms):
        return [m.stamp_ns // MS for m in gate.messages(ms * MS)]

    assert [found(ms) for ms in (1000, 1100, 1400)] == [[1000]] * 3
    gate.receive(features('roadside', 1410, 1), 'roadside', 1420 * MS)
    assert [found(ms) for ms in (1420, 1900, 1920)] == [[1410], [1410], []]


def test_the_wait_ends_with_the_clock():
    gate, clock = make_gate(), iter(range(1000, 2000, 10))
    gate.wait(1000 * MS, lambda: next(clock) * MS, lambda: False)
    assert next(clock) == 1060


def test_the_wait_ends_early_when_every_sender_has_a_capture_after_the_frame():
    gate = make_gate()
    gate.receive(features('roadside', 1000, 0), 'roadside', 1005 * MS)
    gate.wait(1000 * MS, lambda: 1006 * MS, lambda: False)  # would not end otherwise
    gate.receive(features('roadside_1', 990, 0), 'roadside_1', 1007 * MS)
    asked = itertools.count()
    gate.wait(1000 * MS, lambda: 1008 * MS, lambda: next(asked) > 3)
    assert next(asked) > 4  # the other sender was waited for until it was given up


def test_the_wait_ends_when_the_node_ends_while_the_clock_stands():
    make_gate().wait(1000 * MS, lambda: 0, lambda: True)


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        ({'world_frame_id': 'odom'}, 'malformed'),
        ({'agent_id': 'somebody'}, 'wrong_topic'),
        ({'model_id': 'other'}, 'model'),
        ({'schema_version_major': 9}, 'version'),
        ({'data': None}, 'malformed'),
        ({'shape': [3, 2]}, 'malformed'),
        ({'boxes': 'nan'}, 'not_finite'),
    ],
)
def test_a_bad_message_is_dropped_counted_and_raises_nothing(change, reason):
    gate, bad = make_gate(), features('roadside', 1000, 0)
    for name, value in change.items():
        old = getattr(bad, name)
        new = {'data': lambda old=old: old[:-1], 'boxes': lambda old=old: old * float('nan')}
        setattr(bad, name, new[name]() if name in new else value)
    verdict = gate.receive(bad, 'roadside', 1010 * MS)
    assert not verdict
    assert str(verdict.reason) == reason
    stats = gate.stats
    assert (stats.received, stats.accepted, stats.rejected) == (1, 0, {reason: 1})
    assert gate.receive(features('roadside', 1000, 1), 'roadside', 1010 * MS)


def serialized_gate(limits=None, deserialize=None):
    store = typestore()
    return FusionGate(
        MessageInbox('model', 'vehicle'), 50 * MS, 'map', limits=limits,
        checker=CdrChecker(store, TYPE, 1 << 20, 64),
        deserialize=deserialize or (lambda data: store.deserialize_cdr(data, TYPE)),
    )  # fmt: skip


def on_the_air(agent_id, ms, sequence):
    return bytes(typestore().serialize_cdr(features(agent_id, ms, sequence), TYPE))


def test_a_serialized_message_is_taken_with_its_true_size_and_its_clock_is_followed():
    gate = serialized_gate()
    data = on_the_air('roadside', 1000, 0)
    assert gate.receive_serialized(data, 'roadside', 1030 * MS, 0.0)
    assert gate.stats.bytes_received == len(data)
    assert gate.clocks(1030 * MS)['roadside'].offset_ns == 30 * MS
    gate.receive_serialized(on_the_air('roadside', 5000, 1), 'roadside', 1100 * MS, 0.1)
    assert gate.stats.rejected == {'from_future': 1}
    assert gate.clocks(1100 * MS)['roadside'].offset_ns == -3900 * MS
    gate.reset()
    assert gate.clocks(1100 * MS) == {}


def test_a_flood_is_not_decoded_and_each_message_of_it_is_counted():
    decoded = []
    store = typestore()
    limits = RateLimits(10.0, 5.0, 1e6, 1e6)
    gate = serialized_gate(
        limits, lambda data: decoded.append(1) or store.deserialize_cdr(data, TYPE)
    )
    data = on_the_air('rogue', 1000, 0)
    for _ in range(300):
        gate.receive_serialized(data, 'rogue', 1010 * MS, 7.0)
    assert len(decoded) == 5
    assert gate.receive_serialized(on_the_air('roadside', 1000, 0), 'roadside', 1010 * MS, 7.0)
    stats = gate.stats
    assert stats.peers['rogue'].rejected['rate_limited'] == 295
    assert stats.received == 301 == stats.accepted + sum(stats.rejected.values())


def test_what_the_reader_of_the_middleware_raises_ends_nothing():
    def broken(data):
        raise RuntimeError('rmw said no')

    gate = serialized_gate(deserialize=broken)
    verdict = gate.receive_serialized(on_the_air('roadside', 1000, 0), 'roadside', 0, 0.0)
    assert (str(verdict.reason), verdict.detail) == ('malformed', 'RuntimeError: rmw said no')


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=8))
def test_whatever_a_peer_sends_accepted_and_rejected_are_what_was_sent(changes):
    gate, now = serialized_gate(), 1010 * MS
    good = on_the_air('roadside', 1000, 0)
    bad = bytearray(good)
    for at, value in changes:
        bad[at % len(bad)] = value
    for data in (good, bytes(bad), bytes(bad[: changes[0][0]]), bytes(bad) + good):
        gate.receive_serialized(data, 'roadside', now, 0.0)
    stats = gate.stats
    assert stats.received == 4 == stats.accepted + sum(stats.rejected.values())
    assert set(stats.peers) == {'roadside'}  # nobody writes into the figures of another


def test_settings_change_while_running_and_counts_stay():
    gate = make_gate()
    assert gate.receive(features('roadside', 1000, 0), 'roadside', 1010 * MS)
    gate.change(wait_ns=7, settings=InboxSettings(max_age_ns=5 * MS))
    assert gate.wait_ns == 7
    assert not gate.receive(features('roadside', 1100, 1), 'roadside', 1110 * MS)
    assert gate.stats.rejected == {'too_old': 1}
    gate.change(limits=RateLimits(burst_bytes=1.0))
    assert gate.wait_ns == 7
    assert gate.stats.received == 2


def test_the_gate_gives_the_messages_that_the_offline_stream_gives():
    # Ego at 10 Hz; two senders with skews; messages arrive at capture, as without latency.
    class Sender:
        def __init__(self, agent_id):
            self.sequence = 0
            self.agent_id = agent_id

        def process(self, frame):
            class Result:
                message = message_of(frame, self.sequence)

            self.sequence += 1
            return Result

        def reset(self):
            pass

    def message_of(frame, sequence):
        return message(frame.agent_id, frame.stamp_ns, sequence)

    frames = sorted(
        [frame('vehicle', 100 * i + 7) for i in range(1, 20)]
        + [frame('roadside', 100 * i - 18) for i in range(1, 21)]
        + [frame('roadside_1', 150 * i + 33) for i in range(1, 13)],
        key=lambda f: f.stamp_ns,
    )
    stream = RadioStream(
        'vehicle', lambda f: Sender(f.agent_id), MessageInbox('model', 'vehicle'), StreamOptions()
    )
    offline = [
        [(m.agent_id, m.stamp_ns) for m in moment.messages] for moment in stream.replay(frames)
    ]
    gate, counts, live = make_gate(), {}, []
    for ego in (f for f in frames if f.agent_id == 'vehicle'):
        # The node is slow: by then it has received what came within 90 ms.
        for f in frames:
            done = counts.get(f.agent_id, -1)
            if f.agent_id != 'vehicle' and done < f.stamp_ns <= ego.stamp_ns + 90 * MS:
                sequence = len([g for g in frames if g.agent_id == f.agent_id
                                and g.stamp_ns < f.stamp_ns])  # fmt: skip
                sent = message_to_features(bag_types(), message_of(f, sequence), 'int8',
                                           world_frame_id='map')  # fmt: skip
                assert gate.receive(sent, f.agent_id, f.stamp_ns)
                counts[f.agent_id] = f.stamp_ns
        live.append([(m.agent_id, m.stamp_ns) for m in gate.messages(ego.stamp_ns)])
    assert live == offline
    assert any(len(messages) == 2 for messages in live)


# --- playback ----------------------------------------------------------------------------------


def test_events_are_due_at_their_stamps_and_the_rate():
    playback = Playback([10**9, 10**9 + 100 * MS, 10**9 + 200 * MS], rate=0.5, loop=False)
    first = playback.tick(50.0)
    assert first.new_lap
    assert (first.now_ns, list(first.due)) == (10**9 - PAUSE_NS, [])
    lead = PAUSE_NS / 1e9 / 0.5
    assert list(playback.tick(50.0 + lead - 0.001).due) == []
    assert list(playback.tick(50.0 + lead + 0.21).due) == [0, 1]
    assert list(playback.tick(50.0 + lead + 0.41).due) == [2]
    assert not playback.tick(50.0 + lead + 0.42).ended
    assert playback.tick(50.0 + lead + 0.41 + lead).ended


def test_a_lap_ends_with_a_pause_and_time_jumps_back_by_more_than_a_second():
    playback = Playback([10**9, 10**9 + 100 * MS], rate=1.0, loop=True)
    now, due, laps = [], [], 0
    for step in range(1000):
        tick = playback.tick(step * 0.01)
        now.append(tick.now_ns)
        due += tick.due
        laps += tick.new_lap
        assert not tick.ended
    jumps = [b - a for a, b in itertools.pairwise(now) if b < a]
    assert laps == len(jumps) + 1 == 8
    assert all(jump < -1000 * MS for jump in jumps)
    assert due == [0, 1] * (len(due) // 2)
