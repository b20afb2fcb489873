"""A page of this machine alone on which a run is watched while it trains."""
