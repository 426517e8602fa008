"""A TCP proxy in front of each metaserver, for clients: it can cut connections, refuse them, and hold bytes back.

Bytes that were held are delivered afterwards, so that old requests arrive when nobody counts on them any more.
"""

import trio

from curvefs.src.common.errors import Unreachable

CHUNK_SIZE = 64 << 10


class Proxies:
    """One proxy per address. ``address()`` is what a client is to connect to instead.

    ``find``: where an address takes connections at the time; a restarted metaserver may take sessions elsewhere.
    """

    def __init__(self, find):
        self._find = find
        self._proxies = {}

    async def run(self, addresses, *, task_status=trio.TASK_STATUS_IGNORED):
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            for address in addresses:
                proxy = self._proxies[address] = _Proxy(address, self._find)
                await nursery.start(proxy.run)
            task_status.started()

    def address(self, address):
        """Return the proxy's address for a metaserver's."""
        return self._proxies[address].listening

    def cut(self, address):
        """End all connections, without a word more."""
        self._proxies[address].cut()

    async def refuse(self, address, seconds):
        """Cut, and take no new connection for some time."""
        proxy = self._proxies[address]
        proxy.refusing = True
        try:
            proxy.cut()
            await trio.sleep(seconds)
        finally:
            proxy.refusing = False

    async def hold(self, address, seconds):
        """Deliver nothing in either direction for some time, then all of it."""
        proxy = self._proxies[address]
        proxy.flowing = trio.Event()
        try:
            await trio.sleep(seconds)
        finally:
            proxy.flowing.set()


class _Proxy:
    """Of one metaserver."""

    def __init__(self, address, find):
        self._address = address
        self._find = find
        self._scopes = set()
        self.listening = ""
        self.refusing = False
        self.flowing = trio.Event()
        self.flowing.set()

    async def run(self, task_status):
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.listening = f"127.0.0.1:{listener.socket.getsockname()[1]}"
        task_status.started()
        await trio.serve_listeners(self._serve, [listener])

    def cut(self):
        for scope in self._scopes:
            scope.cancel()

    async def _serve(self, client):
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                async with client:
                    if not self.refusing:
                        await self._join(client, scope)
            except* (OSError, Unreachable):
                pass  # the metaserver is away: the client sees its connection end
            finally:
                self._scopes.discard(scope)

    async def _join(self, client, scope):
        host, _, port = (await self._find(self._address)).rpartition(":")
        server = await trio.open_tcp_stream(host, int(port))
        async with server, trio.open_nursery() as nursery:
            nursery.start_soon(self._pass_on, client, server, scope)
            nursery.start_soon(self._pass_on, server, client, scope)

    async def _pass_on(self, source, sink, scope):
        try:
            while data := await source.receive_some(CHUNK_SIZE):
                await self.flowing.wait()
                await sink.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        scope.cancel()  # neither side ever closes one half only
