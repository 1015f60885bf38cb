//! The bare cryptography of one registration, as this thread's CPU time: what no service could do without.

use std::hint::black_box;

use anyhow::Result;
use ed25519_dalek::Signer as _;
use qdrs_core::{
    access::{AccessCode, SealContext, seal},
    api::Kind,
    connection_string::DeviceKey,
};
use qdrs_tests::machine::thread_nanos;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

const TIMES: u32 = 2000;
/// The bytes of a signature base and of a request's body, as they are on the wire.
const BASE_BYTES: usize = 400;
const BODY_BYTES: usize = 120;

/// Microseconds of CPU for one of each.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Primitives {
    /// One strict verification of an Ed25519 signature.
    pub(crate) verify_us: f64,
    /// SHA-256 of a body (its digest) and of a job's key.
    pub(crate) hash_us: f64,
    /// One HPKE seal of a device connection string.
    pub(crate) seal_us: f64,
}

impl Primitives {
    /// All of one registration.
    pub(crate) fn register_us(self) -> f64 {
        self.verify_us + self.hash_us + self.seal_us
    }

    /// All of a registration and its confirmation, which is signed and has a body too.
    pub(crate) fn confirm_us(self) -> f64 {
        self.verify_us + self.hash_us / 2.0
    }
}

pub(crate) fn measure() -> Result<Primitives> {
    let code = AccessCode::generate(Kind::Station);
    let (base, body, job) = ([b'b'; BASE_BYTES], [b'{'; BODY_BYTES], Uuid::now_v7().to_string());
    let signature = code.signing_key().sign(&base);
    let verifying = code.signing_key().verifying_key();
    let plaintext =
        format!("HostName=localhost:18443;DeviceId=QD-000000007;SharedAccessKey={}", *DeviceKey::generate().to_base64());
    let context =
        SealContext { key_id: code.key_id(), serial: "QD-000000007", idempotency_key: &job, reservation: Uuid::now_v7() };
    let opening = code.public().opening;
    Ok(Primitives {
        verify_us: each_us(|| drop(black_box(verifying.verify_strict(black_box(&base), &signature))))?,
        hash_us: each_us(|| {
            black_box(Sha256::digest(black_box(body)));
            black_box(Sha256::digest(black_box(job.as_bytes())));
        })?,
        seal_us: each_us(|| drop(black_box(seal::seal(&opening, &context, black_box(plaintext.as_bytes())))))?,
    })
}

fn each_us(mut what: impl FnMut()) -> Result<f64> {
    (0..TIMES / 10).for_each(|_| what());
    let before = thread_nanos()?;
    (0..TIMES).for_each(|_| what());
    // The kernel brings the figure up to date at its next look at the thread; yielding makes it look.
    std::thread::yield_now();
    Ok((thread_nanos()? - before) as f64 / 1000.0 / f64::from(TIMES))
}
