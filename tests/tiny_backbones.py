"""Backbones of every kind, as small as they can be, in folders such as a copy of a hub's repository is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

VIT = {"embed_dim": 24, "depth": 2, "num_heads": 2}

TINY: dict[str, tuple[str, dict[str, Any]]] = {
    "convolutions": ("test_resnet", {}),
    "class token": ("vit_tiny_patch16_224", {**VIT, "img_size": 64}),
    "registers": ("vit_small_patch14_reg4_dinov2", {**VIT, "img_size": 56}),
    "rotary": ("vit_small_patch16_dinov3", {**VIT, "img_size": 64}),
    "rotary with biases": ("vit_small_patch16_dinov3_qkvb", {**VIT, "img_size": 64}),
    "CLIP": ("vit_base_patch16_clip_224", {**VIT, "img_size": 64}),
    "attention pooling": ("vit_base_patch16_siglip_224", {**VIT, "img_size": 64}),
    "DINOv2": ("vit_small_patch14_dinov2", {**VIT, "img_size": 56}),
    "ConvNeXt": ("convnext_tiny", {"depths": [1, 1, 2, 1], "dims": [8, 12, 16, 24]}),
}
"""The architecture and what makes it small, by kind."""


def tiny_backbone_in(folder: Path, kind: str, seed: int = 0) -> str:
    """Writes a model of random weights into a folder, and returns the name that it has as a backbone."""
    return backbone_in(folder, *TINY[kind], seed)


def backbone_in(folder: Path, architecture: str, options: dict[str, Any], seed: int = 0) -> str:
    """Does so for any architecture."""
    import timm
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = timm.create_model(architecture, **options)
        # What starts at a constant, or next to it, would hide that it is mixed up.
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    config = {name: value for name, value in model.pretrained_cfg.items() if name not in ("hf_hub_id", "url")}
    described = {"architecture": architecture, "model_args": options, "pretrained_cfg": config}
    (folder / "config.json").write_text(json.dumps(described))
    return f"local-dir:{folder}"
