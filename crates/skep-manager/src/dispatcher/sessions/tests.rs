use super::*;

const MS: Duration = Duration::from_millis(1);
const GRACE: Duration = Timing::DEFAULT.grace;

fn sessions() -> (Sessions, Instant) {
    (Sessions::new(Timing::DEFAULT), Instant::now())
}

fn down(node: &str) -> Vec<Arc<str>> {
    vec![node.into()]
}

fn nobody() -> Vec<Arc<str>> {
    Vec::new()
}

#[test]
fn a_silent_node_is_down_after_its_grace_and_not_before() {
    let (mut sessions, start) = sessions();
    sessions.register("n", "", start).unwrap();
    assert_eq!(sessions.next_deadline(), Some(start + GRACE));
    let early = start + GRACE - MS;
    assert_eq!(sessions.expire(early, early), nobody());
    let at = start + GRACE;
    assert_eq!(sessions.expire(at, at), down("n"));
    assert_eq!(sessions.expire(at, at), nobody());
}

#[test]
fn every_beat_gives_the_whole_grace_again() {
    let (mut sessions, start) = sessions();
    let session = sessions.register("n", "", start).unwrap();
    let mut now = start;
    for _ in 0..100 {
        now += GRACE - MS;
        assert_eq!(sessions.expire(now, now), nobody());
        sessions.beat("n", &session.id, now).unwrap();
    }
    assert_eq!(sessions.queue.len(), 1);
    now += GRACE;
    assert_eq!(sessions.expire(now, now), down("n"));
}

#[test]
fn a_new_session_ends_the_one_before() {
    let (mut sessions, start) = sessions();
    let first = sessions.register("n", "", start).unwrap();
    let second = sessions.register("n", "other", start).unwrap();
    assert!(first.ended.is_cancelled());
    assert_eq!(
        sessions.beat("n", &first.id, start),
        Err(SessionError::Invalid)
    );
    assert!(sessions.beat("n", &second.id, start).is_ok());
    let again = sessions.register("n", &second.id, start).unwrap();
    assert_eq!(again.id, second.id);
    assert!(!second.ended.is_cancelled());
}

#[test]
fn a_node_that_is_down_has_no_session_and_may_come_back() {
    let (mut sessions, start) = sessions();
    let session = sessions.register("n", "", start).unwrap();
    let at = start + GRACE;
    sessions.expire(at, at);
    assert!(session.ended.is_cancelled());
    assert_eq!(
        sessions.beat("n", &session.id, at),
        Err(SessionError::NotRegistered)
    );
    let session = sessions.register("n", &session.id, at).unwrap();
    assert!(sessions.beat("n", &session.id, at).is_ok());
    let at = at + GRACE;
    assert_eq!(sessions.expire(at, at), down("n"));
}

#[test]
fn registrations_in_quick_succession_are_limited() {
    let (mut sessions, start) = sessions();
    for _ in 0..3 {
        sessions.register("n", "", start).unwrap();
    }
    assert_eq!(
        sessions.register("n", "", start).unwrap_err(),
        SessionError::TooMany
    );
    assert!(sessions.register("other", "", start).is_ok());
    assert!(sessions.register("n", "", start + RATE_WINDOW + MS).is_ok());
}

#[test]
fn a_daemon_that_restarts_gets_longer_than_a_host_that_is_silent() {
    let (mut sessions, start) = sessions();
    let session = sessions.register("n", "", start).unwrap();
    sessions.disconnected("n", &session.id, start + MS);
    let at = start + GRACE;
    assert_eq!(sessions.expire(at, at), nobody());
    let at = start + MS + Timing::DEFAULT.reconnect;
    assert_eq!(sessions.expire(at, at), down("n"));
}

#[test]
fn the_end_of_an_old_connection_gives_nothing() {
    let (mut sessions, start) = sessions();
    let first = sessions.register("n", "", start).unwrap();
    sessions.register("n", "", start).unwrap();
    sessions.disconnected("n", &first.id, start + GRACE - MS);
    let at = start + GRACE;
    assert_eq!(sessions.expire(at, at), down("n"));
}

#[test]
fn a_manager_that_was_held_up_calls_nobody_down() {
    let (mut sessions, start) = sessions();
    sessions.register("n", "", start).unwrap();
    let planned = start + GRACE;
    let late = planned + STALL + MS;
    assert_eq!(sessions.expire(planned, late), nobody());
    let at = late + GRACE;
    assert_eq!(sessions.expire(at, at), down("n"));
}

#[test]
fn a_new_leader_waits_for_the_nodes_it_takes_over() {
    let (mut sessions, start) = sessions();
    sessions.expect("up", false, start);
    sessions.expect("down", true, start);
    let early = start + Timing::DEFAULT.unknown - MS;
    assert_eq!(sessions.expire(early, early), nobody());
    let at = start + Timing::DEFAULT.unknown;
    assert_eq!(sessions.expire(at, at), down("up"));
    assert_eq!(sessions.next_deadline(), None);
    assert!(sessions.is_down("down"));
}

#[test]
fn a_node_that_is_down_is_not_waited_for() {
    let (mut sessions, start) = sessions();
    sessions.register("n", "", start).unwrap();
    let now = start + GRACE;
    assert_eq!(sessions.expire(now, now), down("n"));
    assert_eq!(sessions.next_deadline(), None);
    assert!(sessions.register("n", "", now).is_ok());
    assert!(!sessions.is_down("n"));
    assert_eq!(sessions.next_deadline(), Some(now + GRACE));
}

#[test]
fn a_removed_node_s_session_ends() {
    let (mut sessions, start) = sessions();
    let session = sessions.register("n", "", start).unwrap();
    sessions.forget("n");
    assert!(session.ended.is_cancelled());
    let at = start + GRACE;
    assert_eq!(sessions.expire(at, at), nobody());
}

#[test]
fn a_node_s_own_session_does_not_let_it_describe_itself_without_end() {
    let (mut sessions, start) = sessions();
    sessions.register("n", "", start).unwrap();
    for _ in 0..DESCRIPTIONS {
        sessions.admit_description("n", start).unwrap();
    }
    let refused = sessions.admit_description("n", start);
    assert_eq!(refused, Err(SessionError::TooMany));
    assert!(sessions.admit_description("other", start).is_ok());
    let later = start + RATE_WINDOW + MS;
    assert!(sessions.admit_description("n", later).is_ok());
}
