use super::*;

const GOLDEN_ROOT: &[u8] = include_bytes!("../../../tests/golden/swarm-root-ca.crt");
const GOLDEN_NODE: &[u8] = include_bytes!("../../../tests/golden/swarm-node.crt");

fn sign(root: &SigningRoot, role: NodeRole, now: OffsetDateTime) -> NodeCertificate {
    let csr = NodeKey::generate().unwrap().csr().unwrap();
    let request = NodeCertificateRequest {
        csr: &csr,
        node_id: "node1",
        role,
        cluster_id: "cluster1",
        life: NODE_LIFE,
    };
    NodeCertificate::from_pem(&root.sign(&request, now).unwrap()).unwrap()
}

/// The extensions of a leaf in a form to compare: oid, criticality, and the value where it is not
/// of the key or the names.
fn profile(cert: &NodeCertificate) -> Vec<(String, bool, Vec<u8>)> {
    let (_, leaf) = X509Certificate::from_der(&cert.chain()[0]).unwrap();
    let mut all: Vec<_> = leaf
        .extensions()
        .iter()
        .map(|e| {
            let of_key =
                ["2.5.29.14", "2.5.29.35", "2.5.29.17"].contains(&e.oid.to_id_string().as_str());
            let value = if of_key {
                e.value.len().to_be_bytes().to_vec()
            } else {
                e.value.to_vec()
            };
            (e.oid.to_id_string(), e.critical, value)
        })
        .collect();
    all.sort();
    all
}

#[test]
fn a_manager_certificate_has_the_profile_of_dockerds() {
    let now = OffsetDateTime::now_utc();
    let root = SigningRoot::create(now).unwrap();
    let csr = NodeKey::generate().unwrap().csr().unwrap();
    let golden = NodeCertificate::from_pem(GOLDEN_NODE).unwrap();
    let request = NodeCertificateRequest {
        csr: &csr,
        node_id: golden.node_id(),
        role: NodeRole::Manager,
        cluster_id: golden.cluster_id(),
        life: NODE_LIFE,
    };
    let ours = NodeCertificate::from_pem(&root.sign(&request, now).unwrap()).unwrap();
    assert_eq!(profile(&ours), profile(&golden));
    let (_, a) = X509Certificate::from_der(&ours.chain()[0]).unwrap();
    let (_, b) = X509Certificate::from_der(&golden.chain()[0]).unwrap();
    assert_eq!(a.subject().as_raw(), b.subject().as_raw());
    assert_eq!(a.issuer().as_raw(), b.issuer().as_raw());
    let names = |c: &X509Certificate<'_>| {
        format!("{:?}", c.subject_alternative_name().unwrap().unwrap().value)
    };
    assert_eq!(names(&a), names(&b));
}

#[test]
fn a_new_root_has_the_profile_of_dockerds() {
    let ours = SigningRoot::create(OffsetDateTime::now_utc()).unwrap();
    let ours = RootBundle::from_pem(ours.cert_pem()).unwrap();
    let golden = RootBundle::from_pem(GOLDEN_ROOT).unwrap();
    let (_, a) = X509Certificate::from_der(&ours.certificates()[0]).unwrap();
    let (_, b) = X509Certificate::from_der(&golden.certificates()[0]).unwrap();
    assert_eq!(a.subject().as_raw(), b.subject().as_raw());
    let usage = |c: &X509Certificate<'_>| {
        c.extensions()
            .iter()
            .filter(|e| e.oid.to_id_string() != "2.5.29.14")
            .map(|e| (e.oid.to_id_string(), e.critical, e.value.to_vec()))
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(usage(&a), usage(&b));
    let life = |c: &X509Certificate<'_>| {
        c.validity().not_after.timestamp() - c.validity().not_before.timestamp()
    };
    assert_eq!(life(&a), life(&b));
}

#[test]
fn a_chain_of_dockerd_validates_and_names_its_issuer() {
    let bundle = RootBundle::from_pem(GOLDEN_ROOT).unwrap();
    let cert = NodeCertificate::from_pem(GOLDEN_NODE).unwrap();
    bundle
        .validate(&cert, cert.not_before() + Duration::hours(2))
        .unwrap();
    assert!(
        bundle
            .validate(&cert, cert.not_after() + Duration::hours(2))
            .is_err()
    );
    assert_eq!(bundle.issuer_of(&cert), bundle.first_as_issuer());
}

#[test]
fn another_roots_certificate_is_not_trusted() {
    let now = OffsetDateTime::now_utc();
    let cert = sign(&SigningRoot::create(now).unwrap(), NodeRole::Worker, now);
    let other = SigningRoot::create(now).unwrap();
    assert!(
        RootBundle::from_pem(other.cert_pem())
            .unwrap()
            .validate(&cert, now)
            .is_err()
    );
}

#[test]
fn during_a_rotation_old_and_new_trust_accept_a_new_leaf() {
    let now = OffsetDateTime::now_utc();
    let old = SigningRoot::create(now).unwrap();
    let new = SigningRoot::create(now).unwrap();
    let cross = old.cross_sign(new.cert_pem()).unwrap();
    let signer = SigningRoot::new(new.cert_pem(), new.key_pem().as_bytes(), &cross).unwrap();
    let cert = sign(&signer, NodeRole::Manager, now);
    let old_trust = RootBundle::from_pem(old.cert_pem()).unwrap();
    let new_trust = RootBundle::from_pem(new.cert_pem()).unwrap();
    old_trust.validate(&cert, now).unwrap();
    new_trust.validate(&cert, now).unwrap();
    // What the reconciler compares: the issuer is the new root, seen from either side.
    assert_eq!(old_trust.issuer_of(&cert), new_trust.first_as_issuer());
}

#[test]
fn a_short_life_falls_back_to_the_default() {
    let now = OffsetDateTime::now_utc();
    let root = SigningRoot::create(now).unwrap();
    let csr = NodeKey::generate().unwrap().csr().unwrap();
    let request = NodeCertificateRequest {
        csr: &csr,
        node_id: "n",
        role: NodeRole::Worker,
        cluster_id: "c",
        life: Duration::minutes(5),
    };
    let cert = NodeCertificate::from_pem(&root.sign(&request, now).unwrap()).unwrap();
    assert_eq!((cert.not_after() - cert.not_before()).whole_hours(), 2161);
}

#[test]
fn a_key_of_another_root_is_refused() {
    let now = OffsetDateTime::now_utc();
    let (a, b) = (
        SigningRoot::create(now).unwrap(),
        SigningRoot::create(now).unwrap(),
    );
    let result = SigningRoot::new(a.cert_pem(), b.key_pem().as_bytes(), b"");
    assert!(matches!(result, Err(RootError::Mismatch)));
}
