"""Models on disk: the manifest, downloads, packing, checksums."""
