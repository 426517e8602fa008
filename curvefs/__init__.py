"""CurveFS: a shared POSIX filesystem on S3."""
