"""Weaviate, a vector server in Go: the same items in a collection with an HNSW index, asked over gRPC."""

from __future__ import annotations

import importlib
import itertools
import json
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.service import generator
from benchmarks.service.data import Data, K, overlap
from benchmarks.service.subjects import Answers, Subject
from deploy.local.process import ROOT, LocalProcess, free_ports

__all__ = ["Weaviate", "weaviate"]

PROGRAM = ROOT / "build" / "tools" / "weaviate-server"
METHOD = "/weaviate.v1.Weaviate/Search"
COLLECTION = "Bench"
BATCH = 500
CALL_SECONDS = 120.0
# No proxy of the environment leads to this machine itself.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Weaviate:
    """A server of its own on free ports.

    Args:
        folder: Gets its data and its log.
    """

    def __init__(self, folder: Path) -> None:
        if not PROGRAM.exists():
            raise FileNotFoundError(f"{PROGRAM} is missing; deploy/tools/build.sh weaviate makes it")
        self._folder = folder
        self._http, self._grpc, *inner = free_ports(6)
        gossip, data, raft, inner_raft = inner
        environment = {
            "PERSISTENCE_DATA_PATH": str(folder / "data"),
            "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "true",
            "DEFAULT_VECTORIZER_MODULE": "none",
            "DISABLE_TELEMETRY": "true",
            "GRPC_PORT": str(self._grpc),
            "CLUSTER_HOSTNAME": "node1",
            "CLUSTER_ADVERTISE_ADDR": "127.0.0.1",
            "CLUSTER_GOSSIP_BIND_PORT": str(gossip),
            "CLUSTER_DATA_BIND_PORT": str(data),
            "RAFT_PORT": str(raft),
            "RAFT_INTERNAL_RPC_PORT": str(inner_raft),
            "RAFT_BOOTSTRAP_EXPECT": "1",
            "LOG_LEVEL": "warning",
        }
        command = [str(PROGRAM), "--host=127.0.0.1", f"--port={self._http}", "--scheme=http"]
        self.process = LocalProcess(command, folder / "weaviate.log", environment)

    def start(self) -> None:
        """Serves an empty store."""
        self.process.start()
        self.process.wait_until(self._is_ready)

    def _is_ready(self) -> bool:
        try:
            self.call("GET", "/v1/.well-known/ready")
        except OSError:
            return False
        return True

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Calls its REST interface.

        Raises:
            OSError: It cannot be reached, or refuses.
        """
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self._http}{path}", data, method=method)
        request.add_header("Content-Type", "application/json")
        with _DIRECT.open(request, timeout=CALL_SECONDS) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def load(self, data: Data, edges: int, ef_construction: int) -> None:
        """Writes the items into a new collection, in place of the one before.

        Raises:
            RuntimeError: Items were refused.
        """
        if self.call("GET", "/v1/schema")["classes"]:
            self.call("DELETE", f"/v1/schema/{COLLECTION}")
        texts = ("item_id", "product_id", "title", "category", "colour", "price", "image_uri")
        # Nothing is searched by text, and an inverted index of it would only cost.
        properties = [
            {"name": name, "dataType": ["text"], "indexSearchable": False, "indexFilterable": False}
            for name in texts
        ]
        index = {"distance": "dot", "maxConnections": edges, "efConstruction": ef_construction}
        self.call(
            "POST",
            "/v1/schema",
            {"class": COLLECTION, "vectorIndexConfig": index, "properties": properties, "vectorizer": "none"},
        )
        numbered = enumerate(data.items())
        while batch := list(itertools.islice(numbered, BATCH)):
            objects = [
                {
                    "class": COLLECTION,
                    "id": str(uuid.UUID(int=row)),
                    "properties": {
                        "item_id": item.item_id,
                        "product_id": item.product_id,
                        "title": item.title,
                        "category": "/".join(item.category),
                        **item.attributes,
                        "image_uri": item.image_uri,
                    },
                    "vector": np.asarray(item.embedding).tolist(),
                }
                for row, item in batch
            ]
            for result in self.call("POST", "/v1/batch/objects", {"objects": objects}):
                if result["result"].get("errors"):
                    raise RuntimeError(f"an item was refused: {result['result']['errors']}")

    def set_ef(self, ef: int) -> None:
        """Sets the breadth of searches."""
        schema = self.call("GET", f"/v1/schema/{COLLECTION}")
        schema["vectorIndexConfig"]["ef"] = ef
        self.call("PUT", f"/v1/schema/{COLLECTION}", schema)

    def subject(self, data: Data, folder: Path) -> Subject:
        """Returns searches."""
        pb2 = messages()
        truth = [{str(uuid.UUID(int=int(row))) for row in rows[:K]} for rows in data.catalogue.truth]
        requests = [
            pb2.SearchRequest(
                collection=COLLECTION,
                properties=pb2.PropertiesRequest(return_all_nonref_properties=True),
                metadata=pb2.MetadataRequest(uuid=True, distance=True),
                limit=K,
                near_vector=pb2.NearVector(
                    vectors=[pb2.Vectors(vector_bytes=v.astype("<f4").tobytes(), type=1)]
                ),
                uses_127_api=True,
            ).SerializeToString()
            for v in data.vectors
        ]

        def recall(answers: Answers) -> float:
            found = [
                None if a is None else {hit.metadata.id for hit in pb2.SearchReply.FromString(a).results}
                for a in answers
            ]
            return overlap(found, truth[: len(found)])

        file = generator.write_messages(folder / "weaviate.requests", requests)
        call = generator.grpc_call(f"127.0.0.1:{self._grpc}", METHOD)
        return Subject("Weaviate", call, {"weaviate": self.process.popen.pid}, file, recall)

    def version(self) -> str:
        """What runs."""
        return f"Weaviate {self.call('GET', '/v1/meta')['version']}"


@cache
def messages() -> Any:
    """Returns the module of Weaviate's messages, made from ``weaviate.proto``."""
    into = ROOT / "build" / "bench" / "weaviate_proto"
    into.mkdir(parents=True, exist_ok=True)
    here = Path(__file__).parent
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        f"-I{here}",
        f"--python_out={into}",
        "weaviate.proto",
    ]
    subprocess.run(command, check=True, cwd=here)
    sys.path.insert(0, str(into))
    try:
        return importlib.import_module("weaviate_pb2")
    finally:
        sys.path.remove(str(into))


@contextmanager
def weaviate(folder: Path) -> Iterator[Weaviate]:
    """Serves an empty store."""
    folder.mkdir(parents=True)
    server = Weaviate(folder)
    try:
        server.start()
        yield server
    finally:
        if server.process.is_running():
            server.process.stop()
