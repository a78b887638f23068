"""The document that the index keeps of an item: the hit that a search answers with, but for its score.

The fields of an encoded message may come in any order, so that a document with a score appended is the whole
hit, and nobody has to decode and encode it again on its way to the caller.
"""

from __future__ import annotations

from lookalike.v1 import search_pb2, types_pb2


def document_of(item: types_pb2.Item) -> bytes:
    """Returns the document of an item; equal items have equal ones.

    The ids of its product, where it has one, and of the item come first, for whoever reads no more.
    """
    hit = search_pb2.Hit(
        product_id=item.product_id,
        item_id=item.item_id,
        category=item.category if item.HasField("category") else None,
        attributes=item.attributes,
        title=item.title,
        image_uri=item.image_uri,
    )
    return hit.SerializeToString(deterministic=True)
