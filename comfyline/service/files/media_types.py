"""The media types and kinds of files. The table is part of the public contract."""

from comfyline.contract.media_types import kind_of, media_type_of, suffix_of

__all__ = ["kind_of", "media_type_of", "suffix_of"]
