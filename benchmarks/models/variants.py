"""The models that are compared: settings of `lookalike train` by the name that tables give them."""

from __future__ import annotations

from embedder.evaluation.retrieval import PLAIN, Options

__all__ = ["VARIANTS", "of_section", "options_of"]

Settings = dict[str, object]

_NO_METRIC: Settings = {"metric_loss": "none"}
# Contrasting within a batch wants several photos of a product in it.
_SIDE_BY_SIDE: Settings = {"sampler": "product"}
_INDEX_WHITENED = "backbone, whitened on the index"

BASELINES: dict[str, Settings] = {
    "backbone": {"head": "none"},
    _INDEX_WHITENED: {"head": "none"},
    "backbone, whitened within products": {"head": "none", "whitening": True},
}

VARIANTS: dict[str, Settings] = BASELINES | {
    "flat": {"head": "flat", **_NO_METRIC},
    "DHC, β = 0": {**_NO_METRIC, "dependence_weight": 0.0},
    "DHC": _NO_METRIC,
    "DHC, class-balanced": {**_NO_METRIC, "class_balance": 0.999},
    "DHC + Proxy-Anchor": {"metric_loss": "proxy_anchor"},
    "DHC + Proxy-Anchor, no dropout": {"metric_loss": "proxy_anchor", "dropout": 0.0},
    "DHC + ArcFace": {"metric_loss": "arcface"},
    "DHC + SupCon": {"metric_loss": "supcon", **_SIDE_BY_SIDE},
    "DHC + SupCon, hard pairs": {"metric_loss": "supcon", "hard_negatives": True, **_SIDE_BY_SIDE},
    "DHC + HiMulCon": {"metric_loss": "himulcon", **_SIDE_BY_SIDE},
    "flat + Proxy-Anchor": {"head": "flat", "metric_loss": "proxy_anchor"},
    "DHC, β = 0, + Proxy-Anchor": {"metric_loss": "proxy_anchor", "dependence_weight": 0.0},
    "DHC + Proxy-Anchor, free projection": {"metric_loss": "proxy_anchor", "projection_share": 1.0},
    "DHC + Proxy-Anchor + title words": {"metric_loss": "proxy_anchor", "title_loss": "softmax"},
}

_QUOTED: dict[str, Settings] = BASELINES | {
    "default": {},
    "default, free projection": {"projection_share": 1.0},
    "default, fine-tuned": {"fine_tune": True},
    "default, fine-tuned all the way": {"fine_tune": True, "fine_tune_share": 1.0},
}

_SHARES: dict[str, Settings] = {"0: backbone frozen": {}} | {
    f"{share:g}": {"fine_tune": True, "fine_tune_epochs": 8, "fine_tune_share": share}
    for share in (0.3, 0.5, 0.7, 1.0)
}

_SECTIONS: dict[str, dict[str, Settings]] = {
    "ablation": VARIANTS,
    "shares": _SHARES,
    "quoted": _QUOTED,
    "folds": _QUOTED,
    "made-up": _QUOTED,
}


def options_of(name: str) -> Options:
    """Returns how a model's vectors are searched for."""
    return Options(whiten=True) if name == _INDEX_WHITENED else PLAIN


def of_section(section: str) -> dict[str, Settings]:
    """Returns the models that a section compares."""
    return _SECTIONS[section]
