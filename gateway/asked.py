"""What one search asks all shards for."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.checks import SearchOptions
from gateway.directory.base import Collection
from gateway.embedding import EmbeddedQuery
from lookalike.v1 import hasher_pb2


@dataclass(frozen=True, slots=True)
class Asked:
    """A checked and embedded search."""

    collection: Collection
    options: SearchOptions
    vector_f32_le: bytes
    exclude_item_id: str = ""
    embedded: EmbeddedQuery | None = None
    """Of a query by photo."""

    def request(self, *, exact: bool = False) -> hasher_pb2.HasherServiceSearchRequest:
        """Returns the request to each shard; ``exact`` makes it exact even where the search is not."""
        options = self.options
        return hasher_pb2.HasherServiceSearchRequest(
            generation=self.collection.generation,
            model_version=self.collection.spec.model_version,
            vectors_f32_le=self.vector_f32_le,
            k=options.k,
            group_by_product=options.group_by_product,
            exact=exact or options.exact,
            probes=options.probes,
            effort=options.effort,
            filter=options.filter,
            exclude_item_id=self.exclude_item_id,
        )
