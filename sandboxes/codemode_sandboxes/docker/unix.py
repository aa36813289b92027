"""Connections to a daemon's socket that are closed where nobody answers; those of the SDK stay open then."""

import socket
from typing import Any

from docker.transport import unixconn  # type: ignore[import-untyped]

__all__ = ["use_closing_connections"]


def use_closing_connections(api: Any) -> None:
    """Have an `APIClient` make its connections so, where they are to a unix socket."""
    given = getattr(api, "_custom_adapter", None)
    if not isinstance(given, unixconn.UnixHTTPAdapter):
        return
    adapter = _Adapter(given.socket_path, timeout=given.timeout, max_pool_size=given.max_pool_size)
    given.close()
    api._custom_adapter = adapter
    api.mount("http+docker://", adapter)


class _Connection(unixconn.UnixHTTPConnection):  # type: ignore[misc]
    def connect(self) -> None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(self.timeout)
            connection.connect(self.unix_socket)
        except BaseException:
            connection.close()
            raise
        self.sock = connection


class _Pool(unixconn.UnixHTTPConnectionPool):  # type: ignore[misc]
    def _new_conn(self) -> _Connection:
        return _Connection(self.base_url, self.socket_path, self.timeout)


class _Adapter(unixconn.UnixHTTPAdapter):  # type: ignore[misc]
    def get_connection(self, url: str, proxies: object = None) -> _Pool:
        with self.pools.lock:
            pool: _Pool | None = self.pools.get(url)
            if pool is None:
                pool = _Pool(url, self.socket_path, self.timeout, maxsize=self.max_pool_size)
                self.pools[url] = pool
            return pool
