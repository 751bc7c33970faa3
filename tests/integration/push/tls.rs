//! Receivers with a certificate of an authority of one's own.

use std::io::Write as _;
use std::path::PathBuf;

use amazing_gitlab_exporter::telemetry::otlp::Protocol;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::NamedTempFile;

use super::rig::Rig;
use crate::support::otlp::Receiver;

/// An authority and a receiver with a certificate of it for `localhost`.
async fn receiver() -> (Receiver, NamedTempFile) {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(authority.pem().as_bytes()).unwrap();
    let receiver = Receiver::start_tls(&certificate.pem(), &key.serialize_pem()).await;
    (receiver, file)
}

async fn push(protocol: Protocol, authority: Option<PathBuf>, receiver: &Receiver) -> bool {
    let mut rig = Rig::new(receiver, protocol);
    rig.target.ca_cert_path = authority;
    let push = rig.start_pushing();
    push.push_now().await.complete
}

#[tokio::test]
async fn the_configured_authority_is_trusted_and_no_other() {
    let (receiver, authority) = receiver().await;
    for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
        let trusted = Some(authority.path().to_owned());
        assert!(push(protocol, trusted, &receiver).await, "{protocol:?}");
        assert!(!push(protocol, None, &receiver).await, "{protocol:?}");
    }
    assert_eq!(receiver.received().requests.len(), 2);
}
