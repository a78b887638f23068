"""Files that must survive crashes and full disks: replacing, locking, SQLite."""
