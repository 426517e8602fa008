"""What server programs share: data folder, configuration file, metrics page. Blocking I/O at start and end."""
