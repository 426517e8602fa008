"""``curvefs-tool``: everything an operator does. One file per command; main.py lists them."""
