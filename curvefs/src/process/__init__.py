"""What server programs share: their data folder, configuration file, metrics page. Blocking I/O at start and end only."""
