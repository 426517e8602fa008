"""Commands about pools, zones, servers and metaservers, and what lies on them."""
