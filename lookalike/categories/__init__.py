"""Categories of photos: whole paths of a tree, how probable they are, and what their neighbours say."""
