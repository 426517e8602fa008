"""Metaservers and copysets: who is there (registration, health) and what goes where (placement)."""
