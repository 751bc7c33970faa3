//! Who may send webhooks: secret tokens and signatures.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{hmac, rand};

/// A signature is refused when its time is further from ours than this.
pub const TOLERANCE_SECONDS: i64 = 300;

/// The headers of a delivery that say who sent it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Credentials<'a> {
    /// `X-Gitlab-Token`.
    pub token: Option<&'a [u8]>,
    /// `webhook-id`.
    pub id: Option<&'a [u8]>,
    /// `webhook-timestamp`, Unix seconds.
    pub timestamp: Option<&'a [u8]>,
    /// `webhook-signature`.
    pub signature: Option<&'a [u8]>,
}

/// What the headers alone say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The sender is known.
    Known,
    /// It depends on the signature, and so on the body.
    BySignature,
    /// Refused.
    Refused(Refusal),
}

/// Why a sender is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing shows who it is.
    #[error(
        "the request has no secret token; enter the one of server.webhook as the webhook's secret token or signing \
         token in GitLab"
    )]
    Missing,
    /// It has another secret.
    #[error("the secret token is not one of server.webhook.secret_token(s)")]
    WrongToken,
    /// The signature does not belong to a signing token and this body.
    #[error("the signature was not made with one of server.webhook.signing_tokens")]
    WrongSignature,
    /// The signature's time is not now.
    #[error(
        "the signature's time is more than 5 minutes from the exporter's; compare the clocks of both machines"
    )]
    Stale,
}

/// Known secrets and keys. Nothing of it can be printed.
pub struct Senders {
    /// Tokens are compared by their MAC under a key of this process: in constant time, whatever their length.
    key: hmac::Key,
    tokens: Vec<hmac::Tag>,
    signing: Vec<hmac::Key>,
    open: bool,
}

/// The system has no random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct NoRandom;

impl Senders {
    /// Those who know one of `tokens`, or sign with one of the keys `signing`; everybody where `open`.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn new<'a>(
        tokens: impl IntoIterator<Item = &'a str>,
        signing: impl IntoIterator<Item = Vec<u8>>,
        open: bool,
    ) -> Result<Self, NoRandom> {
        let signing = signing.into_iter();
        let signing = signing.map(|key| hmac::Key::new(hmac::HMAC_SHA256, &key));
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new());
        let key = key.map_err(|_| NoRandom)?;
        let tokens = tokens.into_iter();
        let tokens = tokens.map(|token| hmac::sign(&key, token.as_bytes()));
        Ok(Self {
            tokens: tokens.collect(),
            key,
            signing: signing.collect(),
            open,
        })
    }

    /// Takes other secret tokens: their file changed.
    pub fn set_tokens<'a>(&mut self, tokens: impl IntoIterator<Item = &'a str>) {
        let tokens = tokens.into_iter();
        let tokens = tokens.map(|token| hmac::sign(&self.key, token.as_bytes()));
        self.tokens = tokens.collect();
    }

    /// What the headers say. A valid secret token is enough, and so is a valid signature.
    #[must_use]
    pub fn judge(&self, sent: &Credentials<'_>) -> Verdict {
        if let Some(token) = sent.token
            && self.has_token(token)
        {
            return Verdict::Known;
        }
        if !self.signing.is_empty() && sent.signature.is_some() {
            return Verdict::BySignature;
        }
        if self.tokens.is_empty() && self.signing.is_empty() && self.open {
            return Verdict::Known;
        }
        Verdict::Refused(match sent.token {
            Some(token) if !token.is_empty() => Refusal::WrongToken,
            _ => Refusal::Missing,
        })
    }

    fn has_token(&self, token: &[u8]) -> bool {
        let sent = hmac::sign(&self.key, token);
        // All are compared, so that the time does not say which one it was.
        self.tokens.iter().fold(false, |known, tag| {
            known | are_equal(&self.key, tag.as_ref(), sent.as_ref())
        })
    }

    /// Checks the signature of a body; `now` in Unix seconds.
    ///
    /// # Errors
    /// When no signing token made it, or not now.
    pub fn verify(&self, sent: &Credentials<'_>, body: &[u8], now: i64) -> Result<(), Refusal> {
        let (Some(id), Some(timestamp), Some(signatures)) =
            (sent.id, sent.timestamp, sent.signature)
        else {
            return Err(Refusal::WrongSignature);
        };
        let seconds = std::str::from_utf8(timestamp)
            .ok()
            .and_then(|text| text.parse::<i64>().ok())
            .ok_or(Refusal::WrongSignature)?;
        let macs: Vec<hmac::Tag> = self
            .signing
            .iter()
            .map(|key| {
                let mut mac = hmac::Context::with_key(key);
                for part in [id, b".", timestamp, b".", body] {
                    mac.update(part);
                }
                mac.sign()
            })
            .collect();
        let signatures = signatures.split(|byte| *byte == b' ');
        let signatures = signatures.filter_map(|one| one.strip_prefix(b"v1,"));
        let mut signatures = signatures.filter_map(|one| STANDARD.decode(one).ok());
        let fits = |signature: Vec<u8>| {
            let mut macs = macs.iter();
            macs.any(|mac| are_equal(&self.key, mac.as_ref(), &signature))
        };
        if !signatures.any(fits) {
            return Err(Refusal::WrongSignature);
        }
        if now.abs_diff(seconds) > TOLERANCE_SECONDS.unsigned_abs() {
            return Err(Refusal::Stale);
        }
        Ok(())
    }
}

/// Whether two MACs are equal, in constant time: of two MACs of them under the same key.
fn are_equal(key: &hmac::Key, one: &[u8], other: &[u8]) -> bool {
    let other = hmac::sign(key, other);
    hmac::verify(key, one, other.as_ref()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::signing_key;

    fn senders(tokens: &[&str], signing: &[&str], open: bool) -> Senders {
        let signing = signing.iter().map(|token| signing_key(token).unwrap());
        Senders::new(tokens.iter().copied(), signing, open).unwrap()
    }

    fn token(token: &str) -> Credentials<'_> {
        Credentials {
            token: Some(token.as_bytes()),
            ..Credentials::default()
        }
    }

    const KEY: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn any_of_the_tokens_is_enough_during_a_rotation() {
        let senders = senders(&["old", "new"], &[], false);
        assert_eq!(senders.judge(&token("old")), Verdict::Known);
        assert_eq!(senders.judge(&token("new")), Verdict::Known);
        for wrong in ["ol", "oldnew", "old ", "OLD"] {
            let refused = Verdict::Refused(Refusal::WrongToken);
            assert_eq!(senders.judge(&token(wrong)), refused, "{wrong}");
        }
        let missing = Verdict::Refused(Refusal::Missing);
        assert_eq!(senders.judge(&Credentials::default()), missing);
        assert_eq!(senders.judge(&token("")), missing);
    }

    #[test]
    fn without_secrets_everybody_is_known_only_where_that_was_asked_for() {
        let known = senders(&[], &[], true).judge(&Credentials::default());
        assert_eq!(known, Verdict::Known);
        let refused = senders(&[], &[], false).judge(&token("anything"));
        assert_eq!(refused, Verdict::Refused(Refusal::WrongToken));
        // A secret that is there closes the door, whatever else is set.
        let refused = senders(&["s"], &[], true).judge(&token("anything"));
        assert_eq!(refused, Verdict::Refused(Refusal::WrongToken));
    }

    #[test]
    fn a_signature_holds_for_its_body_id_and_time_alone() {
        let senders = senders(&[], &[KEY], false);
        let sent = Credentials {
            token: None,
            id: Some(b"msg-1"),
            timestamp: Some(b"1744578123"),
            signature: Some(b"v1,AAAA v2,x v1,VK8mFmOVONu98I9HIJXAPIMP5PGxUQzLZDXb4gRpxR4="),
        };
        let body = br#"{"object_kind":"push"}"#;
        let now = 1_744_578_123;
        assert_eq!(senders.judge(&sent), Verdict::BySignature);
        assert_eq!(senders.verify(&sent, body, now), Ok(()));
        assert_eq!(senders.verify(&sent, body, now + 300), Ok(()));
        assert_eq!(senders.verify(&sent, body, now - 300), Ok(()));
        let stale = Err(Refusal::Stale);
        assert_eq!(senders.verify(&sent, body, now + 301), stale);
        assert_eq!(senders.verify(&sent, body, now - 301), stale);
        let wrong = Err(Refusal::WrongSignature);
        assert_eq!(senders.verify(&sent, b"{}", now), wrong);
        for (id, timestamp) in [
            (&b"msg-2"[..], &b"1744578123"[..]),
            (b"msg-1", b"1744578124"),
            (b"msg-1", b"soon"),
        ] {
            let sent = Credentials {
                id: Some(id),
                timestamp: Some(timestamp),
                ..sent
            };
            assert_eq!(senders.verify(&sent, body, now), wrong);
        }
    }

    #[test]
    fn a_token_and_a_signature_may_both_be_there() {
        let senders = senders(&["secret"], &[KEY], false);
        let both = Credentials {
            token: Some(b"secret"),
            signature: Some(b"v1,AAAA"),
            ..Credentials::default()
        };
        assert_eq!(senders.judge(&both), Verdict::Known);
        let signed = Credentials {
            token: Some(b"another"),
            ..both
        };
        assert_eq!(senders.judge(&signed), Verdict::BySignature);
    }

    #[test]
    fn what_is_no_signing_token_is_refused() {
        for (token, problem) in [
            (
                "secret",
                "does not begin with whsec_, as GitLab's signing tokens do",
            ),
            ("whsec_%%%", "is not base64 after whsec_"),
            ("whsec_AAEC", "is too short"),
        ] {
            assert_eq!(signing_key(token), Err(problem));
        }
        assert_eq!(signing_key(KEY).map(|key| key.len()), Ok(32));
    }

    #[test]
    fn the_recorded_vectors_hold() {
        let Some(vectors) = crate::events::payload::tests::shared("signature-vectors.json") else {
            return;
        };
        let vectors: Vec<serde_json::Value> = serde_json::from_slice(&vectors).unwrap();
        assert!(vectors.len() > 3);
        for vector in vectors {
            let text = |key: &str| vector[key].as_str().unwrap();
            let senders = senders(&[], &[text("signing_token")], false);
            let sent = Credentials {
                token: None,
                id: Some(text("webhook-id").as_bytes()),
                timestamp: Some(text("webhook-timestamp").as_bytes()),
                signature: Some(text("webhook-signature").as_bytes()),
            };
            let now: i64 = text("webhook-timestamp").parse().unwrap();
            let body = text("body").as_bytes();
            assert_eq!(senders.verify(&sent, body, now), Ok(()), "{}", text("from"));
        }
    }
}
