"""An MDS whose store was restored from an older copy learns again what it has forgotten (rule 6)."""
