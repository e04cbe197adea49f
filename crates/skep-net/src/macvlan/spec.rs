//! What a macvlan network is.

/// Who may talk to whom over one parent. The numbers are the kernel's (`MACVLAN_MODE_…`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MacvlanMode {
    /// Containers do not reach each other.
    Private,
    /// Through the switch beyond the parent.
    Vepa,
    /// Directly.
    #[default]
    Bridge,
    /// One container has the parent for itself.
    Passthru,
}

impl MacvlanMode {
    /// Reads Docker's `macvlan_mode`.
    pub fn parse(text: &str) -> Option<MacvlanMode> {
        match text {
            "private" => Some(MacvlanMode::Private),
            "vepa" => Some(MacvlanMode::Vepa),
            "" | "bridge" => Some(MacvlanMode::Bridge),
            "passthru" => Some(MacvlanMode::Passthru),
            _ => None,
        }
    }

    pub(crate) fn number(self) -> u32 {
        match self {
            MacvlanMode::Private => 1,
            MacvlanMode::Vepa => 2,
            MacvlanMode::Bridge => 4,
            MacvlanMode::Passthru => 8,
        }
    }
}

/// A macvlan network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MacvlanSpec {
    /// Id of the network.
    pub network_id: String,
    /// Name of the network: reverse DNS answers `<container>.<network>`.
    pub name: String,
    /// The host's interface.
    pub parent: String,
    /// Who may talk to whom.
    pub mode: MacvlanMode,
    /// 0 takes the parent's.
    pub mtu: u32,
}
