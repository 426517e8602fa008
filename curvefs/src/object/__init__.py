"""Object stores: blocking and thread-safe; callers run them in threads. See protocol.py for the contract."""
