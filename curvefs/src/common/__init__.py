"""What every program shares: ids, errors, exit codes, clocks, configuration, logs, metrics. No I/O of its own."""
