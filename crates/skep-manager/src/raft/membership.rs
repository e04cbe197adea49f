//! Managers that come and go: Join and Leave, answered by the leader.

use std::net::{IpAddr, SocketAddr};

use skep_objects::swarmkit::{JoinRequest, JoinResponse, LeaveRequest, LeaveResponse};
use skep_rpc::swarmkit::raft_membership_server::RaftMembership;
use skep_rpc::{Caller, caller_of};
use tonic::{Request, Response, Status};

use super::Quorum;

/// The service, on a quorum that may not have begun yet.
#[derive(Debug, Clone)]
pub(super) struct MembershipService(pub(super) Quorum);

#[tonic::async_trait]
impl RaftMembership for MembershipService {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        let caller = caller_of(&request)?;
        let addr = reachable_addr(&request.get_ref().addr, &caller)?;
        let member = self.0.admit(&caller.node_id, &addr).await?;
        let node = self
            .0
            .node()
            .ok_or_else(|| Status::unavailable("raft has not begun"))?;
        let membership = node.membership().borrow().clone();
        Ok(Response::new(JoinResponse {
            raft_id: member.raft_id,
            members: membership
                .members()
                .map(|member| member.to_message())
                .collect(),
            removed_members: Vec::new(),
        }))
    }

    async fn leave(
        &self,
        request: Request<LeaveRequest>,
    ) -> Result<Response<LeaveResponse>, Status> {
        let member = request.into_inner().node;
        let raft_id = member
            .ok_or_else(|| Status::invalid_argument("no member named"))?
            .raft_id;
        self.0.remove(raft_id).await.map_err(Status::from)?;
        Ok(Response::new(LeaveResponse {}))
    }
}

/// The address to reach a joiner by: an unspecified host is where its call came from.
fn reachable_addr(addr: &str, caller: &Caller) -> Result<String, Status> {
    let invalid = || Status::invalid_argument(format!("invalid address {addr:?}"));
    let (host, port) = addr.rsplit_once(':').ok_or_else(invalid)?;
    let ip: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    if !host.is_empty() && !ip.is_some_and(|ip| ip.is_unspecified()) {
        return Ok(addr.to_owned());
    }
    let port: u16 = port.parse().map_err(|_| invalid())?;
    let source: SocketAddr = caller
        .remote_addr
        .as_deref()
        .and_then(|remote| remote.parse().ok())
        .ok_or_else(|| Status::invalid_argument("the address names no host"))?;
    Ok(SocketAddr::new(source.ip(), port).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(addr: &str, expect: Option<&str>) {
        let caller = Caller {
            node_id: "n".into(),
            role: None,
            remote_addr: Some("10.0.0.7:5555".into()),
            forwarded_by: None,
            is_local: false,
        };
        assert_eq!(
            reachable_addr(addr, &caller).ok().as_deref(),
            expect,
            "{addr}"
        );
    }

    #[test]
    fn an_unspecified_host_is_where_the_call_came_from() {
        check("10.1.1.1:2377", Some("10.1.1.1:2377"));
        check("manager.example:2377", Some("manager.example:2377"));
        check("0.0.0.0:2377", Some("10.0.0.7:2377"));
        check("[::]:2378", Some("10.0.0.7:2378"));
        check(":2377", Some("10.0.0.7:2377"));
        check("0.0.0.0:many", None);
        check("nothing", None);
    }
}
