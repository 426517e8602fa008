"""``gc``: objects that nothing refers to, and objects that are missing."""
