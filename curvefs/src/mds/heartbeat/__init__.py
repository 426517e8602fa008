"""What metaservers report, and the orders they get in answer."""
