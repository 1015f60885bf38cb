//! The emulator's own certificate authority, and the leaf it serves with.
//!
//! The authority's key may be kept in a directory (mode 0600), so that a `ca.pem` that a client has been given stays
//! good over restarts; its certificate is made anew from that key at each start. The leaf lives in memory only.

use std::{io::Write, path::Path, sync::Arc};

use jiff::{ToSpan, civil::Date};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};

use super::EmulatorError;

/// The names of the files in the authority's directory.
pub const CA_FILE: &str = "ca.pem";
const CA_KEY_FILE: &str = "ca-key.pem";

/// How the emulator serves, and what a client must trust.
pub(super) struct Tls {
    pub(super) config: Arc<ServerConfig>,
    pub(super) ca_pem: String,
}

impl Tls {
    /// An authority and a leaf for `localhost`, the loopback addresses and `names`, good for one year from today.
    ///
    /// With a directory the authority's key is read from there, or made and kept there; `ca.pem` is written beside it.
    pub(super) fn new(names: &[String], directory: Option<&Path>) -> Result<Self, EmulatorError> {
        let ca_key = match directory {
            Some(directory) => kept_key(directory)?,
            None => KeyPair::generate()?,
        };
        let mut ca = CertificateParams::new(Vec::new())?;
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.distinguished_name.push(DnType::CommonName, "QDRS emulator CA");
        ca.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        valid_for_a_year(&mut ca);
        let ca_pem = ca.self_signed(&ca_key)?.pem();
        if let Some(directory) = directory {
            let path = directory.join(CA_FILE);
            fs_err::write(path, &ca_pem)?;
        }

        let mut all: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
        all.extend(names.iter().filter(|name| !["localhost", "127.0.0.1", "::1"].contains(&name.as_str())).cloned());
        let mut leaf = CertificateParams::new(all)?;
        leaf.distinguished_name.push(DnType::CommonName, "QDRS emulator");
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        valid_for_a_year(&mut leaf);
        let leaf_key = KeyPair::generate()?;
        let leaf = leaf.signed_by(&leaf_key, &Issuer::new(ca, ca_key))?;

        let key = PrivateKeyDer::Pkcs8(leaf_key.serialize_der().into());
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), ca_pem })
    }
}

/// From yesterday, for clocks that differ a little, to a year from today: some verifiers refuse what lives longer.
fn valid_for_a_year(params: &mut CertificateParams) {
    let today = jiff::tz::TimeZone::UTC.to_datetime(jiff::Timestamp::now()).date();
    let day = |date: Date| date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs());
    params.not_before = day(today.saturating_sub(1.day()));
    params.not_after = day(today.saturating_add(1.year()));
}

/// The authority's key of this directory, made at the first time.
fn kept_key(directory: &Path) -> Result<KeyPair, EmulatorError> {
    fs_err::create_dir_all(directory)?;
    let path = directory.join(CA_KEY_FILE);
    match fs_err::read_to_string(&path) {
        Ok(pem) => return Ok(KeyPair::from_pem(&pem)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let key = KeyPair::generate()?;
    let mut file = super::store::private_file(&path, true)?;
    file.write_all(key.serialize_pem().as_bytes())?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authoritys_key_is_kept_private_and_used_again() {
        let folder = tempfile::tempdir().expect("temp dir");
        let tls = Tls::new(&[], Some(folder.path())).expect("makes");
        assert_eq!(std::fs::read_to_string(folder.path().join(CA_FILE)).expect("reads"), tls.ca_pem);
        let key = std::fs::read(folder.path().join(CA_KEY_FILE)).expect("reads");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(folder.path().join(CA_KEY_FILE)).expect("is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        Tls::new(&["emulator.test".into()], Some(folder.path())).expect("makes again");
        assert_eq!(std::fs::read(folder.path().join(CA_KEY_FILE)).expect("reads"), key);
    }
}
