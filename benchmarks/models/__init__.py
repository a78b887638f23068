"""How well models find products and predict categories: losses and baselines side by side, over seeds."""
