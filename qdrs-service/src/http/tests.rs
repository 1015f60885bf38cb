//! The HTTP surface, from the outside.
