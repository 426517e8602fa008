"""Real clusters hurt on purpose: leaders killed under load, and histories of calls checked to be linearizable.

``make chaos`` runs the long versions; curvefs/test/system/test_replicated_*.py run short ones.
"""
