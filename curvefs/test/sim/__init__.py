"""A seeded simulator of whole groups: simulated network, disks and clocks around the code that a metaserver runs."""
