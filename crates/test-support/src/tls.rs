//! Servers of one's own that speak TLS, and certificates for them.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::postgres::OwnPostgres;
use crate::servers::{Directory, OwnKafka, free_port};

/// A certificate authority.
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A server's certificate and its key, both PEM.
pub struct Identity {
    certificate: String,
    key: String,
}

impl Authority {
    /// Makes an authority with this name.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a root certificate").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Returns the authority's root certificate, PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Certifies a server under these host names and addresses, and no other.
    pub fn certify(&self, names: &[&str]) -> Identity {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Identity { certificate, key: key.serialize_pem() }
    }
}

impl Identity {
    /// Makes the certificate that PostgreSQL's manual has people sign by themselves: an authority's own.
    pub fn of_its_own(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        Self { certificate, key: key.serialize_pem() }
    }

    /// Returns the certificate, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Returns the certificate's key, PEM.
    pub fn key(&self) -> &str {
        &self.key
    }
}

/// A PostgreSQL that accepts connections over TLS and no other.
pub struct TlsPostgres(OwnPostgres);

impl TlsPostgres {
    /// Starts a server that shows this certificate.
    pub async fn start(identity: &Identity) -> Self {
        let directory = Directory::new();
        let certificate = directory.write("server.crt", &identity.certificate);
        let key = directory.write("server.key", &identity.key);
        let settings = [
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", certificate.display()),
            format!("ssl_key_file={}", key.display()),
        ];
        Self(OwnPostgres::start_in(directory, "hostssl", &settings).await)
    }

    /// Returns the server's `DATABASE_URL` under one of its host names; `localhost` and 127.0.0.1 lead to it.
    pub fn url(&self, host: &str) -> String {
        self.0.url_as(host, "postgres")
    }
}

/// A Kafka that speaks TLS with its clients.
pub struct TlsKafka(OwnKafka);

impl TlsKafka {
    /// Starts a broker that shows this certificate and tells its clients to call it `localhost`.
    pub async fn start(identity: &Identity, authority: &Authority) -> Self {
        let directory = Directory::new();
        let keystore = directory.write("keystore.pem", &format!("{}{}", identity.key, identity.certificate));
        // A broker refuses to start when it can't trust itself.
        let truststore = directory.write("truststore.pem", authority.pem());
        let port = free_port();
        let listener = format!(
            "listeners=SSL://127.0.0.1:{port},{{controller}}
            advertised.listeners=SSL://localhost:{port}
            inter.broker.listener.name=SSL
            listener.security.protocol.map=SSL:SSL,CONTROLLER:PLAINTEXT
            ssl.keystore.type=PEM
            ssl.keystore.location={}
            ssl.truststore.type=PEM
            ssl.truststore.location={}\n",
            keystore.display(),
            truststore.display(),
        );
        Self(OwnKafka::start_in(directory, port, &listener).await)
    }

    /// Returns the broker's bootstrap address under one of its host names; `localhost` and 127.0.0.1 lead to it.
    pub fn address(&self, host: &str) -> String {
        self.0.address_as(host)
    }
}
