"""Is there one order of all calls that explains every answer? A checker, a model of the namespace, random histories."""
