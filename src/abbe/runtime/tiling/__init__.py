"""Images of any size in tiles: where these lie, what is kept of each, how they are joined."""
