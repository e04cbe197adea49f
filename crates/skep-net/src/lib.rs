//! The kernel's network as skep needs it: netlink, bridge, vxlan, nftables, VIP, ingress, DNS.
