//! `swarm ca --rotate`: how far the rotation is.

use std::time::Duration;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::cmd::objects::text;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Extent, Messages};

/// Between two looks: there is no event to wait for.
const PAUSE: Duration = Duration::from_millis(200);

/// What each line is about, and what comes before the numbers, so that they are aligned.
const DIGEST: (&str, &str) = ("desired root digest", "");
const CERTIFICATES: (&str, &str) = ("  rotated TLS certificates", "");
const ROOTS: (&str, &str) = ("  rotated CA certificates", " ");

/// Waits until every node has a certificate of the new root and trusts no other, and prints the root.
pub(super) async fn wait(context: &Context, quiet: bool) -> Result<(), CliError> {
    let mut lines = match quiet {
        true => Messages::nowhere(),
        false => Messages::stdout(),
    };
    let interrupted = tokio::signal::ctrl_c();
    let root = tokio::select! {
        root = follow(context, &mut lines) => Some(root?),
        _ = interrupted => None,
    };
    match root {
        Some(root) => println!("{root}"),
        None => lines.say("Operation continuing in background.\nUse `swarmctl cluster inspect default` to check progress.\n"),
    }
    Ok(())
}

async fn follow(context: &Context, lines: &mut Messages) -> Result<String, CliError> {
    for (id, text) in [DIGEST, CERTIFICATES, ROOTS] {
        lines.progress(id, text, Extent::default());
    }
    loop {
        let swarm = context.client.get("/swarm").await?;
        let nodes = context.client.get("/nodes").await?;
        let rotation = Rotation::of(&swarm, nodes.as_array().map_or(&[], Vec::as_slice));
        rotation.show(lines);
        if rotation.is_done() {
            return Ok(text(&swarm, "/TLSInfo/TrustRoot").trim().to_owned());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// How many nodes have what all are to have.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rotation {
    digest: String,
    certificates: usize,
    roots: usize,
    all: usize,
}

impl Rotation {
    fn of(swarm: &Value, nodes: &[Value]) -> Self {
        let wanted = &swarm["TLSInfo"];
        let digest = Sha256::digest(text(wanted, "/TrustRoot").as_bytes());
        let has = |fields: &'static [&'static str]| {
            let of = |node: &&Value| {
                let own = &node["Description"]["TLSInfo"];
                fields.iter().all(|field| own[*field] == wanted[*field])
            };
            nodes.iter().filter(of).count()
        };
        let certificates = has(&["CertIssuerSubject", "CertIssuerPublicKey"]);
        // The roots are told when all certificates are renewed.
        let are_renewed = swarm["RootRotationInProgress"] != true && certificates == nodes.len();
        Self {
            digest: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
            certificates,
            roots: if are_renewed { has(&["TrustRoot"]) } else { 0 },
            all: nodes.len(),
        }
    }

    fn is_done(&self) -> bool {
        self.certificates == self.all && self.roots == self.all
    }

    fn show(&self, lines: &mut Messages) {
        let digest = format!("sha256:{}", self.digest);
        lines.progress(DIGEST.0, &digest, Extent::default());
        let of = |done| Extent {
            done,
            all: self.all,
            unit: "nodes",
        };
        lines.progress(CERTIFICATES.0, CERTIFICATES.1, of(self.certificates));
        lines.progress(ROOTS.0, ROOTS.1, of(self.roots));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nodes_are_counted_by_what_they_have() {
        let tls = |root: &str, key: &str| json!({"TrustRoot": root, "CertIssuerSubject": "s", "CertIssuerPublicKey": key});
        let node = |tls: Value| json!({"Description": {"TLSInfo": tls}});
        let nodes = [
            node(tls("new", "k2")),
            node(tls("old", "k2")),
            node(tls("old", "k1")),
        ];
        let swarm =
            |going: bool| json!({"TLSInfo": tls("new", "k2"), "RootRotationInProgress": going});
        let counts = |going: bool, nodes: &[Value]| {
            let rotation = Rotation::of(&swarm(going), nodes);
            (rotation.certificates, rotation.roots, rotation.is_done())
        };
        assert_eq!(counts(true, &nodes), (2, 0, false));
        assert_eq!(counts(true, &nodes[..2]), (2, 0, false));
        assert_eq!(counts(false, &nodes[..2]), (2, 1, false));
        assert_eq!(counts(false, &nodes[..1]), (1, 1, true));
    }
}
