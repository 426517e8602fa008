"""The consensus core: scenarios after the paper, unit tests, random schedules."""
