//! What the pipeline needs of the service; [`Client`] is it in earnest, tests put faults in between.

use qdrs_core::{
    Boxed,
    access::KeyId,
    api::{ConfirmRequest, Confirmation, RegisterRequest, Registration, Releases, SerialStatus},
    client::{Client, ClientError, Registered, open_registration},
    connection_string::DeviceConnectionString,
};
use uuid::Uuid;

/// The service, as a station sees it. Every call is safe to repeat with the same key.
pub trait Service: Send + Sync {
    /// Registers a serial, or repeats the answer of the same job.
    fn register<'a>(
        &'a self,
        serial: &'a str,
        job: Uuid,
        request: &'a RegisterRequest,
    ) -> Boxed<'a, Result<Registered, ClientError>>;

    /// Claims that the device holds its credential.
    fn confirm<'a>(
        &'a self,
        serial: &'a str,
        key: Uuid,
        request: &'a ConfirmRequest,
    ) -> Boxed<'a, Result<Confirmation, ClientError>>;

    /// Where a serial stands.
    fn status<'a>(&'a self, serial: &'a str) -> Boxed<'a, Result<SerialStatus, ClientError>>;

    /// Which registrations of this station's access code died after that number.
    fn releases(&self, after: u64) -> Boxed<'_, Result<Releases, ClientError>>;

    /// Names the access code.
    fn key_id(&self) -> KeyId;

    /// Opens a registration that the journal kept sealed.
    ///
    /// # Errors
    ///
    /// When it was sealed to another access code.
    fn open(&self, serial: &str, job: Uuid, registration: &Registration) -> Result<DeviceConnectionString, ClientError>;
}

impl Service for Client {
    fn register<'a>(
        &'a self,
        serial: &'a str,
        job: Uuid,
        request: &'a RegisterRequest,
    ) -> Boxed<'a, Result<Registered, ClientError>> {
        Box::pin(self.register(serial, job, request))
    }

    fn confirm<'a>(
        &'a self,
        serial: &'a str,
        key: Uuid,
        request: &'a ConfirmRequest,
    ) -> Boxed<'a, Result<Confirmation, ClientError>> {
        Box::pin(self.confirm(serial, key, request))
    }

    fn status<'a>(&'a self, serial: &'a str) -> Boxed<'a, Result<SerialStatus, ClientError>> {
        Box::pin(self.status(serial))
    }

    fn releases(&self, after: u64) -> Boxed<'_, Result<Releases, ClientError>> {
        Box::pin(self.releases(after))
    }

    fn key_id(&self) -> KeyId {
        self.code().key_id()
    }

    fn open(&self, serial: &str, job: Uuid, registration: &Registration) -> Result<DeviceConnectionString, ClientError> {
        open_registration(self.code(), serial, job, registration)
    }
}
