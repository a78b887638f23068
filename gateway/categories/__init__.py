"""Categories that queries are predicted to have, by the model and by their neighbours, and their use."""
