//! `swarm ca --rotate`: how far the rotation is.

use std::io::Write as _;
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::cmd::objects::text;
use crate::context::Context;
use crate::error::CliError;

/// Between two looks: there is no event to wait for.
const PAUSE: Duration = Duration::from_millis(200);

/// Waits until every node has a certificate of the new root, and prints the root.
pub(super) async fn wait(context: &Context, quiet: bool) -> Result<(), CliError> {
    let mut last = String::new();
    loop {
        let swarm = context.client.get("/swarm").await?;
        let is_done = swarm["RootRotationInProgress"] != true;
        if !quiet {
            let nodes = context.client.get("/nodes").await?;
            let lines = progress(&swarm, nodes.as_array().map_or(&[], Vec::as_slice));
            if lines != last {
                // A terminal that went away has nobody to tell.
                let _ = writeln!(std::io::stdout(), "{lines}");
                last = lines;
            }
        }
        if is_done {
            println!("{}", text(&swarm, "/TLSInfo/TrustRoot").trim());
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn progress(swarm: &Value, nodes: &[Value]) -> String {
    let wanted = &swarm["TLSInfo"];
    let root = text(wanted, "/TrustRoot");
    let digest = Sha256::digest(root.as_bytes());
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let has = |fields: &'static [&'static str]| {
        let of = |node: &&Value| {
            let own = &node["Description"]["TLSInfo"];
            fields.iter().all(|field| own[*field] == wanted[*field])
        };
        nodes.iter().filter(of).count()
    };
    let all = nodes.len();
    format!(
        "desired root digest: sha256:{digest}\n  rotated TLS certificates:  {}/{all} nodes\n  rotated CA certificates:  {}/{all} nodes",
        has(&["CertIssuerSubject", "CertIssuerPublicKey"]),
        has(&["TrustRoot"]),
    )
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
        let lines = progress(&json!({"TLSInfo": tls("new", "k2")}), &nodes);
        assert!(
            lines.contains("rotated TLS certificates:  2/3 nodes"),
            "{lines}"
        );
        assert!(
            lines.ends_with("rotated CA certificates:  1/3 nodes"),
            "{lines}"
        );
    }
}
