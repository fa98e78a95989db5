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

"""Images of one agent's cameras put together: dead cameras, late images, recordings that loop."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from cooptrack_ros.nodes.aligner import SILENT_NS, FrameAligner, Sighting

MS = 1_000_000


# --- aligner -----------------------------------------------------------------------------------


def sighting(camera, ms):
    return Sighting(camera, f'/a/{camera}', round(ms * MS), None)


def make_aligner(*cameras, on_jump=lambda: None):
    return FrameAligner(cameras, 40 * MS, on_jump)


def shape(groups):
    return [[(i.camera, i.stamp_ns // MS) for i in group] for group in groups]


def test_one_camera_needs_no_waiting():
    aligner = make_aligner('front')
    assert shape(aligner.push(sighting('front', 100))) == [[('front', 100)]]


def test_images_of_two_cameras_are_paired_with_the_nearest():
    aligner = make_aligner('front', 'rear')
    assert aligner.push(sighting('rear', 70)) == []
    assert aligner.push(sighting('front', 100)) == []
    groups = aligner.push(sighting('rear', 110))
    assert shape(groups) == [[('front', 100), ('rear', 110)]]


def test_a_dead_camera_is_left_out_after_a_while_and_counted():
    aligner = make_aligner('front', 'rear')
    aligner.push(sighting('front', 100))
    assert aligner.poll(150 * MS) == []
    assert shape(aligner.poll(190 * MS)) == [[('front', 100)]]
    assert aligner.counts['camera_missing'] == 1


def test_a_stamp_that_does_not_advance_is_dropped_and_a_jump_back_starts_anew():
    jumps = []
    aligner = make_aligner('front', on_jump=lambda: jumps.append(1))
    aligner.push(sighting('front', 5000))
    assert aligner.push(sighting('front', 5000)) == []
    assert aligner.push(sighting('front', 4900)) == []
    assert aligner.counts['stamp_backwards'] == 2
    assert not jumps
    assert shape(aligner.push(sighting('front', 100))) == [[('front', 100)]]
    assert len(jumps) == 1


def test_a_ring_of_slow_cameras_stays_together():
    """At one image per second each camera is silent for longer than a fast one may be."""
    names = ('front', 'right', 'left', 'back')
    aligner, groups = make_aligner(*names), []
    for second in range(1, 6):
        for name in reversed(names):
            groups += aligner.push(sighting(name, 1000 * second))
            groups += aligner.poll((1000 * second + 5) * MS)
    expected = [[(n, 1000 * second) for n in names] for second in range(1, 6)]
    assert shape(groups) == expected
    # A camera that really is dead is not waited for, whatever its period was.
    for second in (6, 7, 8):
        for name in ('back', 'left', 'right'):
            groups += aligner.push(sighting(name, 1000 * second))
    assert aligner.silent() == ('front',)
    assert [len(g) for g in groups[5:]] == [3, 3, 3]


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=40),
    st.lists(st.booleans(), min_size=40, max_size=40),
)
def test_no_image_is_used_twice_and_groups_are_tight(jitter, dropped):
    aligner, groups, laps = make_aligner('front', 'rear'), [], range(3)
    for _lap in laps:  # the same bag again and again
        aligner.reset()
        for i, late in enumerate(jitter):
            groups += aligner.push(sighting('front', 100 * i))
            if not dropped[i]:
                groups += aligner.push(sighting('rear', 100 * i + late))
        groups += aligner.poll(10**15)
    assert len(groups) == len(laps) * len(jitter)
    assert all(abs(a.stamp_ns - b.stamp_ns) <= 40 * MS for g in groups for a, b in
               itertools.combinations(g, 2))  # fmt: skip
    used = [id(i) for g in groups for i in g]
    assert len(used) == len(set(used))
    kept = sum(not d for d in dropped[: len(jitter)])
    assert sum(len(g) == 2 for g in groups) == len(laps) * kept


# Per image: camera, gap to the one before in ms, and whether it is lost.
streams = st.lists(
    st.tuples(st.sampled_from(['front', 'rear', 'left']), st.integers(0, 60), st.booleans()),
    max_size=80,
)


@given(streams, st.integers(1, 3))
def test_whatever_comes_groups_are_tight_grow_in_time_and_use_no_image_twice(stream, laps):
    jumps, groups = [], []
    aligner = make_aligner('front', 'rear', 'left', on_jump=lambda: jumps.append(len(groups)))
    for lap in range(laps):
        now = 10_000
        for camera, gap, lost in stream:
            now += gap
            if not lost:
                groups += aligner.push(sighting(camera, now))
        groups += aligner.poll((now + 1000) * MS)
        if lap < laps - 1:
            aligner.reset()
            jumps.append(len(groups))
    for group in groups:
        anchor, *others = group
        assert len({i.camera for i in group}) == len(group)
        assert all(abs(i.stamp_ns - anchor.stamp_ns) <= 40 * MS for i in others)
    for begin, end in itertools.pairwise([0, *jumps, len(groups)]):
        stamps = [g[0].stamp_ns for g in groups[begin:end]]
        assert all(a < b for a, b in itertools.pairwise(stamps))
    used = [id(i) for g in groups for i in g]
    assert len(used) == len(set(used))


@given(st.integers(5, 30), st.integers(5, 30), st.integers(8, 30))
def test_when_the_first_camera_dies_the_next_one_takes_over_until_it_is_back(before, dead, after):
    aligner, groups = make_aligner('front', 'rear'), []
    for i in range(before + dead + after):
        if not before <= i < before + dead:
            groups += aligner.push(sighting('front', 100 * i))
        groups += aligner.push(sighting('rear', 100 * i + 10))
    groups += aligner.poll(10**15)
    anchors = [(g[0].camera, g[0].stamp_ns // MS) for g in groups]
    assert [t for c, t in anchors if c == 'front'] == [
        100 * i for i in range(before + dead + after) if not before <= i < before + dead
    ]
    # Half a second of silence is waited for; what comes later is not lost.
    rears = [t for c, t in anchors if c == 'rear']
    limit = SILENT_NS // MS
    expected = [100 * i + 10 for i in range(before, before + dead)]
    silent_from = 100 * (before - 1) + limit
    assert {t for t in expected if t > silent_from} <= set(rears) <= set(expected)


def test_a_first_camera_that_never_comes_is_not_waited_for():
    aligner, groups = make_aligner('front', 'rear'), []
    for i in range(20):
        groups += aligner.push(sighting('rear', 100 * i))
    assert aligner.silent() == ('front',)
    assert [g[0].stamp_ns // MS for g in groups][-1] == 1900


def test_a_dead_second_camera_costs_waiting_only_at_first():
    aligner, waited = make_aligner('front', 'rear'), 0
    aligner.push(sighting('rear', 0))
    for i in range(20):
        waited += not aligner.push(sighting('front', 100 * i))
        aligner.poll((100 * i + 90) * MS)
    assert waited == 5  # until it is silent for half a second
    assert aligner.silent() == ('rear',)


def test_images_of_the_lap_before_that_come_late_do_not_start_another_lap():
    jumps = []
    aligner = make_aligner('front', 'rear', on_jump=lambda: jumps.append(1))
    for i in range(100):
        aligner.push(sighting('front', 100 * i))
        aligner.push(sighting('rear', 100 * i))
    groups = aligner.push(sighting('front', 0))  # the new lap
    groups += aligner.push(sighting('rear', 10_000))  # late
    for i in range(20):
        groups += aligner.push(sighting('rear', 100 * i))
        groups += aligner.push(sighting('front', 100 * i + 100))
    assert len(jumps) == 1
    assert aligner.counts['stamp_of_the_lap_before'] == 1
    assert shape(groups)[:2] == [
        [('front', 0), ('rear', 0)],
        [('front', 100), ('rear', 100)],
    ]


def test_a_camera_that_really_is_ahead_after_a_jump_is_not_shut_out_for_good():
    aligner, groups = make_aligner('front', 'rear'), []
    for camera in ('front', 'rear'):
        aligner.push(sighting(camera, 20_000))
    aligner.push(sighting('front', 0))  # jumps back and dies
    for i in range(60):
        groups += aligner.push(sighting('rear', 30_000 + 100 * i))
    assert groups
