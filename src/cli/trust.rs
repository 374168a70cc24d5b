//! Whom `trigger` and `listen` believe over TLS: who is known to everybody, or who is in the file of `--ca`.

use std::io;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{CertificateError, RootCertStore};
use ureq::tls::{Certificate, RootCerts};

use super::Failure;
use super::address::Address;

/// The authorities that may vouch for a server.
pub(super) enum Trust {
    /// Those that browsers trust.
    Public,
    /// Those of a file, and no others. Each of them is sound.
    These(Vec<CertificateDer<'static>>),
}

impl Trust {
    /// What `--ca` says, if it is said.
    pub(super) fn of(ca: Option<&Path>, address: &Address) -> Result<Self, Failure> {
        let Some(ca) = ca else { return Ok(Self::Public) };
        if !address.is_tls {
            let right = "--ca has a meaning for https and wss alone";
            return Err(Failure::Usage(format!("{right}, and the server is {address}")));
        }
        let mistake = |what: String| Failure::Usage(format!("--ca {}: {what}", ca.display()));
        let text =
            std::fs::read(ca).map_err(|error| mistake(format!("cannot be read: {error}")))?;
        Self::read(&text).map_err(mistake)
    }

    fn read(text: &[u8]) -> Result<Self, String> {
        let these: Vec<_> = CertificateDer::pem_slice_iter(text)
            .collect::<Result<_, _>>()
            .map_err(|error| format!("is no PEM: {error}"))?;
        if these.is_empty() {
            return Err("has no certificate in it; expected PEM".to_owned());
        }
        for certificate in &these {
            let added = RootCertStore::empty().add(certificate.clone());
            added.map_err(|error| format!("has a certificate that cannot be used: {error}"))?;
        }
        Ok(Self::These(these))
    }

    /// For rustls itself.
    pub(super) fn roots(&self) -> RootCertStore {
        match self {
            Self::Public => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
            Self::These(these) => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(these.iter().cloned());
                roots
            }
        }
    }

    /// For requests.
    pub(super) fn of_requests(&self) -> RootCerts {
        match self {
            Self::Public => RootCerts::WebPki,
            Self::These(these) => {
                let owned = |der: &CertificateDer<'_>| Certificate::from_der(der).to_owned();
                RootCerts::new_with_certs(&these.iter().map(owned).collect::<Vec<_>>())
            }
        }
    }
}

/// What helps against an error, if it is that nobody we trust vouches for the server.
pub(super) fn hint(error: &io::Error) -> &'static str {
    let of_tls = error.get_ref().and_then(|inner| inner.downcast_ref());
    match of_tls {
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "; --ca FILE names an authority of your own"
        }
        _ => "",
    }
}
