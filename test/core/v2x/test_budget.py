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

"""Budgets of senders: a flood is cut to its rate, and others do not notice it."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cooptrack_core.v2x.budget import RateLimits, SenderBudget

LIMITS = RateLimits(
    messages_per_second=10.0, burst_messages=5.0, bytes_per_second=1000.0, burst_bytes=500.0
)
gaps = st.lists(st.floats(0, 1), min_size=1, max_size=60)
sizes = st.lists(st.integers(0, 600), min_size=60, max_size=60)


@given(gaps, sizes)
def test_in_no_span_of_time_more_passes_than_rate_and_burst_allow(gaps, sizes):
    budget, now, passed = SenderBudget(LIMITS), 0.0, []
    for gap, size in zip(gaps, sizes, strict=False):
        now += gap
        if budget.refusal('a', size, now) is None:
            passed.append((now, size))
    for i, j in itertools.combinations_with_replacement(range(len(passed)), 2):
        span = passed[j][0] - passed[i][0]
        assert j - i + 1 <= 5 + 10 * span + 1e-6
        assert sum(size for _, size in passed[i : j + 1]) <= 500 + 1000 * span + 1e-3


@given(st.lists(st.floats(0.1001, 3), min_size=1, max_size=60))
def test_a_sender_that_keeps_to_the_rate_is_never_refused(gaps):
    budget, now = SenderBudget(LIMITS), 0.0
    for gap in gaps:
        now += gap
        assert budget.refusal('a', 100, now) is None


@given(gaps, sizes)
def test_a_flood_of_one_sender_takes_nothing_from_another(gaps, sizes):
    alone, beside, now = SenderBudget(LIMITS), SenderBudget(LIMITS), 0.0
    for gap, size in zip(gaps, sizes, strict=False):
        now += gap
        for _ in range(20):
            beside.refusal('rogue', 400, now)
        assert alone.refusal('a', size, now) == beside.refusal('a', size, now)


def test_the_refusal_tells_which_limit_it_was():
    budget = SenderBudget(LIMITS)
    assert budget.refusal('a', 501, 0.0) == 'more than 1000 bytes per second'
    assert [budget.refusal('a', 1, 0.0) for _ in range(5)] == [None] * 5
    assert budget.refusal('a', 1, 0.0) == 'more than 10 messages per second'
    assert budget.refusal('a', 1, 0.11) is None


def test_a_clock_that_steps_back_neither_fills_nor_blocks():
    budget = SenderBudget(LIMITS)
    assert [budget.refusal('a', 1, 100.0) for _ in range(5)] == [None] * 5
    assert budget.refusal('a', 1, 50.0) is not None
    assert budget.refusal('a', 1, 50.2) is None


def test_senders_that_are_remembered_are_bounded_and_limits_change_while_running():
    budget = SenderBudget(LIMITS, max_agents=2)
    for _ in range(6):
        last = budget.refusal('a', 1, 0.0)
    assert last is not None
    for name in ('b', 'c'):  # 'a' is forgotten
        assert budget.refusal(name, 1, 0.0) is None
    assert budget.refusal('a', 1, 0.0) is None
    budget.change(RateLimits(burst_bytes=10.0))
    assert budget.refusal('a', 11, 0.0) is not None


@pytest.mark.parametrize(
    'wrong', [{'messages_per_second': 0.0}, {'burst_messages': 0.5}, {'bytes_per_second': -1.0}]
)
def test_limits_that_let_nothing_pass_are_refused(wrong):
    with pytest.raises(ValueError, match='must'):
        RateLimits(**wrong)
