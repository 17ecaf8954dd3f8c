//! The key by which tokens are checked. It decides the algorithm; a token never does.

use jsonwebtoken::{Algorithm, DecodingKey};
use pkcs1::RsaPublicKeyRef;
use platform::settings::{InvalidSetting, Secret};
use spki::der::{Decode, DecodePem};
use spki::{ObjectIdentifier, SubjectPublicKeyInfoOwned};

pub(super) const JWT_SECRET: &str = "JWT_SECRET";
pub(super) const JWT_PUBLIC_KEY: &str = "JWT_PUBLIC_KEY";

/// The shortest secret: one that is shorter than its hash can be searched for (RFC 7518, section 3.2).
const MIN_SECRET_BYTES: usize = 32;
/// The sizes of RSA keys that ring checks; below 2,048 a key can be factored (RFC 7518, section 3.3).
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

/// Identifies RSA keys (RFC 3279, section 2.3.1).
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// Identifies keys on elliptic curves (RFC 5480, section 2.1.1).
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
/// Identifies Ed25519 keys (RFC 8410, section 3).
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// The key that tokens are checked with.
#[derive(Debug, Clone)]
pub enum Key {
    /// A secret for HS256, which signs as well.
    Secret(Secret),
    /// A public key, for the algorithm that is its own.
    Public(PublicKey),
}

impl Key {
    /// Takes `JWT_SECRET`.
    ///
    /// # Errors
    /// If the secret has less than 32 bytes.
    pub fn from_secret(secret: String) -> Result<Self, InvalidSetting> {
        if secret.len() < MIN_SECRET_BYTES {
            let accepted = format!(
                "at least {MIN_SECRET_BYTES} bytes; `openssl rand -hex 32` makes a good one; this has {}",
                secret.len()
            );
            return Err(InvalidSetting::secret(JWT_SECRET, accepted));
        }
        Ok(Self::Secret(Secret::new(secret)))
    }

    /// Returns the algorithm of every token that this key accepts.
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::Secret(_) => Algorithm::HS256,
            Self::Public(key) => key.algorithm,
        }
    }

    pub(super) fn decoding_key(&self) -> DecodingKey {
        match self {
            Self::Secret(secret) => DecodingKey::from_secret(secret.expose().as_bytes()),
            Self::Public(key) => key.key.clone(),
        }
    }
}

/// A public key with its algorithm: RS256, ES256 or `EdDSA`.
#[derive(Debug, Clone)]
pub struct PublicKey {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl PublicKey {
    /// Reads `JWT_PUBLIC_KEY`: a `PUBLIC KEY` in PEM (RFC 7468, section 13).
    ///
    /// # Errors
    /// If the text is something else, or a key of another kind or size.
    pub fn from_pem(pem: &str) -> Result<Self, InvalidSetting> {
        Self::parse(pem).map_err(|this| {
            let accepted = format!(
                "a public key in PEM (-----BEGIN PUBLIC KEY-----): RSA of {} to {} bits, EC on P-256 with an \
                 uncompressed point, or Ed25519; this is {this}",
                RSA_BITS.start(),
                RSA_BITS.end()
            );
            InvalidSetting::secret(JWT_PUBLIC_KEY, accepted)
        })
    }

    /// Reads a `PUBLIC KEY` in PEM. The error says what the text holds instead.
    fn parse(pem: &str) -> Result<Self, String> {
        let info = SubjectPublicKeyInfoOwned::from_pem(pem.trim()).map_err(|_| "none")?;
        let bytes = info.subject_public_key.raw_bytes();
        let parameter = info.algorithm.parameters.as_ref().and_then(|any| any.decode_as().ok());
        match (info.algorithm.oid, parameter) {
            (RSA, _) => {
                let key = RsaPublicKeyRef::from_der(bytes).map_err(|_| "a broken RSA key")?;
                let bits = significant_bits(key.modulus.as_bytes());
                if !RSA_BITS.contains(&bits) {
                    return Err(format!("an RSA key of {bits} bits"));
                }
                Ok(Self { algorithm: Algorithm::RS256, key: DecodingKey::from_rsa_der(bytes) })
            }
            // 4 marks an uncompressed point (SEC 1, section 2.3.3).
            (EC, Some(P_256)) if bytes.len() == 65 && bytes.starts_with(&[4]) => {
                Ok(Self { algorithm: Algorithm::ES256, key: DecodingKey::from_ec_der(bytes) })
            }
            (ED25519, _) if bytes.len() == 32 => {
                Ok(Self { algorithm: Algorithm::EdDSA, key: DecodingKey::from_ed_der(bytes) })
            }
            _ => Err("a key of another kind".to_owned()),
        }
    }
}

fn significant_bits(big_endian: &[u8]) -> usize {
    let digits = big_endian.iter().skip_while(|&&byte| byte == 0);
    let leading = digits.clone().next().map_or(0, |byte| byte.leading_zeros() as usize);
    digits.count() * 8 - leading
}
