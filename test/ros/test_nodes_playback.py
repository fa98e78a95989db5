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

"""Playing can be paused, stepped and set to another speed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cooptrack_ros.nodes.playback import PAUSE_NS, Playback

MS = 1_000_000
STAMPS = [10**9 + k * 50 * MS for k in range(6)]
EGO = STAMPS[1::2]


def play(playback, seconds, begin=0.0, step=0.01):
    """Tick for a while; return the events and times."""
    due, times, at = [], [], begin
    for _ in range(round(seconds / step)):
        at += step
        tick = playback.tick(at)
        due += tick.due
        times.append(tick.now_ns)
    return due, times, at


def test_time_stands_still_while_it_is_paused_and_goes_on_where_it_stood():
    playback = Playback(STAMPS, 1.0, False)
    due, _, at = play(playback, 0.7)
    assert due == [0, 1]
    playback.pause()
    due, times, at = play(playback, 5.0, at)
    assert (due, len(set(times))) == ([], 1)
    assert playback.paused
    playback.resume()
    due, times, _ = play(playback, 0.2, at)
    assert due == [2, 3, 4, 5]
    assert not playback.paused


def test_a_step_shows_one_frame_of_the_ego_and_ends_before_the_next_one():
    playback = Playback(STAMPS, 1.0, True, paused=True, steps_ns=EGO)
    shown, at = [], 0.0
    for _ in range(3):
        due, _, at = play(playback, 1.0, at)
        assert due == []
        playback.step()
        due, _, at = play(playback, 2.0, at)
        shown.append(due)
    assert shown == [[0, 1, 2], [3, 4], [5]]
    # The lap is over; the next step begins a new one.
    playback.step()
    due, _, _ = play(playback, 2.0, at)
    assert due == [0, 1, 2]


def test_two_steps_at_once_show_two_frames():
    playback = Playback(STAMPS, 1.0, False, paused=True, steps_ns=EGO)
    playback.tick(0.0)
    playback.step()
    playback.step()
    due, _, _ = play(playback, 3.0)
    assert due == [0, 1, 2, 3, 4]


def test_the_rate_changes_while_it_plays_and_time_does_not_jump():
    playback = Playback(STAMPS, 1.0, False)
    play(playback, 0.3)
    before = playback.tick(0.3).now_ns
    playback.rate = 10.0
    assert playback.tick(0.31).now_ns == pytest.approx(before + 100 * MS, abs=10)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(['pause', 'resume', 'step', 'go', 'go', 'go']), st.floats(0, 0.3)
        ),
        max_size=40,
    )
)
def test_whatever_is_asked_events_come_once_and_in_order(asked):
    playback, at, due, last = Playback(STAMPS, 1.0, False, steps_ns=EGO), 0.0, [], 0
    for what, seconds in asked:
        if what != 'go':
            getattr(playback, what)()
        at += seconds
        tick = playback.tick(at)
        assert tick.now_ns >= last
        last = tick.now_ns
        due += tick.due
    assert due == list(range(len(due)))
    assert all(STAMPS[i] <= last for i in due)
    assert STAMPS[0] - PAUSE_NS <= last or not asked
