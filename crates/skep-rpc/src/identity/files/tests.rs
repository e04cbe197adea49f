use super::*;
use crate::identity::{NODE_LIFE, NodeCertificateRequest, SigningRoot};
use skep_objects::swarmkit::NodeRole;
use time::OffsetDateTime;

fn issue(root: &SigningRoot) -> (NodeKey, NodeCertificate) {
    let key = NodeKey::generate().unwrap();
    let csr = key.csr().unwrap();
    let request = NodeCertificateRequest {
        csr: &csr,
        node_id: "n1",
        role: NodeRole::Manager,
        cluster_id: "c1",
        life: NODE_LIFE,
    };
    let chain = root.sign(&request, OffsetDateTime::now_utc()).unwrap();
    (key, NodeCertificate::from_pem(&chain).unwrap())
}

fn node(dir: &Path) -> (NodeFiles, SigningRoot) {
    let root = SigningRoot::create(OffsetDateTime::now_utc()).unwrap();
    let files = NodeFiles::new(dir);
    files
        .save_roots(&RootBundle::from_pem(root.cert_pem()).unwrap())
        .unwrap();
    let (key, chain) = issue(&root);
    files.save(&key, &chain, None).unwrap();
    (files, root)
}

#[test]
fn what_was_saved_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let (files, _) = node(dir.path());
    let loaded = files.load(None).unwrap();
    assert_eq!(loaded.certificate().node_id(), "n1");
    assert!(!files.is_locked().unwrap());
    let key = dir.path().join("certificates/swarm-node.key");
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(
        fs::metadata(key).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn locking_seals_the_key_and_the_raft_keys() {
    let dir = tempfile::tempdir().unwrap();
    let (files, _) = node(dir.path());
    let mut headers = files.headers().unwrap().unwrap();
    headers.seal("raft-dek", None, b"dek");
    files.set_headers(&headers, None).unwrap();
    let kek = Kek::generate();
    assert!(files.set_kek(None, Some(&kek), 7).unwrap());
    assert!(files.is_locked().unwrap());
    assert!(files.load(None).unwrap_err().is_locked());
    assert!(
        files
            .load(Some(&Kek::generate()))
            .unwrap_err()
            .is_wrong_key()
    );
    files.load(Some(&kek)).unwrap();
    let headers = files.headers().unwrap().unwrap();
    assert_eq!(headers.kek_version, 7);
    assert_eq!(
        headers.open("raft-dek", Some(&kek)).unwrap().unwrap(),
        b"dek"
    );
    assert!(headers.open("raft-dek", None).unwrap().is_err());
}

#[test]
fn an_older_kek_is_ignored() {
    let dir = tempfile::tempdir().unwrap();
    let (files, _) = node(dir.path());
    assert!(files.set_kek(None, None, 5).unwrap());
    assert!(!files.set_kek(None, Some(&Kek::generate()), 5).unwrap());
    assert!(!files.is_locked().unwrap());
}

#[test]
fn a_crash_between_chain_and_key_is_mended() {
    let dir = tempfile::tempdir().unwrap();
    let (files, root) = node(dir.path());
    let old_key = fs::read(files.key_path()).unwrap();
    let (key, chain) = issue(&root);
    files.save(&key, &chain, None).unwrap();
    fs::rename(files.key_path(), files.new_key_path()).unwrap();
    fs::write(files.key_path(), old_key).unwrap();
    let loaded = files.load(None).unwrap();
    assert_eq!(loaded.key().public_key_der(), key.public_key_der());
    assert!(!files.new_key_path().exists());
    files.load(None).unwrap();
}

#[test]
fn a_key_whose_chain_never_came_belongs_to_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (files, root) = node(dir.path());
    let (old, new) = (Kek::generate(), Kek::generate());
    let (late, late_chain) = issue(&root);
    files.save(&late, &late_chain, Some(&old)).unwrap();
    let late = fs::read(files.key_path()).unwrap();
    let (key, chain) = issue(&root);
    files.save(&key, &chain, Some(&new)).unwrap();
    fs::write(files.new_key_path(), late).unwrap();
    files.load(Some(&new)).unwrap();
    assert!(files.load(Some(&old)).unwrap_err().is_wrong_key());
}

#[test]
fn a_missing_file_is_told_from_a_broken_one() {
    let dir = tempfile::tempdir().unwrap();
    let files = NodeFiles::new(dir.path());
    assert!(files.load(None).unwrap_err().is_missing());
    let (files, _) = node(dir.path());
    fs::write(files.key_path(), "rubbish").unwrap();
    assert!(matches!(files.load(None), Err(FilesError::Malformed(_))));
}
