"""The tables that there are, a file a paper; `abbe.registry.PUBLISHED` names them."""
