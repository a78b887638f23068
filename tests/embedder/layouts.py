"""State dicts as other libraries and the networks' own repositories write them, made of timm's."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tests.tiny_backbones import TINY

State = dict[str, Tensor]


def renamed(state: State, *rules: tuple[str, str]) -> State:
    result = {}
    for name, value in state.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        result[name] = value
    return result


def below(prefix: str, state: State) -> State:
    return {f"{prefix}{name}": value for name, value in state.items()}


def apart(state: State, names: str) -> State:
    """Takes queries, keys and values apart; ``names`` says what a block, a part and a kind make."""
    result = {}
    for name, value in state.items():
        match = re.fullmatch(r"blocks\.(\d+)\.attn\.qkv\.(\w+)", name)
        if not match:
            result[name] = value
            continue
        for part, rows in zip(("query", "key", "value"), value.chunk(3), strict=True):
            result[names.format(block=match[1], part=part, initial=part[0], kind=match[2])] = rows
    return result


def without_head(state: State) -> State:
    return {name: value for name, value in state.items() if not name.startswith("head.")}


def open_clip_over_timm(state: State) -> State:
    """As Marqo's embeddings and open_clip's SigLIP are kept."""
    text = {"text.transformer.blocks.0.attn.qkv.weight": torch.ones(9, 3), "logit_scale": torch.ones(())}
    return below("visual.trunk.", without_head(state)) | text


def open_clip(state: State) -> State:
    """As OpenAI and open_clip keep vision transformers of their own."""
    result = renamed(
        {name: value for name, value in state.items() if not name.startswith("head.")},
        (r"^patch_embed\.proj", "conv1"),
        (r"^pos_embed$", "positional_embedding"),
        (r"^cls_token$", "class_embedding"),
        (r"^norm_pre\.", "ln_pre."),
        (r"^norm\.", "ln_post."),
        (r"\.norm(\d)\.", r".ln_\1."),
        (r"\.attn\.qkv\.", ".attn.in_proj_"),
        (r"\.attn\.proj\.", ".attn.out_proj."),
        (r"\.mlp\.fc1\.", ".mlp.c_fc."),
        (r"\.mlp\.fc2\.", ".mlp.c_proj."),
        (r"^blocks\.", "transformer.resblocks."),
    )
    result["positional_embedding"] = result["positional_embedding"][0]
    result["class_embedding"] = result["class_embedding"][0, 0]
    result["proj"] = torch.ones(24, 16)
    text = {"token_embedding.weight": torch.ones(3, 3), "transformer.resblocks.0.ln_1.weight": torch.ones(3)}
    return below("visual.", result) | text


def transformers_vit(state: State) -> State:
    names = "encoder.layer.{block}.attention.attention.{part}.{kind}"
    result = renamed(
        apart(without_head(state), names),
        (r"^cls_token$", "embeddings.cls_token"),
        (r"^pos_embed$", "embeddings.position_embeddings"),
        (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
        (r"^blocks\.", "encoder.layer."),
        (r"^norm\.", "layernorm."),
        (r"\.norm1\.", ".layernorm_before."),
        (r"\.norm2\.", ".layernorm_after."),
        (r"\.attn\.proj\.", ".attention.output.dense."),
        (r"\.mlp\.fc1\.", ".intermediate.dense."),
        (r"\.mlp\.fc2\.", ".output.dense."),
    )
    return below("vit.", result) | {"classifier.weight": torch.ones(3, 24)}


def newer_transformers_vit(state: State) -> State:
    result = renamed(
        apart(without_head(state), "layers.{block}.attention.{initial}_proj.{kind}"),
        (r"^(cls_token)$", r"embeddings.\1"),
        (r"^pos_embed$", "embeddings.position_embeddings"),
        (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
        (r"^blocks\.", "layers."),
        (r"^norm\.", "layernorm."),
        (r"\.norm1\.", ".layernorm_before."),
        (r"\.norm2\.", ".layernorm_after."),
        (r"\.attn\.proj\.", ".attention.o_proj."),
    )
    return result | {"pooler.dense.weight": torch.ones(24, 24), "pooler.dense.bias": torch.ones(24)}


def transformers_clip(state: State) -> State:
    names = "encoder.layers.{block}.self_attn.{initial}_proj.{kind}"
    result = renamed(
        apart(without_head(state), names),
        (r"^cls_token$", "embeddings.class_embedding"),
        (r"^pos_embed$", "embeddings.position_embedding.weight"),
        (r"^patch_embed\.proj\.", "embeddings.patch_embedding."),
        (r"^blocks\.", "encoder.layers."),
        (r"^norm_pre\.", "pre_layrnorm."),
        (r"^norm\.", "post_layernorm."),
        (r"\.norm(\d)\.", r".layer_norm\1."),
        (r"\.attn\.proj\.", ".self_attn.out_proj."),
        (r"^attn_pool\.latent$", "head.probe"),
        (r"^attn_pool\.norm\.", "head.layernorm."),
        (r"^attn_pool\.proj\.", "head.attention.out_proj."),
        (r"^attn_pool\.mlp\.", "head.mlp."),
    )
    result["embeddings.position_embedding.weight"] = result["embeddings.position_embedding.weight"][0]
    result["embeddings.position_ids"] = torch.arange(4)[None]
    if "embeddings.class_embedding" in result:
        result["embeddings.class_embedding"] = result["embeddings.class_embedding"][0, 0]
    for kind in ("weight", "bias"):
        if f"attn_pool.q.{kind}" in result:
            parts = [result.pop(f"attn_pool.{part}.{kind}") for part in ("q", "kv")]
            result[f"head.attention.in_proj_{kind}"] = torch.cat(parts)
    text = {"text_model.encoder.layers.0.layer_norm1.weight": torch.ones(3)}
    return below("vision_model.", result) | text | {"visual_projection.weight": torch.ones(3, 24)}


def transformers_dinov2(state: State) -> State:
    state = dinov2(state)
    names = "encoder.layer.{block}.attention.attention.{part}.{kind}"
    result = renamed(
        apart(state, names),
        (r"^(cls_token|mask_token|register_tokens)$", r"embeddings.\1"),
        (r"^pos_embed$", "embeddings.position_embeddings"),
        (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
        (r"^blocks\.", "encoder.layer."),
        (r"^norm\.", "layernorm."),
        (r"\.ls(\d)\.gamma$", r".layer_scale\1.lambda1"),
        (r"\.attn\.proj\.", ".attention.output.dense."),
    )
    return below("dinov2.", result)


def dinov2(state: State) -> State:
    result = without_head(state) | {"mask_token": torch.zeros(1, 24)}
    if "reg_token" in result:
        place = torch.full((1, 1, 24), 0.1)
        result["register_tokens"] = result.pop("reg_token")
        result["pos_embed"] = torch.cat([place, result["pos_embed"]], dim=1)
        result["cls_token"] = result["cls_token"] - place
    return result


def dinov3(state: State) -> State:
    result = renamed(
        without_head(state),
        (r"^reg_token$", "storage_tokens"),
        (r"\.gamma_(\d)$", r".ls\1.gamma"),
    )
    for block in range(2):
        width = 24
        bias = [result.pop(f"blocks.{block}.attn.{part}_bias", torch.zeros(width)) for part in "qv"]
        result[f"blocks.{block}.attn.qkv.bias"] = torch.cat([bias[0], torch.ones(width), bias[1]])
        result[f"blocks.{block}.attn.qkv.bias_mask"] = torch.ones(3 * width)
    return result | {"mask_token": torch.zeros(1, 24), "rope_embed.periods": torch.ones(3)}


def transformers_dinov3(state: State) -> State:
    result = apart(without_head(state), "layer.{block}.attention.{initial}_proj.{kind}")
    for block in range(2):
        for part in "qv":
            bias = result.pop(f"blocks.{block}.attn.{part}_bias", torch.zeros(24))
            result[f"layer.{block}.attention.{part}_proj.bias"] = bias
    result = renamed(
        result,
        (r"^cls_token$", "embeddings.cls_token"),
        (r"^reg_token$", "embeddings.register_tokens"),
        (r"^patch_embed\.proj\.", "embeddings.patch_embeddings."),
        (r"^blocks\.", "layer."),
        (r"\.gamma_(\d)$", r".layer_scale\1.lambda1"),
        (r"\.attn\.proj\.", ".attention.o_proj."),
        (r"\.mlp\.fc1\.", ".mlp.up_proj."),
        (r"\.mlp\.fc2\.", ".mlp.down_proj."),
    )
    return result | {"embeddings.mask_token": torch.zeros(1, 1, 24)}


def convnext(state: State) -> State:
    result = renamed(
        {name: value for name, value in state.items() if not name.startswith("head.fc")},
        (r"^stem\.", "downsample_layers.0."),
        (r"^stages\.(\d)\.downsample\.", r"downsample_layers.\1."),
        (r"^stages\.(\d)\.blocks\.", r"stages.\1."),
        (r"\.conv_dw\.", ".dwconv."),
        (r"\.mlp\.fc(\d)\.", r".pwconv\1."),
        (r"^head\.norm\.", "norm."),
    )
    return result | {"head.weight": torch.ones(5, 24), "head.bias": torch.ones(5)}


def transformers_convnext(state: State) -> State:
    result = renamed(
        {name: value for name, value in state.items() if not name.startswith("head.fc")},
        (r"^stem\.0\.", "embeddings.patch_embeddings."),
        (r"^stem\.1\.", "embeddings.layernorm."),
        (r"^stages\.(\d)\.downsample\.", r"encoder.stages.\1.downsampling_layer."),
        (r"^stages\.(\d)\.blocks\.", r"encoder.stages.\1.layers."),
        (r"\.conv_dw\.", ".dwconv."),
        (r"\.norm\.", ".layernorm."),
        (r"\.mlp\.fc(\d)\.", r".pwconv\1."),
        (r"\.gamma$", ".layer_scale_parameter"),
        (r"^head\.layernorm\.", "layernorm."),
    )
    return below("convnext.", result) | {"classifier.weight": torch.ones(5, 24)}


def transformers_dinov3_convnext(state: State) -> State:
    return renamed(
        {name: value for name, value in state.items() if not name.startswith("head.fc")},
        (r"^stem\.", "stages.0.downsample_layers."),
        (r"^stages\.(\d)\.downsample\.", r"stages.\1.downsample_layers."),
        (r"^stages\.(\d)\.blocks\.", r"stages.\1.layers."),
        (r"\.conv_dw\.", ".depthwise_conv."),
        (r"^head\.norm\.", "layer_norm."),
        (r"\.norm\.", ".layer_norm."),
        (r"\.mlp\.fc(\d)\.", r".pointwise_conv\1."),
    )


def of_timm(state: State) -> State:
    return state


LAYOUTS: list[tuple[str, Callable[[State], Any]]] = [
    *((kind, of_timm) for kind in TINY),
    *((kind, lambda state: {"state_dict": below("module.", state)}) for kind in TINY),
    *((kind, lambda state: {"teacher": below("backbone.", state)}) for kind in TINY),
    *(
        (kind, lambda state: {"model_ema": state, "model": {}, "args": Namespace(lr=0.1), "epoch": 3})
        for kind in TINY
    ),
    *((kind, lambda state: below("timm_model.", state)) for kind in TINY),
    *((kind, open_clip_over_timm) for kind in TINY if kind != "ConvNeXt"),
    ("CLIP", open_clip),
    ("CLIP", lambda state: below("module.", open_clip(state))),
    (
        "CLIP",
        lambda state: {
            name.removeprefix("visual."): value
            for name, value in open_clip(state).items()
            if name.startswith("visual.")
        },
    ),
    ("CLIP", transformers_clip),
    ("attention pooling", transformers_clip),
    ("class token", transformers_vit),
    ("class token", newer_transformers_vit),
    ("DINOv2", transformers_dinov2),
    ("registers", transformers_dinov2),
    ("DINOv2", dinov2),
    ("registers", dinov2),
    ("registers", lambda state: {"teacher": below("backbone.", dinov2(state))}),
    ("rotary", dinov3),
    ("rotary with biases", dinov3),
    ("rotary", transformers_dinov3),
    ("rotary with biases", transformers_dinov3),
    ("ConvNeXt", lambda state: below("visual.trunk.", state)),
    ("ConvNeXt", lambda state: {"model": convnext(state)}),
    ("ConvNeXt", transformers_convnext),
    ("ConvNeXt", transformers_dinov3_convnext),
]
