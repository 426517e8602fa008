"""Commands about files: ``info`` and ``compact``."""
