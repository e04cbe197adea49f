//! What a macvlan or ipvlan network is.

use crate::netlink::route::LinkKind;

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

/// How an ipvlan network's containers are reached. The numbers are the kernel's (`IPVLAN_MODE_…`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IpvlanMode {
    /// As neighbours.
    #[default]
    L2,
    /// By way of the host, which routes to them.
    L3,
    /// The same, and what they send passes the host's firewall.
    L3s,
}

impl IpvlanMode {
    /// Reads Docker's `ipvlan_mode`.
    pub fn parse(text: &str) -> Option<IpvlanMode> {
        match text {
            "" | "l2" => Some(IpvlanMode::L2),
            "l3" => Some(IpvlanMode::L3),
            "l3s" => Some(IpvlanMode::L3s),
            _ => None,
        }
    }

    fn number(self) -> u16 {
        match self {
            IpvlanMode::L2 => 0,
            IpvlanMode::L3 => 1,
            IpvlanMode::L3s => 2,
        }
    }
}

/// Who may talk to whom on an ipvlan network. The numbers are the kernel's (`IPVLAN_F_…`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IpvlanFlag {
    /// Everybody to everybody.
    #[default]
    Bridge,
    /// Containers do not reach each other.
    Private,
    /// Through the switch beyond the parent.
    Vepa,
}

impl IpvlanFlag {
    /// Reads Docker's `ipvlan_flag`.
    pub fn parse(text: &str) -> Option<IpvlanFlag> {
        match text {
            "" | "bridge" => Some(IpvlanFlag::Bridge),
            "private" => Some(IpvlanFlag::Private),
            "vepa" => Some(IpvlanFlag::Vepa),
            _ => None,
        }
    }

    fn number(self) -> u16 {
        match self {
            IpvlanFlag::Bridge => 0,
            IpvlanFlag::Private => 1,
            IpvlanFlag::Vepa => 2,
        }
    }
}

/// What containers' interfaces are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// With hardware addresses of their own.
    Macvlan(MacvlanMode),
    /// With the parent's.
    Ipvlan(IpvlanMode, IpvlanFlag),
}

impl Wire {
    /// The driver's name, which is also that of the kernel's part.
    pub fn driver(self) -> &'static str {
        match self {
            Wire::Macvlan(_) => "macvlan",
            Wire::Ipvlan(..) => "ipvlan",
        }
    }

    /// Whether a network has its parent for itself.
    pub(crate) fn is_alone(self) -> bool {
        self == Wire::Macvlan(MacvlanMode::Passthru)
    }

    pub(crate) fn link(self, parent: u32) -> LinkKind<'static> {
        match self {
            Wire::Macvlan(mode) => LinkKind::Macvlan {
                parent,
                mode: mode.number(),
            },
            Wire::Ipvlan(mode, flag) => LinkKind::Ipvlan {
                parent,
                mode: mode.number(),
                flags: flag.number(),
            },
        }
    }
}

/// A macvlan or ipvlan network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MacvlanSpec {
    /// Id of the network.
    pub network_id: String,
    /// Name of the network: reverse DNS answers `<container>.<network>`.
    pub name: String,
    /// The host's interface; `eth0.50` is made where it is not there. `None` leads nowhere.
    pub parent: Option<String>,
    /// What containers' interfaces are.
    pub wire: Wire,
    /// 0 takes the parent's.
    pub mtu: u32,
}

impl MacvlanSpec {
    /// Name of the parent: that of a network without one is made from its id.
    pub(crate) fn parent_name(&self) -> String {
        let id = self.network_id.get(..12).unwrap_or(&self.network_id);
        self.parent.clone().unwrap_or_else(|| format!("dm-{id}"))
    }
}
