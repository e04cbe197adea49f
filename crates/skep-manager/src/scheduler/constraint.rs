//! Placement constraints: `node.labels.disk == ssd`.
//!
//! Comparison is case-insensitive equality; there are no patterns. An unknown key matches no node.

use std::net::IpAddr;

use skep_objects::swarmkit::{Node, NodeRole};

/// Why a constraint expression is refused. The texts are those Docker's clients show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConstraintError {
    /// Neither `==` nor `!=` occurs.
    #[error("constraint expected one operator from ==, !=")]
    NoOperator,
    /// The left side is not a key.
    #[error("key '{0}' is invalid")]
    Key(String),
    /// The right side holds a character that values cannot have.
    #[error("value '{0}' is invalid")]
    Value(String),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Key {
    Id,
    Hostname,
    Ip,
    Role,
    Os,
    Arch,
    NodeLabel(String),
    EngineLabel(String),
    Unknown,
}

/// One parsed constraint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Constraint {
    key: Key,
    equal: bool,
    value: String,
}

const NODE_LABELS: &str = "node.labels.";
const ENGINE_LABELS: &str = "engine.labels.";

impl Constraint {
    /// Parses `key==value` or `key!=value`.
    pub fn parse(expression: &str) -> Result<Self, ConstraintError> {
        let (key, value, equal) = if let Some((key, value)) = expression.split_once("==") {
            (key, value, true)
        } else if let Some((key, value)) = expression.split_once("!=") {
            (key, value, false)
        } else {
            return Err(ConstraintError::NoOperator);
        };
        let (key, value) = (key.trim(), value.trim());
        if !valid_key(key) {
            return Err(ConstraintError::Key(key.to_owned()));
        }
        if !valid_value(value) {
            return Err(ConstraintError::Value(value.to_owned()));
        }
        Ok(Self {
            key: Key::parse(key),
            equal,
            value: value.to_owned(),
        })
    }

    /// Parses all, or returns the first error.
    pub fn parse_all<S: AsRef<str>>(expressions: &[S]) -> Result<Vec<Self>, ConstraintError> {
        expressions
            .iter()
            .map(|expression| Self::parse(expression.as_ref()))
            .collect()
    }

    /// Whether `node` meets this constraint.
    #[must_use]
    pub fn matches(&self, node: &Node) -> bool {
        let description = node.description.as_ref();
        let platform = description.and_then(|description| description.platform.as_ref());
        let is = |actual: &str| actual.eq_ignore_ascii_case(&self.value) == self.equal;
        match &self.key {
            Key::Id => is(&node.id),
            Key::Hostname => is(description.map_or("", |description| &description.hostname)),
            Key::Ip => self.matches_ip(node.status.as_ref().map_or("", |status| &status.addr)),
            Key::Role => is(match node.role() {
                NodeRole::Worker => "worker",
                NodeRole::Manager => "manager",
            }),
            Key::Os => is(platform.map_or("", |platform| &platform.os)),
            Key::Arch => is(platform.map_or("", |platform| &platform.architecture)),
            Key::NodeLabel(label) => is(node
                .spec
                .as_ref()
                .and_then(|spec| spec.annotations.as_ref())
                .and_then(|annotations| annotations.labels.get(label))
                .map_or("", String::as_str)),
            Key::EngineLabel(label) => is(description
                .and_then(|description| description.engine.as_ref())
                .and_then(|engine| engine.labels.get(label))
                .map_or("", String::as_str)),
            Key::Unknown => false,
        }
    }

    fn matches_ip(&self, address: &str) -> bool {
        let Ok(address) = address.parse::<IpAddr>() else {
            return false;
        };
        if let Ok(wanted) = self.value.parse::<IpAddr>() {
            return (wanted == address) == self.equal;
        }
        let Some((network, prefix)) = self.value.split_once('/') else {
            return false;
        };
        let (Ok(network), Ok(prefix)) = (network.parse::<IpAddr>(), prefix.parse::<u32>()) else {
            return false;
        };
        contains(network, prefix, address).is_some_and(|inside| inside == self.equal)
    }
}

impl Key {
    fn parse(key: &str) -> Self {
        let lower = key.to_ascii_lowercase();
        match lower.as_str() {
            "node.id" => Self::Id,
            "node.hostname" => Self::Hostname,
            "node.ip" => Self::Ip,
            "node.role" => Self::Role,
            "node.platform.os" => Self::Os,
            "node.platform.arch" => Self::Arch,
            _ if lower.starts_with(NODE_LABELS) && lower.len() > NODE_LABELS.len() => {
                Self::NodeLabel(key[NODE_LABELS.len()..].to_owned())
            }
            _ if lower.starts_with(ENGINE_LABELS) && lower.len() > ENGINE_LABELS.len() => {
                Self::EngineLabel(key[ENGINE_LABELS.len()..].to_owned())
            }
            _ => Self::Unknown,
        }
    }
}

/// The value of a node's label under the name a spread preference uses, `node.labels.x` or
/// `engine.labels.x`; `None` when the descriptor is neither.
#[must_use]
pub fn spread_value<'a>(descriptor: &str, node: &'a Node) -> Option<&'a str> {
    let labels = match Key::parse(descriptor) {
        Key::NodeLabel(label) => node
            .spec
            .as_ref()
            .and_then(|spec| spec.annotations.as_ref())
            .and_then(|annotations| annotations.labels.get(&label)),
        Key::EngineLabel(label) => node
            .description
            .as_ref()
            .and_then(|description| description.engine.as_ref())
            .and_then(|engine| engine.labels.get(&label)),
        Key::Id | Key::Hostname | Key::Ip | Key::Role | Key::Os | Key::Arch | Key::Unknown => {
            return None;
        }
    };
    Some(labels.map_or("", String::as_str))
}

fn contains(network: IpAddr, prefix: u32, address: IpAddr) -> Option<bool> {
    let (network, address, width) = match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => (
            u128::from(u32::from(network)),
            u128::from(u32::from(address)),
            32,
        ),
        (IpAddr::V6(network), IpAddr::V6(address)) => (network.into(), address.into(), 128),
        _ => return Some(false),
    };
    if prefix > width {
        return None;
    }
    let drop = width - prefix;
    Some(network.checked_shr(drop).unwrap_or(0) == address.checked_shr(drop).unwrap_or(0))
}

fn valid_key(key: &str) -> bool {
    let mut chars = key.chars();
    let first = chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    let mut rest = 0;
    let all = chars.all(|c| {
        rest += 1;
        c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
    });
    first && all && rest > 0
}

fn valid_value(value: &str) -> bool {
    !value.is_empty()
        && value.chars().all(|c| {
            c.is_ascii_alphanumeric() || c.is_ascii_whitespace() || ":-_.*()?+[]\\^$|/".contains(c)
        })
}

#[cfg(test)]
mod tests {
    use skep_objects::swarmkit::{
        Annotations, EngineDescription, NodeDescription, NodeSpec, NodeStatus, Platform,
    };

    use super::*;

    fn node() -> Node {
        let labels = [
            ("disk".to_owned(), "SSD".to_owned()),
            ("Zone".to_owned(), "a".to_owned()),
        ];
        Node {
            id: "n1".into(),
            role: NodeRole::Manager.into(),
            status: Some(NodeStatus {
                addr: "10.1.2.3".into(),
                ..Default::default()
            }),
            spec: Some(NodeSpec {
                annotations: Some(Annotations {
                    labels: labels.into(),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            description: Some(NodeDescription {
                hostname: "Host-1".into(),
                platform: Some(Platform {
                    architecture: "x86_64".into(),
                    os: "linux".into(),
                }),
                engine: Some(EngineDescription {
                    labels: [("gpu".to_owned(), "yes".to_owned())].into(),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn check(expression: &str, expect: bool) {
        assert_eq!(
            Constraint::parse(expression).unwrap().matches(&node()),
            expect,
            "{expression}"
        );
    }

    #[test]
    fn constraints_compare_without_case() {
        check("node.id == N1", true);
        check("node.id != n1", false);
        check("NODE.HOSTNAME==host-1", true);
        check("node.role==manager", true);
        check("node.role==worker", false);
        check("node.platform.os==Linux", true);
        check("node.platform.arch!=arm64", true);
    }

    #[test]
    fn label_keys_keep_their_case_and_missing_labels_are_empty() {
        check("node.labels.disk==ssd", true);
        check("Node.Labels.Zone==A", true);
        check("node.labels.zone==a", false);
        check("node.labels.none!=x", true);
        check("node.labels.none==x", false);
        check("engine.labels.gpu==YES", true);
    }

    #[test]
    fn addresses_match_singly_or_by_network() {
        check("node.ip==10.1.2.3", true);
        check("node.ip==10.1.0.0/16", true);
        check("node.ip!=10.1.0.0/16", false);
        check("node.ip==10.2.0.0/16", false);
        check("node.ip==10.2.0.0/77", false);
        check("node.ip!=fe80::/10", true);
    }

    #[test]
    fn unknown_keys_match_no_node() {
        check("node.colour==red", false);
        check("node.colour!=red", false);
        check("node.labels.==red", false);
    }

    #[test]
    fn bad_expressions_are_refused_with_dockers_text() {
        let refuse = |expression: &str| Constraint::parse(expression).unwrap_err().to_string();
        assert_eq!(
            refuse("node.id=x"),
            "constraint expected one operator from ==, !="
        );
        assert_eq!(refuse("n==x"), "key 'n' is invalid");
        assert_eq!(refuse("no de==x"), "key 'no de' is invalid");
        assert_eq!(refuse("node.id=="), "value '' is invalid");
        assert_eq!(refuse("node.id==a;b"), "value 'a;b' is invalid");
    }
}
