"""Which collections and aliases there are, and how they come and go."""
