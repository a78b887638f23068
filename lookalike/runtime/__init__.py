"""Server runtime shared by the three services."""
