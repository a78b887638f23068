"""How well models find products and tell categories: losses and baselines side by side, over seeds."""
