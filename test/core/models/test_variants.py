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

"""CoopTrack without one of its parts: what a part does is gone, and nothing else."""

from __future__ import annotations

import pytest
import torch
from small import config, frame, model, remote

from cooptrack_core.errors import InputError
from cooptrack_core.models.cooptrack.config import CooperationConfig
from cooptrack_core.models.cooptrack.interface import FrameOutputs
from cooptrack_core.models.cooptrack.variants import VARIANTS, leave_out, parts_of, without

COOPERATION = CooperationConfig(block=8, score_threshold=0.0, affinity_threshold=0.0)
WHOLE = model(config(cooperation=COOPERATION), confident=3.0)  # so that tracks live on


def frames(*parts: str, count: int = 3) -> list[FrameOutputs]:
    network = without(WHOLE, parts) if parts else WHOLE
    memory, outputs = None, []
    with torch.inference_mode():
        for index in range(count):
            result, memory = network(frame(index), memory, [remote(5)])
            outputs.append(result)
    return outputs


def test_without_mdfe_no_motion_feature_is_left() -> None:
    result = frames('mdfe', count=1)[0]
    assert not result.mdfe_motion.any()
    assert not result.remotes[0].motion.any()
    assert frames(count=1)[0].remotes[0].motion.any()


def test_without_caa_features_stay_and_places_move() -> None:
    sent = remote(5)
    result, whole = (frames(*parts, count=1)[0].remotes[0] for parts in (('caa',), ()))
    torch.testing.assert_close(result.feats, sent.query_feats[result.kept])
    torch.testing.assert_close(result.refs, whole.refs)
    assert not torch.allclose(whole.feats, result.feats)


def test_without_gba_pairs_come_from_the_rule() -> None:
    assert frames('gba', count=1)[0].remotes[0].affinity is None
    assert frames(count=1)[0].remotes[0].affinity is not None


def test_the_history_counts_from_the_second_frame_on() -> None:
    whole, short, none = frames(), frames('history_1'), frames('history_0')
    torch.testing.assert_close(short[0].queries.boxes, whole[0].queries.boxes)
    assert not torch.allclose(short[-1].reasoned_motion, whole[-1].reasoned_motion)
    # Without any look back motion features pass as they are.
    torch.testing.assert_close(none[0].reasoned_motion, none[0].mdfe_motion)


def test_all_slots_are_the_whole_model() -> None:
    slots = WHOLE.config.history
    assert slots == 4
    longest = frames('history_3')
    torch.testing.assert_close(longest[2].queries.boxes, frames()[2].queries.boxes)


@pytest.mark.parametrize('name', VARIANTS)
def test_every_variant_runs_and_leaves_the_weights_alone(name: str) -> None:
    before = {key: value.clone() for key, value in WHOLE.state_dict().items()}
    changed = without(WHOLE, parts_of(name))
    assert changed.config != WHOLE.config
    assert changed.config.parts == leave_out(changed.config, parts_of(name)).parts
    for key, value in changed.state_dict().items():
        assert torch.equal(value, before[key])


def test_an_unknown_part_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match='there is no part') as caught:
        leave_out(WHOLE.config, ['cca'])
    assert 'caa' in str(caught.value)


def test_single_agent_weights_have_no_parts_to_leave_out() -> None:
    with pytest.raises(InputError, match='cooperation'):
        leave_out(config(cooperation=None), ['gba'])
