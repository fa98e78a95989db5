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


"""Wrong poses, wrong clocks, blind cameras and late messages, in the replay and in the model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fakes import MS, frame, message
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import camera_frame, save_pair

from cooptrack_core.geometry import SE3
from cooptrack_core.models.cooptrack.preprocess import prepare_frame
from cooptrack_core.perception import AgentPerception, load_model
from cooptrack_core.perception.cooperative import to_remote
from cooptrack_core.perception.disturbance import Disturbance, MisalignedMessage
from cooptrack_core.perception.stream import EgoMoment, RadioStream, StreamOptions
from cooptrack_core.structures import AgentFrame, InstanceMessage, Role
from cooptrack_core.v2x import decode_message, encode_message
from cooptrack_core.v2x.inbox import MessageInbox

PERIOD = 100


@dataclass(frozen=True)
class Sent:
    """Stands for AgentResult."""

    message: InstanceMessage


class Sender:
    """Stands for AgentPerception; remembers the frames it got."""

    model = SimpleNamespace(code=None)

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id
        self.frames: list[AgentFrame] = []

    def process(self, taken: AgentFrame) -> Sent:
        self.frames.append(taken)
        return Sent(message(self.agent_id, taken.stamp_ns, len(self.frames) - 1))

    def reset(self) -> None:
        self.frames.clear()


def replay(options: StreamOptions, frames: int = 20) -> tuple[list[EgoMoment], RadioStream]:
    inbox = MessageInbox('model', 'vehicle', options.inbox_settings())
    stream = RadioStream('vehicle', lambda f: Sender(f.agent_id), inbox, options)  # type: ignore[arg-type,return-value]
    captured = [
        frame(name, PERIOD * k + after)
        for k in range(frames)
        for name, after in (('vehicle', 0), ('roadside', 10), ('roadside_1', 20))
    ]
    return list(stream.replay(captured)), stream


def poses(moments: list[EgoMoment]) -> dict[tuple[str, int], bytes]:
    return {
        (m.agent_id, m.stamp_ns): m.world_SE3_agent.matrix.tobytes()
        for moment in moments
        for m in moment.messages
    }


def test_without_disturbance_the_message_is_the_very_same() -> None:
    sent = message('roadside', 5, 0)
    nothing = Disturbance()
    assert nothing.sent(sent) is sent
    assert nothing.received(sent) is sent
    taken = frame('roadside', 0)
    assert nothing.frame(taken) is taken


@settings(max_examples=30)
@given(
    metres=st.floats(0, 5),
    degrees=st.floats(0, 20),
    stamp=st.integers(-(2**40), 2**62),
    seed=st.integers(0, 2**31),
)
def test_an_error_is_a_step_in_the_plane_and_a_turn_about_the_vertical(
    metres: float, degrees: float, stamp: int, seed: int
) -> None:
    noise = Disturbance(pose_noise_m=metres, pose_noise_deg=degrees, seed=seed)
    tilted = SE3.from_quaternion([0.9, 0.1, -0.05, 0.4], [4e5, -2e6, 20.0])
    right = replace(message('roadside', stamp, 0), world_SE3_agent=tilted)
    wrong = noise.wrong_pose(right, stamp)
    assert wrong.translation[2] == 20.0
    turn = wrong.rotation @ tilted.rotation.T
    np.testing.assert_allclose(turn[2], [0, 0, 1], atol=1e-12)
    # Nobody draws ten standard deviations.
    assert np.abs(wrong.translation - tilted.translation).max() <= 10 * metres + 1e-6
    assert abs(np.arctan2(turn[1, 0], turn[0, 0])) <= np.radians(10 * degrees) + 1e-9 or (
        degrees > 18
    )


def test_errors_have_the_spread_that_the_message_admits() -> None:
    noise = Disturbance(pose_noise_m=0.3, pose_noise_deg=2.0)
    own = np.diag([0.01, 0.02, 0.03, 0.0, 0.0, 0.04])
    errors = []
    for k in range(3000):
        right = replace(message('roadside', k * PERIOD * MS, k), pose_covariance=own)
        wrong = noise.sent(right)
        step = wrong.world_SE3_agent.translation - right.world_SE3_agent.translation
        yaw = wrong.world_SE3_agent.yaw - right.world_SE3_agent.yaw
        errors.append([step[0], step[1], yaw])
    admitted = (wrong.pose_covariance - own)[np.ix_((0, 1, 5), (0, 1, 5))]
    np.testing.assert_allclose(np.diag(admitted), [0.09, 0.09, np.radians(2) ** 2])
    seen = np.cov(np.array(errors).T)
    np.testing.assert_allclose(np.diag(seen), np.diag(admitted), rtol=0.1)
    scale = np.sqrt(np.diag(admitted))
    assert np.abs(seen / np.outer(scale, scale) - np.eye(3)).max() < 0.1


def test_errors_depend_on_seed_agent_and_capture_but_not_on_order_or_loss() -> None:
    noisy = StreamOptions(disturbance=Disturbance(pose_noise_m=1.0, seed=7))
    whole = poses(replay(noisy)[0])
    lossy = poses(replay(replace(noisy, loss=0.4, latency_ms=30, jitter_ms=60))[0])
    assert lossy
    assert lossy.items() <= whole.items()
    assert len(set(whole.values())) == len(whole) == 40
    assert poses(replay(noisy)[0]) == whole
    other = poses(replay(replace(noisy, disturbance=replace(noisy.disturbance, seed=8)))[0])
    assert not set(other.values()) & set(whole.values())


def test_a_stronger_error_is_the_same_error_enlarged() -> None:
    sent = message('roadside', 12345, 0)
    small, large = (Disturbance(pose_noise_m=m).sent(sent) for m in (0.5, 1.5))
    np.testing.assert_allclose(
        large.world_SE3_agent.translation, 3 * small.world_SE3_agent.translation
    )


def test_the_wrong_pose_crosses_the_air_with_its_covariance() -> None:
    wrong = Disturbance(pose_noise_m=0.2, pose_noise_deg=1.0).sent(message('roadside', 5, 0))
    heard = decode_message(encode_message(wrong))
    np.testing.assert_allclose(heard.world_SE3_agent.matrix, wrong.world_SE3_agent.matrix)
    np.testing.assert_allclose(heard.pose_covariance, wrong.pose_covariance, rtol=1e-5)
    assert heard.pose_covariance[0, 0] > 0


@pytest.mark.parametrize('skew', [-150, -60, 60])
def test_a_wrong_clock_shifts_stamps_but_neither_captures_nor_arrivals(skew: int) -> None:
    right, wrong = (
        replay(StreamOptions(disturbance=Disturbance(clock_skew_ms=s)))[0] for s in (0, skew)
    )
    for a, b in zip(right, wrong, strict=True):
        assert [(e.sent_ns, e.arrival_ns) for e in a.events] == [
            (e.sent_ns, e.arrival_ns) for e in b.events
        ]
        assert [m.stamp_ns + skew * MS for m in a.messages] == [m.stamp_ns for m in b.messages]
        assert all(m.messages for m in wrong)


def test_a_clock_too_far_ahead_is_refused_unless_tolerated() -> None:
    ahead = StreamOptions(disturbance=Disturbance(clock_skew_ms=300))
    moments, stream = replay(ahead)
    assert not any(m.messages for m in moments)
    assert stream.inbox.stats.rejected == {'from_future': 40}
    moments, stream = replay(replace(ahead, future_tolerance_ms=400))
    assert stream.inbox.stats.rejected == {}
    assert all(m.messages for m in moments)


def test_the_same_capture_draws_the_same_error_whatever_its_clock_says() -> None:
    at = Disturbance(pose_noise_m=1.0, pose_noise_at='alignment')
    skewed = replace(at, clock_skew_ms=80)
    sent = message('roadside', 5 * MS, 0)
    a, b = (d.received(d.sent(sent)) for d in (at, skewed))
    assert isinstance(a, MisalignedMessage)
    assert isinstance(b, MisalignedMessage)
    assert a.alignment_SE3_agent is not None
    assert b.alignment_SE3_agent is not None
    assert b.stamp_ns - a.stamp_ns == 80 * MS
    assert (
        a.alignment_SE3_agent.matrix.tobytes()
        == b.alignment_SE3_agent.matrix.tobytes()
        == Disturbance(pose_noise_m=1.0).sent(sent).world_SE3_agent.matrix.tobytes()
    )


def test_blind_roadside_units_get_no_image_and_vehicles_keep_theirs() -> None:
    blind = Disturbance(blind_roadside=True)
    assert blind.frame(camera_frame('roadside', 0)).images == ()
    vehicle = camera_frame('vehicle_1', 0)
    assert vehicle.role is Role.VEHICLE
    assert blind.frame(vehicle) is vehicle
    _, stream = replay(StreamOptions(disturbance=blind), 2)
    assert all(not f.images for a in stream.agents.values() for f in a.frames)  # type: ignore[attr-defined]


def test_without_compensation_messages_seem_captured_with_the_ego_frame() -> None:
    for latency in (0, 230):
        moments, _ = replay(StreamOptions(latency_ms=latency, compensate=False))
        late, _ = replay(StreamOptions(latency_ms=latency))
        heard = [m for moment in moments for m in moment.messages]
        assert heard
        for moment, usual in zip(moments, late, strict=True):
            assert all(m.stamp_ns == moment.frame.stamp_ns for m in moment.messages)
            # They are the same messages otherwise.
            assert [(m.agent_id, m.sequence) for m in moment.messages] == [
                (m.agent_id, m.sequence) for m in usual.messages
            ]


def test_half_a_second_late_is_too_late_for_the_nodes_but_can_be_let_in() -> None:
    late = StreamOptions(latency_ms=500)
    moments, stream = replay(late)
    assert not any(m.messages for m in moments)
    assert set(stream.inbox.stats.rejected) == {'too_old'}
    moments, stream = replay(replace(late, max_age_ms=700))
    assert stream.inbox.stats.rejected == {}
    ages = [m.frame.stamp_ns - sent.stamp_ns for m in moments for sent in m.messages]
    assert len(ages) >= 2 * (20 - 7)
    assert 400 * MS <= min(ages) <= max(ages) <= 600 * MS


def test_an_impossible_age_is_refused() -> None:
    with pytest.raises(ValueError, match='max_age_ns'):
        StreamOptions(max_age_ms=0).inbox_settings()


@pytest.fixture(scope='module')
def models(tmp_path_factory: pytest.TempPathFactory) -> Any:
    agent, cooperative = save_pair(tmp_path_factory.mktemp('weights'))
    return load_model(agent), load_model(cooperative)


def aligned(models: Any, noise: Disturbance) -> Any:
    """What alignment makes of a message that crossed the air under that noise."""
    sender = camera_frame('roadside', 0, position=(430.0, -190.0, 20.0), yaw=-2.5)
    sent = noise.sent(AgentPerception(models[0], 'roadside', 1).process(sender).message)
    heard = noise.received(decode_message(encode_message(sent, 'fp32')))
    ego, network = camera_frame('vehicle', 0), models[1].network
    remote = to_remote(heard, ego, models[1].device)
    inputs = prepare_frame(ego, network.config, models[1].device)
    return network(inputs, None, [remote])[0].remotes[0]


def test_noise_at_the_alignment_moves_features_and_nothing_else(models: Any) -> None:
    right = aligned(models, Disturbance())
    wrong = aligned(
        models, Disturbance(pose_noise_m=0.5, pose_noise_deg=10, pose_noise_at='alignment')
    )
    assert len(right.refs) > 0
    for name in ('kept', 'refs', 'boxes', 'covariance'):
        assert bool((getattr(right, name) == getattr(wrong, name)).all()), name
    for name in ('feats', 'embeds', 'motion'):
        assert bool((getattr(right, name) != getattr(wrong, name)).any()), name


def test_noise_everywhere_moves_places_too(models: Any) -> None:
    right = aligned(models, Disturbance())
    wrong = aligned(models, Disturbance(pose_noise_m=0.5, pose_noise_deg=1.0))
    both = right.kept & wrong.kept
    assert bool(both.any())
    a, b = (x.boxes[both[x.kept]] for x in (right, wrong))
    assert float((a - b).abs().max()) > 0.05


def test_a_blind_roadside_unit_says_nothing_at_first(models: Any) -> None:
    blind = Disturbance(blind_roadside=True)
    taken = blind.frame(camera_frame('roadside', 0))
    result = AgentPerception(models[0], 'roadside', 1).process(taken)
    assert len(decode_message(encode_message(result.message))) == len(result.message)


def test_the_extra_pose_never_crosses_the_air(tmp_path: Path) -> None:
    noise = Disturbance(pose_noise_m=1.0, pose_noise_at='alignment')
    sent = message('roadside', 5, 0)
    misaligned = noise.received(sent)
    assert isinstance(misaligned, MisalignedMessage)
    assert encode_message(misaligned) == encode_message(sent)
    assert type(decode_message(encode_message(misaligned))) is InstanceMessage
