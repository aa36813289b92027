"""A Ray cluster of two nodes on this machine, which the tests start when one first asks, and end."""

import atexit
import contextlib
import gc
import importlib
import os
import socket
import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

from benchmarks.boxes.processes import children, descendants

NODE = {"num_cpus": 2, "object_store_memory": 80 << 20}

ROOTS: set[int] = set()
"""The processes of the cluster that this process started. What descends from them comes and goes by itself."""

CPUS = {"CPU": 0.5}
"""What a host takes: four fit on each node."""


class OwnCluster:
    """Two nodes, which share this machine."""

    def __init__(self) -> None:
        # Ray reads its settings when it is loaded: the product sets its own before, and so must this.
        importlib.import_module("codemode_sandboxes.ray.cluster").prepare()
        from ray.cluster_utils import Cluster

        os.environ.setdefault("RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S", "120")  # other tests may load the machine
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.client_address = f"ray://127.0.0.1:{port}"
        head = {**NODE, "include_dashboard": False, "ray_client_server_port": port}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # the logs of the client's server are left open
            with _noting_roots():
                self._cluster: Any = Cluster(initialize_head=True, head_node_args=head)
            gc.collect()
        self.add_node()
        atexit.register(self.end)

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def add_node(self, **options: Any) -> Any:
        with _noting_roots():
            return self._cluster.add_node(**NODE, **options)

    def remove_node(self, node: Any, *, suddenly: bool = False) -> None:
        self._cluster.remove_node(node, allow_graceful=not suddenly)

    def end(self) -> None:
        self._cluster.shutdown()


@contextlib.contextmanager
def _noting_roots() -> Iterator[None]:
    before = set(children(os.getpid()))
    yield
    ROOTS.update(set(children(os.getpid())) - before)


def cluster_processes() -> set[int]:
    """Return the processes of this session's cluster, with the hosts and guests that are in it."""
    return ROOTS.union(*map(descendants, ROOTS))


@cache
def own_cluster() -> OwnCluster:
    """The cluster of this session."""
    return OwnCluster()
