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

"""The one map between our parameter names of CoBEVT and the official ones.

``NAME_MAP`` holds pairs of name beginnings, ``{i}`` standing for a number. Everything after the
beginning is the same on both sides. Source: reference section 13.
"""

from __future__ import annotations

from cooptrack_core.models.official_names import translated

_STAGE = 'sinbevt.stages.{i}.'
_CROSS = 'fax.cross_views.{i}.'


def _ring_attention(ours: str, number: int) -> tuple[tuple[str, str], ...]:
    a, b = f'{_STAGE}attention.{ours}_', f'{_CROSS}cross_win_attend_{number}.'
    return (
        (a + 'attention.query.', b + 'to_q.'),
        (a + 'attention.key.', b + 'to_k.'),
        (a + 'attention.value.', b + 'to_v.'),
        (a + 'attention.output.', b + 'proj.'),
        (a + 'norm.', f'{_CROSS}prenorm_{number}.'),
        (a + 'mlp.', f'{_CROSS}mlp_{number}.'),
    )


def _fusion_step(ours: str, official: str) -> tuple[tuple[str, str], ...]:
    a, b = f'fusion.layers.{{i}}.{ours}_', f'fusion_net.layers.{{i}}.{official}_'
    return (
        (a + 'attention.norm.', b + 'attention.norm.'),
        (a + 'attention.qkv.', b + 'attention.fn.to_qkv.'),
        (a + 'attention.output.', b + 'attention.fn.to_out.0.'),
        (a + 'attention.bias.', b + 'attention.fn.relative_position_bias_table.'),
        (a + 'mlp.norm.', b + 'ffd.norm.'),
        (a + 'mlp.expand.', b + 'ffd.fn.net.0.'),
        (a + 'mlp.contract.', b + 'ffd.fn.net.3.'),
        (
            f'unused.layers.{{i}}.{ours}_index',
            b + 'attention.fn.relative_position_index',
        ),
    )


def _decoder_block(block: int) -> tuple[tuple[str, str], ...]:
    # Convolution, norm and ReLU twice, in one flat list over all blocks.
    parts = {'before.0.': 0, 'before.1.': 1, 'after.0.': 3, 'after.1.': 4}
    return tuple(
        (f'decoder.blocks.{block}.{part}', f'decoder.decoder.{6 * block + k}.')
        for part, k in parts.items()
    )


# (ours, official)
NAME_MAP: tuple[tuple[str, str], ...] = (
    ('backbone.', 'encoder.encoder.'),
    # SinBEVT
    ('sinbevt.queries', 'fax.bev_embedding.learned_features'),
    (_STAGE + 'embedding.direction.', _CROSS + 'img_embed.'),
    (_STAGE + 'embedding.position.', _CROSS + 'cam_embed.'),
    (_STAGE + 'embedding.cell.', _CROSS + 'bev_embed.'),
    (_STAGE + 'keys.', _CROSS + 'feature_proj.'),
    (_STAGE + 'values.', _CROSS + 'feature_linear.'),
    *_ring_attention('local', 1),
    *_ring_attention('global', 2),
    (_STAGE + 'attention.norm.', _CROSS + 'postnorm.'),
    (_STAGE + 'refine.', 'fax.layers.{i}.'),
    (_STAGE + 'downsample.', 'fax.downsample_layers.{i}.0.'),
    ('sinbevt.self_attention.qkv.', 'fax.self_attn.to_qkv.'),
    ('sinbevt.self_attention.output.', 'fax.self_attn.to_out.0.'),
    ('sinbevt.self_attention.bias.', 'fax.self_attn.rel_pos_bias.'),
    # Radio
    ('compressor.shrink.', 'naive_compressor.encoder.'),
    ('compressor.unfold.', 'naive_compressor.decoder.'),
    # FuseBEVT
    *_fusion_step('local', 'window'),
    *_fusion_step('global', 'grid'),
    ('fusion.norm.', 'fusion_net.mlp_head.2.'),
    ('fusion.output.', 'fusion_net.mlp_head.3.'),
    # Decoder and heads
    *_decoder_block(0),
    *_decoder_block(1),
    *_decoder_block(2),
    ('heads.dynamic.', 'seg_head.dynamic_head.'),
    ('heads.static.', 'seg_head.static_head.'),
    # Released but never used
    ('unused.classifier.', 'encoder.encoder.fc.'),
    ('unused.static_head.', 'seg_head.static_head.'),
)


def official_name(name: str) -> str:
    """Return the official name of one of our parameters or buffers.

    Raises:
        KeyError: The official model has nothing of that kind.
    """
    return translated(name, NAME_MAP)
