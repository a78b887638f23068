"""Names that other libraries have for the layers of networks that timm has too, and timm's for them.

Known are open_clip (with its own towers and with those of timm), and of Hugging Face's transformers ViT,
DeiT, DINOv2, DINOv3, CLIP, SigLIP and ConvNeXt. What the networks' own repositories call otherwise is left to
timm's filters.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection

import torch
from torch import Tensor

State = dict[str, Tensor]

_STRIPPED_SHARE = 0.5
"""Of a network's layers at least must be found under what is taken for a prefix."""

_TRANSFORMERS = re.compile(
    r"(?P<prefix>.*?)"
    r"(?:embeddings\.patch_embeddings?\.(?:projection\.)?|(?:model\.)?stages\.0\.downsample_layers\.0\.)weight"
)
"""The first layer of every network of Hugging Face's transformers that is known here."""
_OPEN_CLIP = re.compile(r"(?P<prefix>.*?)(?:visual\.)?(?:class_embedding|attnpool\.positional_embedding)")

# Each is tried in turn on what those before made of a name.
_TRANSFORMER = (
    (r"^embeddings\.(?:cls_token|class_embedding)$", "cls_token"),
    (r"^embeddings\.distillation_token$", "dist_token"),
    (r"^embeddings\.(mask_token|register_tokens)$", r"\1"),
    (r"^embeddings\.(?:position_embeddings|position_embedding\.weight)$", "pos_embed"),
    (r"^embeddings\.patch_embeddings?\.(?:projection\.)?", "patch_embed.proj."),
    (r"^(?:encoder\.|model\.)?layers?\.(\d+)\.", r"blocks.\1."),
    (r"^(?:layernorm|post_layernorm)\.", "norm."),
    (r"^pre_layrnorm\.", "norm_pre."),
    (r"^head\.probe$", "attn_pool.latent"),
    (r"^head\.attention\.in_proj_", "attn_pool.qkv."),
    (r"^head\.attention\.out_proj\.", "attn_pool.proj."),
    (r"^head\.layernorm\.", "attn_pool.norm."),
    (r"^head\.mlp\.", "attn_pool.mlp."),
    (r"\.attention\.attention\.([qkv])(?:uery|ey|alue)\.", r".attn.\1."),
    (r"\.(?:self_attn|attention)\.([qkv])_proj\.", r".attn.\1."),
    (r"\.(?:attention\.output\.dense|self_attn\.out_proj|attention\.o_proj)\.", ".attn.proj."),
    (r"\.(?:layernorm_before|layer_norm1)\.", ".norm1."),
    (r"\.(?:layernorm_after|layer_norm2)\.", ".norm2."),
    (r"^(blocks\.\d+)\.intermediate\.dense\.", r"\1.mlp.fc1."),
    (r"^(blocks\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
    (r"\.mlp\.weights_in\.", ".mlp.fc1."),
    (r"\.mlp\.(?:weights_out|down_proj)\.", ".mlp.fc2."),
    (r"\.layer_scale(\d)\.lambda1$", r".ls\1.gamma"),
)
_GATED = ((r"\.mlp\.gate_proj\.", ".mlp.fc1_g."), (r"\.mlp\.up_proj\.", ".mlp.fc1_x."))
_PLAIN = ((r"\.mlp\.up_proj\.", ".mlp.fc1."),)
# Of DINOv3, which timm has in another family than ViT.
_ROTARY = ((r"\.ls(\d)\.gamma$", r".gamma_\1"), (r"^register_tokens$", "reg_token"))
_CONVNEXT = (
    (r"^model\.", ""),
    (r"^(?:embeddings\.patch_embeddings|stages\.0\.downsample_layers\.0)\.", "stem.0."),
    (r"^(?:embeddings\.layernorm|stages\.0\.downsample_layers\.1)\.", "stem.1."),
    (r"^(?:encoder\.)?stages\.(\d+)\.(?:downsampling_layer|downsample_layers)\.", r"stages.\1.downsample."),
    (r"^(?:encoder\.)?stages\.(\d+)\.layers\.", r"stages.\1.blocks."),
    (r"\.(?:dwconv|depthwise_conv)\.", ".conv_dw."),
    (r"(\.blocks\.\d+)\.(?:layernorm|layer_norm)\.", r"\1.norm."),
    (r"\.(?:pwconv|pointwise_conv)(\d)\.", r".mlp.fc\1."),
    (r"\.layer_scale_parameter$", ".gamma"),
    (r"\.grn\.", ".mlp.grn."),
    (r"^(?:layernorm|layer_norm)\.", "head.norm."),
)


def to_timm_names(state: State, wanted: Collection[str]) -> State:
    """Renames the image encoder of a state dict as far as its layout is known, and leaves out the rest.

    Args:
        state: Weights by the names of any library.
        wanted: timm's names of the network that they are for.
    """
    if (prefix := _prefix_of(state, _TRANSFORMERS)) is not None:
        return _from_transformers(_below(state, prefix), wanted)
    if (prefix := _prefix_of(state, _OPEN_CLIP)) is not None:
        # timm's filters know these names, with this before them.
        inner = _below(state, f"{prefix}visual.") or _below(state, prefix)
        return {f"visual.{name}": value for name, value in inner.items()}
    return _below(state, _common_prefix(state, wanted))


def _prefix_of(state: State, first_layer: re.Pattern[str]) -> str | None:
    """Returns what stands before the names of an encoder, known by its first layer; None without one."""
    found = [match["prefix"] for name in state if (match := first_layer.fullmatch(name))]
    return min(found, key=len, default=None)


def _below(state: State, prefix: str) -> State:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _common_prefix(state: State, wanted: Collection[str]) -> str:
    """Returns what stands before the wanted names in most places where they occur; "" if that is not many."""
    found: Counter[str] = Counter()
    for name in state:
        ends = [0, *(match.end() for match in re.finditer(r"\.", name))]
        found.update(name[:end] for end in ends if name[end:] in wanted)
    if not found:
        return ""
    best = max(found, key=lambda prefix: (found[prefix], -len(prefix)))
    return best if found[best] >= _STRIPPED_SHARE * len(wanted) else ""


def _from_transformers(state: State, wanted: Collection[str]) -> State:
    if any(".stages." in f".{name}" for name in state):
        return _renamed(state, _CONVNEXT)
    rotary = "embeddings.register_tokens" in state and "embeddings.position_embeddings" not in state
    gated = any(".mlp.gate_proj." in name for name in state)
    rules = (*_TRANSFORMER, *(_GATED if gated else _PLAIN), *(_ROTARY if rotary else ()))
    renamed = _renamed(state, rules)
    for name, axes in (("pos_embed", 3), ("cls_token", 3)):
        while name in renamed and renamed[name].ndim < axes:
            renamed[name] = renamed[name][None]
    if rotary:
        renamed.pop("mask_token", None)
    elif "register_tokens" in renamed:
        # By this, which transformers may leave out, timm's filter knows them as those of DINOv2.
        renamed.setdefault("mask_token", torch.zeros(0))
    return _fused(renamed, wanted)


def _renamed(state: State, rules: Collection[tuple[str, str]]) -> State:
    renamed = {}
    for name, value in state.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        renamed[name] = value
    return renamed


def _fused(state: State, wanted: Collection[str]) -> State:
    """Joins what attention has for queries, keys and values apart, as far as the network has it in one."""
    apart: dict[tuple[str, str], State] = defaultdict(dict)
    fused: State = {}
    for name, value in state.items():
        match = re.fullmatch(r"(blocks\.\d+\.attn)\.([qkv])\.(weight|bias)", name)
        if match:
            apart[match[1], match[3]][match[2]] = value
        elif name.startswith("attn_pool.qkv."):
            kind, width = name.rsplit(".", 1)[1], value.shape[0] // 3
            fused[f"attn_pool.q.{kind}"], fused[f"attn_pool.kv.{kind}"] = value[:width], value[width:]
        elif not name.startswith(("pooler.", "rope_embeddings.")) and not name.endswith("position_ids"):
            fused[name] = value
    for (layer, kind), parts in apart.items():
        if len(parts) == 3:
            fused[f"{layer}.qkv.{kind}"] = torch.cat([parts[part] for part in "qkv"])
            continue
        # DINOv3 has no bias for its keys, and one that is zero for the others where timm has none.
        for part, value in parts.items():
            if f"{layer}.{part}_{kind}" in wanted or bool(value.any()):
                fused[f"{layer}.{part}_{kind}"] = value
    return fused
