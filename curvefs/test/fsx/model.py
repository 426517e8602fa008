"""What the file must hold: a byte array with the operations of a file. Pure, but for being kept in a file."""

from pathlib import Path


class Model:
    """Bytes of a file. All offsets and sizes in bytes."""

    def __init__(self, content=b""):
        self.content = bytearray(content)

    def __len__(self):
        return len(self.content)

    def read(self, offset, size):
        """Return what pread(2) returns."""
        return bytes(self.content[offset : offset + size])

    def write(self, offset, data):
        """Do as pwrite(2): what lies between the end and the offset is zeros."""
        self.content.extend(bytes(max(0, offset + len(data) - len(self.content))))
        self.content[offset : offset + len(data)] = data

    def append(self, data):
        """Do as write(2) with O_APPEND."""
        self.content += data

    def truncate(self, length):
        """Do as ftruncate(2)."""
        del self.content[length:]
        self.content.extend(bytes(length - len(self.content)))

    def zero(self, offset, size, *, keep_size):
        """Do as fallocate(2) with FALLOC_FL_PUNCH_HOLE or FALLOC_FL_ZERO_RANGE."""
        if keep_size:
            size = min(size, len(self.content) - offset)
        if size > 0:
            self.write(offset, bytes(size))

    def save(self, path):
        """Keep it, for the process that goes on."""
        Path(path).write_bytes(self.content)

    @classmethod
    def load(cls, path):
        """Return what was kept; an empty file if nothing was."""
        return cls(Path(path).read_bytes() if Path(path).exists() else b"")
