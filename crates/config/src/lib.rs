//! TOML text to checked settings, every error at once with its place.
