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

"""Clock offset and jitter of a sender: bounds that hold, and what they follow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cooptrack_core.v2x.clocks import ClockFilter, ClockSettings, PeerClocks

MS = 1_000_000
START = 1_760_000_000 * 10**9

delays = st.lists(st.integers(0, 400 * MS), min_size=1, max_size=60)
offsets = st.integers(-(10**12), 10**12)


def feed(clock, delays_ns, offset_ns=0, period_ns=100 * MS, drift=0.0, start=START):
    """Send one message per period; return the time of the receiver and the offset at the end."""
    now, offset = start, offset_ns
    for i, delay in enumerate(delays_ns):
        sent = start + i * period_ns  # receiver's clock
        # Integer arithmetic, so that equality can be asked for.
        now, offset = sent + delay, offset_ns + round(drift * (sent - start))
        clock.observe(sent - offset, now)
    return now, offset_ns + round(drift * (now - start))


@given(delays, offsets, st.floats(-99e-6, 99e-6))
def test_the_estimate_is_never_below_the_true_offset(delays_ns, offset_ns, drift):
    clock = ClockFilter()
    now, offset = feed(clock, delays_ns, offset_ns, drift=drift)
    assert clock.estimate(now).offset_ns >= offset - 2  # two roundings
    assert clock.estimate(now + 10**9).offset_ns >= offset + round(drift * 10**9) - 3


@given(delays, offsets, st.integers(0, 59))
def test_one_message_without_delay_gives_the_offset_up_to_drift(delays_ns, offset_ns, at):
    settings = ClockSettings()
    delays_ns[at % len(delays_ns)] = 0
    clock = ClockFilter(settings)
    now, offset = feed(clock, delays_ns, offset_ns)
    too_large = clock.estimate(now).offset_ns - offset
    assert 0 <= too_large <= settings.max_drift * (now - START) + 1


@given(delays, offsets)
def test_jitter_does_not_depend_on_the_offset_and_the_estimate_shifts_with_it(delays_ns, offset):
    plain, shifted = ClockFilter(), ClockFilter()
    now, _ = feed(plain, delays_ns)
    feed(shifted, delays_ns, offset)
    a, b = plain.estimate(now), shifted.estimate(now)
    assert (b.offset_ns, b.jitter_ns) == (a.offset_ns + offset, a.jitter_ns)


@given(delays, st.lists(st.integers(0, 60), max_size=5))
def test_late_messages_never_lower_the_estimate(delays_ns, late):
    before, after = ClockFilter(), ClockFilter()
    feed(before, delays_ns)
    worse = [d + 10**9 * (i in late) for i, d in enumerate(delays_ns)]
    feed(after, worse)
    now = START + 7 * 10**9
    assert after.estimate(now).offset_ns >= before.estimate(now).offset_ns


def test_the_estimate_and_the_jitter_of_a_radio_link():
    rng = np.random.default_rng(3)
    delays_ns = [round(20 * MS + abs(x)) for x in rng.normal(0, 10 * MS, 100)]
    clock = ClockFilter()
    now, _ = feed(clock, delays_ns, offset_ns=-35 * MS)
    found = clock.estimate(now)
    # Too large by the smallest delay, about 20 ms, for nothing tells it from an offset.
    assert abs(found.offset_ns - (-35 + 20) * MS) < 2 * MS
    assert 4 * MS < found.jitter_ns < 8 * MS  # the deviation of |normal(0, 10)| is 6
    assert found.samples == 100
    known = ClockFilter(ClockSettings(min_delay_ns=20 * MS))
    feed(known, delays_ns, offset_ns=-35 * MS)
    assert abs(known.estimate(now).offset_ns + 35 * MS) < 2 * MS


def test_jitter_of_normal_delays_is_their_deviation_and_a_fifth_of_stragglers_changes_little():
    rng = np.random.default_rng(4)
    delays_ns = [round(x) for x in rng.normal(300 * MS, 30 * MS, 250)]
    clock = ClockFilter(ClockSettings(window_ns=10**12))
    now, _ = feed(clock, delays_ns)
    assert abs(clock.estimate(now).jitter_ns - 30 * MS) < 4 * MS
    for i in range(0, 250, 5):
        delays_ns[i] += 5000 * MS
    dirty = ClockFilter(ClockSettings(window_ns=10**12))
    now, _ = feed(dirty, delays_ns)
    assert dirty.estimate(now).jitter_ns < 60 * MS


def test_a_clock_that_runs_ahead_is_seen_at_once_and_one_that_fell_behind_after_the_window():
    clock = ClockFilter(ClockSettings(window_ns=10**9))
    feed(clock, [10 * MS] * 5)
    clock.observe(START + 600 * MS, START + 500 * MS)  # sent in the receiver's future
    assert clock.estimate(START + 500 * MS).offset_ns == -100 * MS
    for i in range(6, 30):
        sent = START + i * 100 * MS
        clock.observe(sent - 200 * MS, sent)
        found = clock.estimate(sent).offset_ns
        assert found == 200 * MS if i > 15 else found < 0


def test_the_time_of_sending_is_preferred_and_never_mixed_with_the_capture():
    clock = ClockFilter()
    clock.observe(START - 80 * MS, START + 5 * MS)
    assert clock.estimate(START + 5 * MS).reference == 'capture'
    clock.observe(START - 80 * MS, START + 5 * MS, START)
    found = clock.estimate(START + 5 * MS)
    assert (found.offset_ns, found.samples, found.reference) == (5 * MS, 1, 'publish')
    clock.observe(START, START + 9 * MS, START - 1)  # sent before it was captured: cannot be
    assert clock.estimate(START + 9 * MS).reference == 'capture'


def test_what_is_older_than_the_window_does_not_count_and_memory_is_bounded():
    clock = ClockFilter(ClockSettings(max_samples=16))
    assert clock.estimate(START) is None
    now, _ = feed(clock, [MS] * 1000)
    assert clock.estimate(now).samples == 16
    assert clock.estimate(now + 10**11) is None


@given(st.lists(st.tuples(*[st.integers(-(2**63), 2**63 - 1)] * 3), min_size=1, max_size=20))
def test_any_stamps_are_survived(stamps):
    clock = ClockFilter()
    for captured, received, published in stamps:
        clock.observe(captured, received, published)
        found = clock.estimate(received)
        assert found is None or found.jitter_ns >= 0


@pytest.mark.parametrize(
    'wrong', [{'window_ns': 0}, {'max_samples': 0}, {'max_drift': -1.0}, {'min_delay_ns': -1}]
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match='must'):
        ClockSettings(**wrong)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60))
def test_senders_do_not_touch_each_other_and_the_longest_silent_one_makes_room(order):
    clocks = PeerClocks(max_agents=4)
    for i, sender in enumerate(order):
        now = START + i * MS
        clocks.observe(f'a{sender}', now - sender * MS, now)
    found = clocks.estimates(START + len(order) * MS)
    latest = list(dict.fromkeys(f'a{s}' for s in reversed(order)))[:4]
    assert list(found) == sorted(latest)
    drift = ClockSettings().max_drift * len(order) * MS
    for name, estimate in found.items():
        assert 0 <= estimate.offset_ns - int(name[1:]) * MS <= drift
    clocks.reset()
    assert clocks.estimates(START) == {}
