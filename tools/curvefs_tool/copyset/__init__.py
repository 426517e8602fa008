"""``curvefs-tool copyset ...``: looking at copysets and changing them."""
