"""Files as version 1 of each format has them: what is read today must be read by every later release."""
