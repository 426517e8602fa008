"""The programs and what they share; see ARCHITECTURE.md for the direction of imports."""
