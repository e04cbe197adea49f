//! From a packet to its answer. Pure: what is not known here is for somebody else to forward.

use std::net::IpAddr;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use rand::seq::SliceRandom;

/// Endpoints come and go: nobody shall keep their addresses for long.
const TTL: u32 = 5;

/// Looks names up.
pub(crate) trait Lookup {
    /// The addresses of a lower-case name without its last dot; `None`: not ours.
    fn resolve(&self, name: &str) -> Option<Vec<IpAddr>>;
    /// What an address is called; `None`: not ours.
    fn reverse(&self, ip: IpAddr) -> Option<String>;
}

/// What becomes of a packet.
#[derive(Debug)]
pub(crate) enum Decision {
    /// It is no query.
    Ignore,
    /// The answer.
    Reply(Box<Message>),
    /// Somebody else may know.
    Forward(Box<Message>),
}

/// Decides about a packet.
pub(crate) fn decide(packet: &[u8], names: &impl Lookup) -> Decision {
    let Ok(query) = Message::from_vec(packet) else {
        return refuse_malformed(packet);
    };
    if query.metadata.message_type != MessageType::Query {
        return Decision::Ignore;
    }
    if query.metadata.op_code != OpCode::Query {
        return error(&query, ResponseCode::NotImp);
    }
    let [question] = query.queries.as_slice() else {
        return error(&query, ResponseCode::FormErr);
    };
    if question.query_class() != DNSClass::IN {
        return error(&query, ResponseCode::Refused);
    }
    match records(question, names) {
        Some(records) => {
            let mut reply = reply_to(&query);
            reply.metadata.authoritative = true;
            reply.add_answers(records);
            Decision::Reply(Box::new(reply))
        }
        None => Decision::Forward(Box::new(query)),
    }
}

/// The records of a name that is ours, which may be none; `None`: not ours.
fn records(question: &Query, names: &impl Lookup) -> Option<Vec<Record>> {
    let name = question.name();
    let record = |data| Record::from_rdata(name.clone(), TTL, data);
    if let Some(ip) = address_of(name) {
        let pointer = Name::from_utf8(names.reverse(ip)? + ".").ok()?;
        return Some(match question.query_type() {
            RecordType::PTR => vec![record(RData::PTR(PTR(pointer)))],
            _ => Vec::new(),
        });
    }
    let text = name.to_utf8().to_lowercase();
    let mut ips = names.resolve(text.trim_end_matches('.'))?;
    ips.shuffle(&mut rand::rng());
    let wanted = |ip: IpAddr| match (question.query_type(), ip) {
        (RecordType::A | RecordType::ANY, IpAddr::V4(a)) => Some(record(RData::A(A(a)))),
        (RecordType::AAAA | RecordType::ANY, IpAddr::V6(a)) => Some(record(RData::AAAA(AAAA(a)))),
        _ => None,
    };
    Some(ips.into_iter().filter_map(wanted).collect())
}

/// The address that a name below `in-addr.arpa` or `ip6.arpa` stands for, whole ones only.
fn address_of(name: &Name) -> Option<IpAddr> {
    let labels = name.num_labels();
    let mut full = name.clone();
    full.set_fqdn(true);
    let net = (labels == 6 || labels == 34).then(|| full.parse_arpa_name().ok())??;
    Some(net.addr())
}

fn reply_to(query: &Message) -> Message {
    let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.add_queries(query.queries.iter().cloned());
    if query.edns.is_some() {
        let mut edns = hickory_proto::op::Edns::new();
        edns.set_max_payload(4096);
        reply.set_edns(edns);
    }
    reply
}

/// An answer that says why there is none.
pub(crate) fn error(query: &Message, code: ResponseCode) -> Decision {
    let mut reply = reply_to(query);
    reply.metadata.response_code = code;
    Decision::Reply(Box::new(reply))
}

/// A query that cannot be read is told so, if its header can.
fn refuse_malformed(packet: &[u8]) -> Decision {
    match packet {
        [hi, lo, flags, ..] if packet.len() >= 12 && flags & 0x80 == 0 => {
            let id = u16::from_be_bytes([*hi, *lo]);
            let reply = Message::error_msg(id, OpCode::Query, ResponseCode::FormErr);
            Decision::Reply(Box::new(reply))
        }
        _ => Decision::Ignore,
    }
}

/// The bytes of an answer; one too long for a datagram says that it was cut.
pub(crate) fn encode(reply: &Message, limit: usize) -> Option<Vec<u8>> {
    let bytes = reply.to_vec().ok()?;
    if bytes.len() <= limit {
        return Some(bytes);
    }
    reply.truncate().to_vec().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Fake;

    impl Lookup for Fake {
        fn resolve(&self, name: &str) -> Option<Vec<IpAddr>> {
            match name {
                "web" => Some(vec![[10, 0, 1, 2].into()]),
                "many" => Some((0..100).map(|n| [10, 0, 2, n].into()).collect()),
                "none" => Some(Vec::new()),
                _ => None,
            }
        }

        fn reverse(&self, ip: IpAddr) -> Option<String> {
            (ip == IpAddr::from([10, 0, 1, 2])).then(|| "web.net".into())
        }
    }

    fn ask(name: &str, kind: RecordType) -> Decision {
        let mut query = Message::query();
        query.add_query(Query::query(Name::from_utf8(name).unwrap(), kind));
        decide(&query.to_vec().unwrap(), &Fake)
    }

    fn check(name: &str, kind: RecordType, expect: Option<&[&str]>) {
        let got = match ask(name, kind) {
            Decision::Reply(reply) => {
                assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
                Some(
                    reply
                        .answers
                        .iter()
                        .map(|r| r.data.to_string())
                        .collect::<Vec<_>>(),
                )
            }
            Decision::Forward(_) => None,
            Decision::Ignore => panic!("ignored"),
        };
        let expect = expect.map(|e| e.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
        assert_eq!(got, expect, "{name} {kind}");
    }

    #[test]
    fn known_names_are_answered_and_others_forwarded() {
        check("web.", RecordType::A, Some(&["10.0.1.2"]));
        check("WEB", RecordType::A, Some(&["10.0.1.2"]));
        check("example.org.", RecordType::A, None);
        check(
            "2.1.0.10.in-addr.arpa.",
            RecordType::PTR,
            Some(&["web.net."]),
        );
        check("9.1.0.10.in-addr.arpa.", RecordType::PTR, None);
        check("1.0.10.in-addr.arpa.", RecordType::PTR, None);
    }

    #[test]
    fn other_types_of_known_names_are_empty_never_forwarded() {
        check("web.", RecordType::AAAA, Some(&[]));
        check("web.", RecordType::MX, Some(&[]));
        check("none.", RecordType::A, Some(&[]));
    }

    #[test]
    fn a_long_answer_is_cut_for_a_datagram() {
        let Decision::Reply(reply) = ask("many.", RecordType::A) else {
            panic!("no answer")
        };
        let cut = Message::from_vec(&encode(&reply, 512).unwrap()).unwrap();
        assert!(cut.metadata.truncation && cut.answers.is_empty());
        let whole = Message::from_vec(&encode(&reply, 65535).unwrap()).unwrap();
        assert_eq!(whole.answers.len(), 100);
    }

    #[test]
    fn addresses_are_shuffled() {
        let order = || match ask("many.", RecordType::A) {
            Decision::Reply(reply) => reply.answers.iter().map(|r| r.data.to_string()).collect(),
            _ => Vec::new(),
        };
        assert_ne!(order(), order());
    }

    #[test]
    fn answers_are_not_answered() {
        let reply = Message::response(7, OpCode::Query).to_vec().unwrap();
        assert!(matches!(decide(&reply, &Fake), Decision::Ignore));
    }

    proptest! {
        #[test]
        fn no_packet_panics(packet in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Decision::Reply(reply) = decide(&packet, &Fake) {
                let _ = encode(&reply, 512);
            }
        }

        #[test]
        fn no_damaged_query_panics(at in 0..40_usize, byte: u8, cut in 12..40_usize) {
            let mut query = Message::query();
            query.add_query(Query::query(Name::from_utf8("web.example.").unwrap(), RecordType::A));
            let mut packet = query.to_vec().unwrap();
            if let Some(b) = packet.get_mut(at) {
                *b = byte;
            }
            packet.truncate(cut);
            if let Decision::Reply(reply) = decide(&packet, &Fake) {
                let _ = encode(&reply, 512);
            }
        }
    }
}
