//! How many file descriptors this process may have: each connection is one.

/// Raises the limit to what the system allows, and returns it; none where there is none or it can't be known.
#[cfg(unix)]
pub(super) fn raise() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return limit.current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, descriptors = limit.current, "the limit of file descriptors can't be raised");
            limit.current
        }
    }
}

/// Windows has no such limit.
#[cfg(not(unix))]
pub(super) fn raise() -> Option<u64> {
    None
}
