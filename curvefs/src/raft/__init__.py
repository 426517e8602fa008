"""The consensus core: values in, values out, no I/O. A group has one replica until it is here."""
