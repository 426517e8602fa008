"""Which of several addresses to try next: the leader we were told of, else the next in turn. Sans-IO."""

from collections.abc import Sequence


class Failover:
    """Remembers which address answered last.

    Redirects are followed once in a row each; an address that names itself or nobody counts as failed, and so does one
    that named a leader which does not answer.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        assert addresses, "at least one address"
        self._addresses = list(addresses)
        self._index = 0
        self._leader: str | None = None

    @property
    def addresses(self) -> list[str]:
        """Return the configured addresses."""
        return list(self._addresses)

    def current(self) -> str:
        """Return the address to try now."""
        return self._leader or self._addresses[self._index]

    def failed(self, address: str) -> None:
        """Go on to the next address: this one did not answer. Nothing changes if another one is tried already."""
        if address == self.current():
            self._leader = None
            self._index = (self._index + 1) % len(self._addresses)

    def redirected(self, address: str, leader: str) -> None:
        """Try the leader that an address named."""
        if not leader or leader == address:
            self.failed(address)
        else:
            self._leader = leader
